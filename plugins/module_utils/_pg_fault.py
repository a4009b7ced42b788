# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults of a failover drill as commands for the host that is to suffer them, each with what undoes it.

What undoes a fault is armed before the fault, with a timer of the host's own systemd: whoever ordered the drill may be gone by then.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_guard_control import children
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import DataDirectory

FAULTS = {
    "postmaster_killed": "kill -9 of the postmaster",
    "host_power_off": "the host powered off",
    "isolated": "the host cut off from everything but the controller",
    "frozen": "every process of PostgreSQL frozen",
    "postmaster_stopped": "the postmaster alone stopped",
    "standby_down": "every process of a standby's PostgreSQL killed",
}
UNDO_UNIT = "escala-drill-undo"
TABLE = "escala_drill"
SECONDS_AT_MOST = 600


class Command(t.NamedTuple):
    """A command without a shell, and what it reads."""

    argv: t.List[str]
    stdin: str = ""


class Order(t.NamedTuple):
    """What is asked for. `reachable` are addresses that an isolated host still talks to; `power_off` is the operator's own command."""

    fault: str
    unit: str
    seconds: int
    reachable: t.Sequence[str] = ()
    power_off: t.Sequence[str] = ()


class Host(t.NamedTuple):
    """What was found of the host: the unit's control group as a folder, whether it is a container, and whether its kernel takes sysrq orders.

    `processes` are the server's, its postmaster first, where it runs in another program's unit and the unit says nothing of it.
    """

    unit_folder: str
    container: bool
    sysrq: bool
    processes: t.Optional[t.Tuple[int, ...]] = None


def plan(order: Order, host: Host) -> t.List[Command]:
    """The commands in their order; raises ValueError for what cannot be done here, with nothing done by then."""
    if order.fault not in FAULTS:
        raise ValueError(f"there is no fault {order.fault!r}; choose one of {', '.join(sorted(FAULTS))}")
    if not 1 <= order.seconds <= SECONDS_AT_MOST:
        raise ValueError(f"the fault would last {order.seconds} s; choose 1 to {SECONDS_AT_MOST}")
    return _PLANS[order.fault](order, host)


def _signal(name: str, order: Order, host: Host, whom: str) -> t.List[str]:
    if host.processes is None:
        return ["systemctl", "kill", f"--signal={name}", f"--kill-whom={whom}", order.unit]
    if not host.processes:
        raise ValueError("PostgreSQL does not run here, so there is nothing to break")
    # The first is the postmaster, without which no other comes to be.
    return ["kill", f"-{name}", *map(str, host.processes if whom == "all" else host.processes[:1])]


def _later(seconds: int, command: t.Sequence[str]) -> Command:
    return Command(
        [
            "systemd-run",
            "--quiet",
            "--collect",
            f"--unit={UNDO_UNIT}",
            f"--on-active={seconds}s",
            "--timer-property=AccuracySec=100ms",
            "--",
            *command,
        ]
    )


def _postmaster_killed(order: Order, host: Host) -> t.List[Command]:
    return [Command(_signal("KILL", order, host, "main"))]


def _standby_down(order: Order, host: Host) -> t.List[Command]:
    return [Command(_signal("KILL", order, host, "all"))]


def _postmaster_stopped(order: Order, host: Host) -> t.List[Command]:
    return [_later(order.seconds, _signal("CONT", order, host, "main")), Command(_signal("STOP", order, host, "main"))]


def _frozen(order: Order, host: Host) -> t.List[Command]:
    if host.processes is not None:
        return [
            _later(order.seconds, _signal("CONT", order, host, "all")),
            Command(_signal("STOP", order, host, "all")),
        ]
    switch = os.path.join(host.unit_folder, "cgroup.freeze")
    if not host.unit_folder:
        raise ValueError(f"{order.unit} does not run here, so there is nothing to freeze")
    # Not `systemctl freeze`: systemd refuses to stop or start what it knows to be frozen, which no real fault tells it. A unit that was
    # killed meanwhile has no such folder any more, and needs no thawing.
    thaw = ["sh", "-c", 'test ! -e "$1" || echo 0 > "$1"', "sh", switch]
    return [_later(order.seconds, thaw), Command(["tee", switch], "1\n")]


