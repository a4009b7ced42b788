# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find every fault in a platform's description before anything is done with it."""

from __future__ import annotations

import ipaddress
import typing as t
from collections import Counter

ADDRESS = "platform_address"
EDGE_PORTS = {80: "nginx listens there for http", 443: "nginx listens there for https"}


class Fault(t.NamedTuple):
    """One thing that is wrong: where, what it is set to, and what to do."""

    host: str
    variable: str
    value: t.Any
    problem: str
    remedy: str

    def __str__(self) -> str:
        shown = "" if self.value is None else f" = {self.value}:"
        return f"{self.host}: {self.variable}{shown} {self.problem}; {self.remedy}"


class Host(t.NamedTuple):
    """What is known of a host: `sealed` names what is set but not to be shown, `problems` why something could not be evaluated."""

    name: str
    system: t.Optional[str]
    values: t.Mapping[str, t.Any]
    sealed: t.Collection[str]
    problems: t.Mapping[str, str]

    def has(self, variable: str) -> bool:
        return variable in self.sealed or self.values.get(variable) not in (None, "", [], {})


class Demands(t.NamedTuple):
    """What a platform must have."""

    systems: t.Sequence[str]
    minimum: t.Mapping[str, int]
    required: t.Mapping[str, t.Sequence[str]]
    secrets: t.Sequence[str]
    files: t.Sequence[str]


class Platform(t.NamedTuple):
    """The description that is judged; `file_exists` asks the controller."""

    groups: t.Mapping[str, t.Sequence[str]]
    hosts: t.Mapping[str, Host]
    demands: Demands
    file_exists: t.Callable[[str], bool]

    def with_variable(self, variable: str) -> t.List[t.Tuple[Host, t.Any]]:
        return [(host, host.values[variable]) for host in self.hosts.values() if host.has(variable)]


Faults = t.Iterator[Fault]


def group_sizes(platform: Platform) -> Faults:
    for group, minimum in platform.demands.minimum.items():
        count = len(platform.groups.get(group, ()))
        if count < minimum:
            yield Fault(
                "inventory",
                group,
                None,
                f"the group has {count} of at least {minimum} host{'s' * (minimum != 1)}",
                "name them there in the inventory",
            )


def systems(platform: Platform) -> Faults:
    supported = ", ".join(platform.demands.systems)
    for host in platform.hosts.values():
        if host.system is None:
            yield Fault(
                host.name,
                "ansible_host",
                host.values.get("ansible_host"),
                "the host cannot be entered by ssh",
                f"try `ansible {host.name} -m ansible.builtin.ping`",
            )
        elif host.system not in platform.demands.systems:
            yield Fault(
                host.name, "operating system", host.system, "is not supported", f"install one of these: {supported}"
            )


def required_variables(platform: Platform) -> Faults:
    for group, names in platform.demands.required.items():
        for host in (platform.hosts[name] for name in platform.groups.get(group, ()) if name in platform.hosts):
            for variable in names:
                if variable in host.problems:
                    yield Fault(
                        host.name, variable, None, host.problems[variable], "set what it is made of, or mend it"
                    )
                elif not host.has(variable):
                    yield Fault(
                        host.name, variable, None, "is not set", f"set it in group_vars/{group}.yml of the inventory"
                    )


def secrets(platform: Platform) -> Faults:
    missing = [name for name in platform.demands.secrets if not any(host.has(name) for host in platform.hosts.values())]
    if missing and platform.hosts:
        yield Fault(
            "all hosts",
            ", ".join(missing),
            None,
            f"{'are' if len(missing) > 1 else 'is'} not set",
            "run `ansible-playbook playbooks/secrets.yml`, which generates what is absent",
        )


def controller_files(platform: Platform) -> Faults:
    for variable in platform.demands.files:
        for host, path in platform.with_variable(variable):
            if not platform.file_exists(str(path)):
                yield Fault(host.name, variable, path, "the controller has no such file", "build it or name another")


def addresses(platform: Platform) -> Faults:
    taken: t.Dict[str, str] = {}
    for host, value in platform.with_variable(ADDRESS):
        if _address(value) is None:
            yield Fault(
                host.name,
                ADDRESS,
                value,
                "is not an IP address",
                "set it to the one by which the other hosts reach this host",
            )
        elif value in taken:
            yield Fault(host.name, ADDRESS, value, f"is the address of {taken[value]} too", "give each host its own")
        else:
            taken[value] = host.name


