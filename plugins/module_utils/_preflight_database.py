# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find every fault in how a platform's database is described: its size, names, versions, ports, and the connections that poolers may open."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._connection_budget import connection_budget
from ansible_collections.escala.ha.plugins.module_utils._pg_quorum import sizes
from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import ClusterError, named
from ansible_collections.escala.ha.plugins.module_utils._postgresql_version import PACKAGED, SUPPORTED
from ansible_collections.escala.ha.plugins.module_utils._preflight_platform import (
    APPLICATIONS,
    DATA,
    WITNESSES,
    Fault,
    Faults,
    Host,
    Platform,
    Rule,
    numbers,
    whole,
)
from ansible_collections.escala.ha.plugins.module_utils._preflight_questions import (
    MANAGER,
    STORE,
    database_ports,
    server_version,
    wanted_ports,
)

_VERSION, _SOURCE, _MAX_CONNECTIONS = "postgresql_version", "postgresql_install_from", "postgresql_max_connections"
_NUMBER = "postgresql_node_id"
_HOSTS_MAXIMUM = "platform_app_servers_maximum"
_AUTOMATIC = "pg_guard_automatic"
_CHOICES = {
    _SOURCE: ("debian", "pgdg"),
    "pg_guard_when_alone": ("wait", "continue"),
    MANAGER: ("repmgr", "patroni"),
}
# With fewer members, or an even number of them, one more that is gone ends the majority.
_STORE_LEAST = 3
# Who must know one port by one number, and by which variable.
_SAME_PORTS = (
    ((DATA, "postgresql_port"), (DATA, "repmgr_port"), (APPLICATIONS, "pgbouncer_postgresql_port")),
    ((DATA, "pg_guard_port"), (WITNESSES, "pg_guard_port"), (APPLICATIONS, "pgbouncer_guard_port")),
)
_NUMBERS = {
    DATA: (_VERSION, _MAX_CONNECTIONS, "postgresql_port", "pg_guard_port", "repmgr_port"),
    WITNESSES: ("pg_guard_port",),
    APPLICATIONS: ("pgbouncer_port", "pgbouncer_postgresql_port", "pgbouncer_guard_port", _HOSTS_MAXIMUM),
}


def cluster_size(platform: Platform) -> Faults:
    data, witnesses = (platform.members(group) for group in (DATA, WITNESSES))
    if not data and not witnesses:
        return
    wanted = any(host.setting(_AUTOMATIC) is not False for host in data)
    try:
        sizes(len(data), len(witnesses), wanted)
    except ValueError as error:
        problem = str(error).partition(";")[0]
        if data:
            remedy = f"add a host to {WITNESSES} or one more to {DATA}, or set {_AUTOMATIC}: false"
            yield Fault("inventory", _AUTOMATIC, True, problem, remedy)
        else:
            yield Fault("inventory", DATA, None, problem, f"name data nodes in it, or leave {WITNESSES} out")


def one_part_each(platform: Platform) -> Faults:
    for host in platform.members(WITNESSES):
        if host.name in platform.groups.get(DATA, ()):
            problem = f"it is in {DATA} too, and would vote twice"
            yield Fault(host.name, WITNESSES, None, problem, "let a host that has no data be the witness")


def node_names(platform: Platform) -> Faults:
    for group in (DATA, WITNESSES):
        yield from _no_names(platform, group)
    data = {host.name.partition(".")[0]: host.name for host in platform.members(DATA)}
    for host in platform.members(WITNESSES):
        other = data.get(host.name.partition(".")[0], host.name)
        if other != host.name:
            yield Fault(host.name, WITNESSES, None, f"would be the same node as {other}", "name them differently")


def _no_names(platform: Platform, group: str) -> Faults:
    try:
        named((host.name, "", host.setting(_NUMBER)) for host in platform.members(group))
    except ClusterError as error:
        problem, _semicolon, remedy = str(error).partition("; ")
        yield Fault("inventory", group, None, problem, remedy or "rename the host in the inventory")


def versions(platform: Platform) -> Faults:
    known: t.Dict[int, t.List[Host]] = {}
    for host in platform.members(DATA):
        asked, version, system = host.setting(_VERSION), server_version(host), str(host.saw("system"))
        if version is None or (asked is not None and whole(asked) is None):
            continue
        known.setdefault(version, []).append(host)
        packaged = PACKAGED.get(system)
        if version not in SUPPORTED:
            problem = f"is none that the roles know, which are {_list(map(str, SUPPORTED))}"
            yield Fault(host.name, _VERSION, version, problem, "choose one of them")
        elif packaged and version != packaged and host.setting(_SOURCE) != "pgdg":
            remedy = f"set it to {packaged}, or set {_SOURCE}: pgdg"
            yield Fault(host.name, _VERSION, version, f"{system} has {packaged}", remedy)
    if len(known) > 1:
        hosts = [host for of in known.values() for host in of]
        systems = dict.fromkeys(str(host.saw("system")) for host in hosts if host.saw("system"))
        problem, remedy = "differs between data nodes", "set the same for all"
        if len(systems) > 1:
            problem = f"{problem}, whose systems are {_list(systems)}"
            remedy = f"{remedy}, with {_SOURCE}: pgdg where the system has another"
        problem = f"{problem}, and none could be a standby of another"
        yield Fault(_list(host.name for host in hosts), _VERSION, _list(map(str, known)), problem, remedy)