def _isolated(order: Order, _host: Host) -> t.List[Command]:
    if not order.reachable:
        raise ValueError(
            "no address would stay reachable, so nobody could see what becomes of the host; name the controller's"
        )
    heal = ["nft", "delete", "table", "inet", TABLE]
    return [_later(order.seconds, heal), Command(["nft", "-f", "-"], isolation(order.reachable))]


def isolation(reachable: t.Sequence[str]) -> str:
    """The nftables script that lets nothing pass but the host's own and these addresses; raises ValueError for what is no address."""
    addresses = sorted({ipaddress.ip_address(each) for each in reachable}, key=str)
    chains = []
    for chain, side, link in (("input", "saddr", "iif"), ("output", "daddr", "oif")):
        rules = [f'{link} "lo" accept']
        rules += [f"{'ip' if each.version == 4 else 'ip6'} {side} {each} accept" for each in addresses]
        if any(each.version == 6 for each in addresses):
            rules.append("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept")
        lines = "".join(f"    {rule}\n" for rule in [*rules, "drop"])
        chains.append(f"  chain {chain} {{\n    type filter hook {chain} priority -300; policy accept;\n{lines}  }}\n")
    return f"table inet {TABLE} {{\n{''.join(chains)}}}\n"


def _host_power_off(order: Order, host: Host) -> t.List[Command]:
    if order.power_off:
        return [Command(list(order.power_off))]
    if host.container or not host.sysrq:
        raise ValueError("the kernel here takes no order to reset the host; give the command that powers it off")
    # Later by a second, so that whoever ordered it hears that it was accepted. `b` resets at once: nothing is synced, nobody is told.
    reset = "echo 1 > /proc/sys/kernel/sysrq; echo b > /proc/sysrq-trigger"
    return [_later(1, ["sh", "-c", reset])]


_PLANS: t.Dict[str, t.Callable[[Order, Host], t.List[Command]]] = {
    "postmaster_killed": _postmaster_killed,
    "host_power_off": _host_power_off,
    "isolated": _isolated,
    "frozen": _frozen,
    "postmaster_stopped": _postmaster_stopped,
    "standby_down": _standby_down,
}


def look(shown_group: str, container: bool, root: str = "/", data_directory: str = "") -> Host:
    """The host as it is, given the unit's ControlGroup as systemd shows it, or the data directory of a server in another program's unit."""
    group = shown_group.strip().lstrip("/")
    folder = os.path.join(root, "sys/fs/cgroup", group) if group else ""
    trigger = os.path.join(root, "proc/sysrq-trigger")
    processes = _processes(data_directory) if data_directory else None
    return Host(folder if folder and os.path.isdir(folder) else "", container, os.access(trigger, os.W_OK), processes)


def _processes(data_directory: str) -> t.Tuple[int, ...]:
    postmaster = DataDirectory(data_directory).postmaster()
    return () if postmaster is None else (postmaster, *children(postmaster))


def controller(environments: t.Iterable[bytes]) -> t.List[str]:
    """The address from which one came in by ssh, from the environments of this process and those above it (sudo hides it from its own)."""
    for environment in environments:
        for entry in environment.split(b"\0"):
            if entry.startswith(b"SSH_CONNECTION="):
                return [entry.partition(b"=")[2].split()[0].decode()]
    return []


def environments_above(root: str = "/proc") -> t.Iterator[bytes]:
    """The environment of this process, of the one that started it, and so on; nothing more where one cannot be read."""
    process = "self"
    with contextlib.suppress(OSError):
        while process not in ("0", ""):
            with open(os.path.join(root, process, "environ"), "rb") as file:
                yield file.read()
            with open(os.path.join(root, process, "status"), encoding="ascii", errors="replace") as file:
                process = next((line.split()[1] for line in file if line.startswith("PPid:")), "")
