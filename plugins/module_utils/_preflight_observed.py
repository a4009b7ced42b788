# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find every fault in what the hosts themselves show, before anything is changed there."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._preflight_platform import (
    ADDRESS,
    APPLICATIONS,
    BALANCERS,
    Fault,
    Faults,
    Host,
    Platform,
    Rule,
)
from ansible_collections.escala.ha.plugins.module_utils._preflight_questions import (
    ANYWHERE,
    ENGINES_CONFIGURATIONS,
    ENGINES_MARK,
    LOOPBACK,
    Wanted,
    virtual_address,
    wanted_ports,
)

_UNREACHABLE = "unreachable"


def entered(platform: Platform) -> Faults:
    for host in platform.hosts.values():
        if host.observed is not None:
            continue
        where = host.values.get("ansible_host")
        if host.absent == _UNREACHABLE:
            remedy = f"try `ansible {host.name} -m ansible.builtin.ping`"
            yield Fault(host.name, "ansible_host", where, "the host cannot be entered by ssh", remedy)
        else:
            remedy = "see that it has python3, and that its user may become root"
            yield Fault(host.name, "ansible_host", where, f"the host cannot be looked at: {host.absent}", remedy)


def systems(platform: Platform) -> Faults:
    for group, supported in platform.demands.systems.items():
        for host in platform.members(group):
            system = host.saw("system")
            if host.observed is not None and system not in supported:
                problem = f"is not supported for {group}"
                yield Fault(
                    host.name, "operating system", system, problem, f"install one of these: {', '.join(supported)}"
                )


def clocks(platform: Platform) -> Faults:
    for host in platform.hosts.values():
        limit, clock = host.number("preflight_clock_difference_seconds"), host.saw("clock") or {}
        if limit is None or "asked_at" not in clock:
            continue
        # The way there and back takes its time, so the difference is known to lie between two bounds.
        ahead, behind = clock["ended"] - clock["answered_at"], clock["asked_at"] - clock["begun"]
        seconds, words = (ahead, "ahead of") if ahead > behind else (behind, "behind")
        if seconds > limit:
            yield Fault(
                host.name,
                "clock",
                f"{seconds:.1f} s {words} the controller's",
                f"more than preflight_clock_difference_seconds = {limit:g}",
                "let systemd-timesyncd or chrony keep both clocks",
            )


def disks(platform: Platform) -> Faults:
    for host in platform.hosts.values():
        limits = host.setting("preflight_minimum_free_mib")
        by_device: t.Dict[t.Any, t.List[t.Mapping[str, t.Any]]] = {}
        for disk in host.saw("disks") or ():
            by_device.setdefault(disk["device"], []).append(disk)
        for device, shared in by_device.items():
            paths = ", ".join(disk["path"] for disk in shared)
            free = min(disk["free_mib"] or 0 for disk in shared)
            asked = sum(limits.get(disk["path"], 0) for disk in shared)
            if device is None:
                yield Fault(host.name, "free disk", paths, "cannot be looked at", "see `dmesg` on the host")
            elif any(disk["read_only"] for disk in shared):
                yield Fault(host.name, "disk", paths, "is mounted read-only", "see `dmesg` on the host, and remount it")
            elif free < asked:
                problem = f"less than the {asked} MiB in preflight_minimum_free_mib for {paths}"
                yield Fault(host.name, "free disk", f"{free} MiB", problem, "free some, or enlarge the disk")


def memory(platform: Platform) -> Faults:
    for host in platform.hosts.values():
        limit, seen = host.number("preflight_minimum_memory_mib"), host.saw("memory_mib")
        if limit is not None and seen is not None and seen < limit:
            problem = f"less than preflight_minimum_memory_mib = {limit:g}"
            yield Fault(host.name, "memory", f"{seen} MiB", problem, "give the host more")


def names(platform: Platform) -> Faults:
    for host in platform.hosts.values():
        for name, seen in (host.saw("names") or {}).items():
            if not seen["addresses"]:
                problem = f"does not resolve on the host ({seen['problem']})"
                yield Fault(host.name, "preflight_names", name, problem, "mend its resolver or the name")


def listeners(platform: Platform) -> Faults:
    for host in platform.hosts.values():
        wanted = wanted_ports(host, platform.groups)
        for seen in host.saw("listeners") or ():
            for ours in wanted:
                if _in_the_way(seen, ours):
                    program, unit = seen["program"] or "an unknown program", seen["unit"] or "no unit"
                    problem = f"has it already, and {ours.reason}"
                    remedy = "stop that program, or choose another port"
                    yield Fault(host.name, f"port {ours.port}", f"{program} ({unit})", problem, remedy)


def _in_the_way(seen: t.Mapping[str, t.Any], ours: Wanted) -> bool:
    if seen["port"] != ours.port:
        return False
    if seen["unit"] in ours.units or (seen["unit"] is None and seen["program"] in ours.programs):
        return False
    return seen["address"] == ours.address or seen["address"] in ANYWHERE or ours.address in ANYWHERE


def other_engines(platform: Platform) -> Faults:
    for host in platform.members(BALANCERS):
        files = host.saw("files") or {}
        if files.get(ENGINES_MARK) or host.setting("load_balancer_replaces_existing") is True:
            continue
        for engine, configuration in ENGINES_CONFIGURATIONS.items():
            if files.get(configuration):
                problem = f"is of an {engine} that is not ours: etapa 1 would end what it serves"
                remedy = "move that to another host, and set load_balancer_replaces_existing: true on this one"
                yield Fault(host.name, configuration, None, problem, remedy)