def choices(platform: Platform) -> Faults:
    for host in [*platform.members(DATA), *platform.members(WITNESSES)]:
        for variable, known in _CHOICES.items():
            value = host.setting(variable)
            if value is not None and value not in known:
                yield Fault(host.name, variable, value, "is unknown", f"choose one of {', '.join(known)}")


def manager(platform: Platform) -> Faults:
    data = platform.members(DATA)
    named = {host.name: str(host.setting(MANAGER) or "repmgr") for host in data}
    if len(set(named.values())) > 1:
        problem = "differs between data nodes, and one manager decides for all"
        yield Fault(_list(named), MANAGER, _list(dict.fromkeys(named.values())), problem, "set it in group_vars/all")
    if "patroni" not in named.values():
        return
    if platform.groups.get(WITNESSES):
        problem, remedy = "have nothing to vote on beside patroni", f"name them in {STORE}, which keeps who leads"
        yield Fault("inventory", WITNESSES, _list(platform.groups[WITNESSES]), problem, remedy)
    store = platform.groups.get(STORE) or platform.groups[DATA]
    if len(store) < _STORE_LEAST or len(store) % 2 == 0:
        problem = f"{len(store)} members of etcd keep no majority when one more is gone than they can lose"
        yield Fault("inventory", STORE, _list(store), problem, f"name 3 or 5 hosts in {STORE}")


def whole_numbers(platform: Platform) -> Faults:
    for host, variable in _of_the_database(platform, _NUMBERS):
        value = host.setting(variable)
        number = whole(value)
        if value is not None and number is None:
            yield Fault(host.name, variable, value, "is not a whole number", "write it as one")
        elif number is not None and variable.endswith("_port") and not 1024 <= number <= 65535:
            yield Fault(host.name, variable, value, "is not between 1024 and 65535", "choose another port")


def _of_the_database(platform: Platform, variables: t.Mapping[str, t.Sequence[str]]) -> t.Iterator[t.Tuple[Host, str]]:
    """Each host with each of its group's variables, where there is a database at all."""
    for group, names in variables.items():
        for host in platform.members(group) if platform.groups.get(DATA) else ():
            yield from ((host, name) for name in names)


def agreed_ports(platform: Platform) -> Faults:
    for places in _SAME_PORTS:
        known: t.Dict[int, t.Dict[str, t.List[str]]] = {}
        for group, variable in places:
            for host, _variable in _of_the_database(platform, {group: [variable]}):
                number = whole(host.setting(variable))
                if number is not None:
                    known.setdefault(number, {}).setdefault(variable, []).append(host.name)
        if len(known) > 1:
            told = "; ".join(
                f"{number} ({', '.join(f'{variable} of {_list(names)}' for variable, names in by_variable.items())})"
                for number, by_variable in known.items()
            )
            remedy = "set the same for all"
            yield Fault("inventory", places[0][1], told, "whoever connects would not find who listens", remedy)


def shared_ports(platform: Platform) -> Faults:
    for host in platform.hosts.values():
        reasons: t.Dict[int, str] = {}
        of_the_database = {ours.reason for ours in database_ports(host, platform.groups)}
        for ours in wanted_ports(host, platform.groups):
            first = reasons.setdefault(ours.port, ours.reason)
            if first != ours.reason and ours.reason in of_the_database:
                problem = f"{first}, and {ours.reason} too"
                yield Fault(host.name, f"port {ours.port}", None, problem, "give each a port of its own")


def budget(platform: Platform) -> Faults:
    for pooler, server in ((one, other) for one in platform.members(APPLICATIONS) for other in platform.members(DATA)):
        # Instances that cannot be counted are a fault already.
        instances = len(numbers(pooler.setting("app_ports")))
        limit = server.setting(_MAX_CONNECTIONS)
        if not instances or whole(limit) is None:
            continue
        environment, database = pooler.setting("app_environment"), pooler.setting("pgbouncer_database")
        pool_size = environment.get("DATABASE_POOL_SIZE") if isinstance(environment, t.Mapping) else None
        try:
            found = connection_budget(
                {
                    f"{database}": pooler.setting("pgbouncer_max_connections"),
                    f"{database}_ro": pooler.setting("pgbouncer_readers_max_connections"),
                },
                max(len(platform.groups.get(APPLICATIONS, ())), whole(pooler.setting(_HOSTS_MAXIMUM)) or 0),
                limit,
                pooler.setting("pgbouncer_reserved_connections"),
                {"count": instances, "pool_size": 5 if pool_size is None else pool_size},
                pooler.setting("pgbouncer_max_client_connections"),
            )
        except ValueError as error:
            remedy = "see pgbouncer_max_connections and the like, and DATABASE_POOL_SIZE in app_environment"
            yield Fault(pooler.name, "connections to the database", None, f"cannot be added up, {error}", remedy)
            continue
        for one in found.shortages:
            host = server if one.variable == _MAX_CONNECTIONS else pooler
            yield Fault(host.name, one.variable, one.limit, one.problem, one.remedy)


def _list(names: t.Iterable[str]) -> str:
    return ", ".join(names)


RULES: t.Tuple[Rule, ...] = (
    cluster_size,
    one_part_each,
    node_names,
    versions,
    choices,
    manager,
    whole_numbers,
    agreed_ports,
    shared_ports,
    budget,
)