def ports(platform: Platform) -> Faults:
    for host, value in platform.with_variable("app_ports"):
        if not isinstance(value, (list, tuple)) or not all(isinstance(port, int) for port in value):
            yield Fault(host.name, "app_ports", value, "is not a list of numbers", "write it as [3001, 3002]")
            continue
        taken: t.Dict[t.Any, str] = {}
        if host.has("load_balancer_server_names"):
            taken.update(EDGE_PORTS)
            taken[host.values.get("load_balancer_health_port")] = "load_balancer_health_port is the same"
        for port, times in Counter(value).items():
            if times > 1:
                problem = f"{port} is there {times} times"
            elif not 1024 <= port <= 65535:
                problem = f"{port} is not between 1024 and 65535"
            elif port in taken:
                problem = f"{port} is taken, {taken[port]}"
            else:
                continue
            yield Fault(host.name, "app_ports", value, problem, "give each instance a free port of its own")


def virtual_addresses(platform: Platform) -> Faults:
    holders: t.Dict[str, t.List[Host]] = {}
    for host, vip in platform.with_variable("keepalived_vip"):
        holders.setdefault(str(vip), []).append(host)
    for vip, hosts in holders.items():
        names = ", ".join(host.name for host in hosts)
        if len(hosts) < 2:
            yield Fault(
                names,
                "keepalived_vip",
                vip,
                "only one host would hold it",
                "add a second balancer to the inventory, or leave keepalived_vip out",
            )
        yield from (Fault(names, "keepalived_vip", vip, *words) for words in _address_faults(platform, vip, hosts))
        yield from _rank_faults(hosts)


def _address_faults(platform: Platform, vip: str, hosts: t.Sequence[Host]) -> t.Iterator[t.Tuple[str, str]]:
    try:
        interface = ipaddress.ip_interface(vip)
    except ValueError:
        yield "is not an address with a prefix length", "write it as 192.0.2.100/24"
        return
    network = interface.network
    if network.num_addresses == 1:
        yield "has no prefix length of its network", f"write it as {interface.ip}/24"
        return
    if interface.ip in (network.network_address, network.broadcast_address):
        yield f"is the address of the network {network} itself", "choose a free one inside it"
    for host, value in platform.with_variable(ADDRESS):
        if _address(value) == interface.ip:
            yield f"is the address of {host.name} itself", "choose one that no host has"
    for host in hosts:
        address = _address(host.values.get(ADDRESS))
        if address is not None and address not in network:
            yield (
                f"{host.name} has {address}, outside of {network}",
                "choose one in the network that the balancers share",
            )


def _rank_faults(hosts: t.Sequence[Host]) -> Faults:
    ids = {host.values.get("keepalived_router_id") for host in hosts} - {None}
    names = ", ".join(host.name for host in hosts)
    if len(ids) > 1:
        yield Fault(
            names,
            "keepalived_router_id",
            sorted(map(str, ids)),
            "differs between hosts that share an address",
            "set the same on each",
        )
    for router_id in ids:
        if not isinstance(router_id, int) or not 1 <= router_id <= 255:
            yield Fault(names, "keepalived_router_id", router_id, "is not a number from 1 to 255", "choose one")
    ranks: t.Dict[t.Any, str] = {}
    for host in hosts:
        priority = host.values.get("keepalived_priority")
        if priority is not None and (not isinstance(priority, int) or not 1 <= priority <= 254):
            yield Fault(host.name, "keepalived_priority", priority, "is not a number from 1 to 254", "choose one")
        elif priority in ranks:
            yield Fault(
                host.name,
                "keepalived_priority",
                priority,
                f"is the priority of {ranks[priority]} too",
                "let them differ",
            )
        else:
            ranks[priority] = host.name


def _address(value: t.Any) -> t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address, None]:
    try:
        return ipaddress.ip_address(str(value))
    except ValueError:
        return None


RULES: t.Tuple[t.Callable[[Platform], Faults], ...] = (
    group_sizes,
    systems,
    required_variables,
    secrets,
    controller_files,
    addresses,
    ports,
    virtual_addresses,
)


def find_faults(platform: Platform) -> t.List[Fault]:
    """Every fault by every rule: a person wants to mend them all before the next try. What hosts share is said once."""
    hosts: t.Dict[str, t.Tuple[Fault, t.List[str]]] = {}
    for fault in (fault for rule in RULES for fault in rule(platform)):
        hosts.setdefault(str(fault._replace(host="")), (fault, []))[1].append(fault.host)
    return [fault._replace(host=", ".join(names)) for fault, names in hosts.values()]