def own_addresses(platform: Platform) -> Faults:
    for host in platform.hosts.values():
        seen = host.saw("addresses")
        wanted = {ours.address: ours.reason for ours in wanted_ports(host, platform.groups)}
        for address in sorted(set(wanted) - {*ANYWHERE, LOOPBACK} - set(seen or wanted)):
            value = host.values.get(ADDRESS)
            variable = ADDRESS if address == value else "app_listen_address"
            problem = f"no interface of the host has it; it has {', '.join(seen)}"
            yield Fault(host.name, variable, address, problem, "set it to one of them")


def reachable(platform: Platform) -> Faults:
    for host in platform.hosts.values():
        closed: t.Dict[t.Tuple[str, str, str], t.List[str]] = {}
        for seen in host.saw("reach") or ():
            other = platform.hosts.get(seen["name"])
            # A host that nobody can enter is a fault already.
            if seen["problem"] and (other is None or other.observed is not None):
                closed.setdefault((seen["name"], seen["address"], seen["problem"]), []).append(str(seen["port"]))
        for (name, address, problem), ports in closed.items():
            what = f"{address} port {', '.join(ports)}"
            remedy = f"let no firewall or route stand between {host.name} and {name}"
            yield Fault(host.name, f"way to {name}", what, problem, remedy)


def interfaces(platform: Platform) -> Faults:
    for host, interface in platform.with_variable("keepalived_interface"):
        there_are = host.saw("interfaces")
        if host.has("keepalived_vip") and there_are is not None and str(interface) not in there_are:
            others = ", ".join(sorted(set(there_are) - {"lo"}))
            problem = f"the host has no such interface; it has {others}"
            yield Fault(host.name, "keepalived_interface", interface, problem, "set it to the one of the network")


def virtual_address_answers(platform: Platform) -> Faults:
    sharing: t.Dict[str, t.List[Host]] = {}
    for host in platform.members(BALANCERS):
        vip = virtual_address(host)
        if vip:
            sharing.setdefault(vip, []).append(host)
    for vip, hosts in sharing.items():
        # One that cannot be looked at may hold it.
        if any(host.observed is None or vip in (host.saw("addresses") or ()) for host in hosts):
            continue
        answers = {one for host in hosts for one in (host.saw("virtual_address") or {}).get("answers", ())}
        # On its way from one to the other.
        if answers & {hardware for host in hosts for hardware in (host.saw("interfaces") or {}).values()}:
            continue
        if answers:
            who = ", ".join(sorted(_whose(hardware, platform) for hardware in answers))
            problem = f"answers already, from {who}, and none of the balancers holds it"
            remedy = "choose a free address, or take it from the machine that has it"
            yield Fault(", ".join(host.name for host in hosts), "keepalived_vip", vip, problem, remedy)


def _whose(hardware: str, platform: Platform) -> str:
    for host in platform.hosts.values():
        if hardware in (host.saw("interfaces") or {}).values():
            return host.name
    return hardware


RULES: t.Tuple[Rule, ...] = (
    entered,
    systems,
    clocks,
    disks,
    memory,
    names,
    listeners,
    other_engines,
    own_addresses,
    reachable,
    interfaces,
    virtual_address_answers,
)


def unkept_clocks(platform: Platform) -> Faults:
    for host in platform.hosts.values():
        if host.observed is not None and not host.saw("container") and not host.saw("time_daemon"):
            problem = "no program that keeps the clock runs"
            yield Fault(host.name, "time", None, problem, "install systemd-timesyncd or chrony")


def late_drain(platform: Platform) -> Faults:
    intervals = "load_balancer_check_interval_seconds", "load_balancer_check_fall"
    noticed_ms = [
        1000 * (host.number(intervals[0]) or 0) * (host.number(intervals[1]) or 0)
        for host in platform.members(BALANCERS)
    ]
    for host in platform.members(APPLICATIONS):
        environment = host.setting("app_environment")
        delay = environment.get("DRAIN_DELAY_MS") if isinstance(environment, t.Mapping) else None
        if isinstance(delay, int) and delay < max(noticed_ms, default=0):
            problem = (
                f"shorter than the {max(noticed_ms):g} ms in which the balancers notice that an instance drains"
                f" ({' times '.join(intervals)})"
            )
            yield Fault(host.name, "app_environment.DRAIN_DELAY_MS", delay, problem, "make it longer")


def server_names_elsewhere(platform: Platform) -> Faults:
    balancers = platform.members(BALANCERS)
    wanted = [name for host in balancers for name in _texts(host.setting("load_balancer_server_names"))]
    known = (virtual_address(host) or host.values.get(ADDRESS) for host in balancers)
    expected = {str(address) for address in known if address}
    found = platform.controller.addresses_of(sorted(set(wanted))) if wanted and expected else {}
    for name in sorted(found):
        if not set(found[name]) & expected:
            seen = f"resolves to {', '.join(sorted(found[name]))}" if found[name] else "does not resolve"
            remedy = f"by this name clients must find {' or '.join(sorted(expected))}"
            yield Fault(BALANCERS, "load_balancer_server_names", name, f"{seen} on the controller", remedy)


def _texts(value: t.Any) -> t.List[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, (list, tuple)) else []


HINTS: t.Tuple[Rule, ...] = (unkept_clocks, late_drain, server_names_elsewhere)
