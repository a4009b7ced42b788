# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find every fault in a platform's description before anything is done with it."""

from __future__ import annotations

import typing as t
from collections import Counter

from ansible_collections.escala.ha.plugins.module_utils import (
    _preflight_database,
    _preflight_edge,
    _preflight_observed,
    _preflight_storage,
)
from ansible_collections.escala.ha.plugins.module_utils._preflight_platform import (
    ADDRESS,
    APPLICATIONS,
    BALANCERS,
    DATA,
    STORAGE,
    WITNESSES,
    Fault,
    Faults,
    Host,
    Platform,
    Rule,
    address,
    numbers,
)

_EDGE_PORTS = {80: "the balancer listens there for http", 443: "the balancer listens there for https"}
# Whose variables a group's roles take.
_PREFIXES: t.Dict[str, t.Tuple[str, ...]] = {
    BALANCERS: ("load_balancer_", "keepalived_", "edge_", "pki_"),
    APPLICATIONS: ("app_", "shared_storage_"),
    DATA: ("postgresql_", "pg_guard_", "repmgr_", "pki_"),
    WITNESSES: ("pg_guard_", "pki_"),
    STORAGE: ("shared_storage_", "minio_", "pki_"),
}
# And where there is a database, for which each application host gets a pooler.
_POOLER_PREFIXES = {
    **_PREFIXES,
    APPLICATIONS: ("app_", "shared_storage_", "pgbouncer_", "platform_app_servers_", "pki_"),
}
_LIMITS = (
    "preflight_certificate_days_left",
    "preflight_clock_difference_seconds",
    "preflight_minimum_memory_mib",
)


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


def required_variables(platform: Platform) -> Faults:
    for group, names in platform.demands.required.items():
        for host in platform.members(group):
            for variable in names:
                if variable in host.problems:
                    yield Fault(
                        host.name, variable, None, host.problems[variable], "set what it is made of, or mend it"
                    )
                elif not host.has(variable):
                    yield Fault(
                        host.name, variable, None, "is not set", f"set it in group_vars/{group}.yml of the inventory"
                    )


def evaluated(platform: Platform) -> Faults:
    for group, prefixes in (_POOLER_PREFIXES if platform.groups.get(DATA) else _PREFIXES).items():
        for host in platform.members(group):
            for variable, problem in host.problems.items():
                required = variable in platform.demands.required.get(group, ())
                if variable.startswith((*prefixes, "preflight_")) and not required:
                    yield Fault(host.name, variable, None, problem, "set what it is made of, or mend it")


def limits(platform: Platform) -> Faults:
    for host in platform.hosts.values():
        for variable in _LIMITS:
            if host.number(variable) is None and host.setting(variable) is not None:
                yield Fault(host.name, variable, host.setting(variable), "is not a number", "write it as one")
        free = host.setting("preflight_minimum_free_mib")
        if free is not None and not (
            isinstance(free, t.Mapping) and all(isinstance(limit, int) for limit in free.values())
        ):
            problem = "is not a number of MiB for each path"
            yield Fault(host.name, "preflight_minimum_free_mib", free, problem, "write it as {/: 1024, /var: 2048}")
        names = host.setting("preflight_names")
        if names is not None and not isinstance(names, (list, tuple)):
            yield Fault(host.name, "preflight_names", names, "is not a list", "write it as [db.example.com]")


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
            if not platform.controller.is_file(str(path)):
                yield Fault(host.name, variable, path, "the controller has no such file", "build it or name another")


def addresses(platform: Platform) -> Faults:
    taken: t.Dict[str, str] = {}
    for host, value in platform.with_variable(ADDRESS):
        if address(value) is None:
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
    for host in platform.members(APPLICATIONS):
        value = host.values.get("app_ports")
        if not host.has("app_ports"):
            continue
        if not isinstance(value, (list, tuple)) or not all(isinstance(port, int) for port in value):
            yield Fault(host.name, "app_ports", value, "is not a list of numbers", "write it as [3001, 3002]")
            continue
        taken = _taken_by_the_balancer(host) if host.name in platform.groups.get(BALANCERS, ()) else {}
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


def _taken_by_the_balancer(host: Host) -> t.Dict[int, str]:
    names = ("load_balancer_health_port", "load_balancer_files_port", "load_balancer_status_port")
    own = {port: f"{name} is the same" for name in names for port in numbers([host.setting(name)])}
    return {**_EDGE_PORTS, **own}


def draining(platform: Platform) -> Faults:
    for host in platform.members(APPLICATIONS):
        environment, stop = host.setting("app_environment"), host.number("app_stop_timeout_seconds")
        waits = ("DRAIN_DELAY_MS", "DRAIN_TIMEOUT_MS")
        if not isinstance(environment, t.Mapping) or stop is None:
            continue
        set_ones = {name: environment[name] for name in waits if name in environment}
        try:
            seconds = sum(int(value) for value in set_ones.values()) / 1000
        except (ValueError, TypeError):
            problem = "are not whole numbers of milliseconds"
            yield Fault(host.name, "app_environment", set_ones, problem, "write them as 1000 and 20000")
            continue
        if set_ones and stop <= seconds:
            problem = (
                f"an instance that drains for {seconds:g} s ({' + '.join(set_ones)}) would be killed before its end"
            )
            remedy = f"set app_stop_timeout_seconds to more than {seconds:g}"
            yield Fault(host.name, "app_stop_timeout_seconds", f"{stop:g}", problem, remedy)


RULES: t.Tuple[Rule, ...] = (
    group_sizes,
    required_variables,
    evaluated,
    limits,
    secrets,
    controller_files,
    addresses,
    ports,
    draining,
    *_preflight_edge.RULES,
    *_preflight_database.RULES,
    *_preflight_storage.RULES,
    *_preflight_observed.RULES,
)


def find_faults(platform: Platform) -> t.List[Fault]:
    """Every fault by every rule: a person wants to mend them all before the next try."""
    return _said_once(fault for rule in RULES for fault in rule(platform))


def find_hints(platform: Platform) -> t.List[Fault]:
    """What may be meant as it is, and is worth a look."""
    hints = (*_preflight_observed.HINTS, *_preflight_storage.HINTS)
    return _said_once(fault for rule in hints for fault in rule(platform))


def _said_once(faults: t.Iterable[Fault]) -> t.List[Fault]:
    """What hosts share is said once, of all of them."""
    hosts: t.Dict[str, t.Tuple[Fault, t.List[str]]] = {}
    for fault in faults:
        hosts.setdefault(str(fault._replace(host="")), (fault, []))[1].append(fault.host)
    return [fault._replace(host=", ".join(dict.fromkeys(names))) for fault, names in hosts.values()]
