# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each host of a platform is asked before anything is changed there."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._postgresql_version import Node
from ansible_collections.escala.ha.plugins.module_utils._preflight_platform import (
    ADDRESS,
    APPLICATIONS,
    BACKEND,
    BALANCERS,
    DATA,
    STORAGE,
    WITNESSES,
    Host,
    address,
    members,
    numbers,
    whole,
)

ANYWHERE = ("0.0.0.0", "::")  # noqa: S104  (looked for, not listened on)
LOOPBACK = "127.0.0.1"
SSH_PORT = 22

_BALANCERS_OWN = ("nginx.service", "haproxy.service", "escala-backend-health.service")
_BALANCERS_PROGRAMS = ("nginx", "haproxy")
# What the engines do when they start, and what shows that it is ours.
ENGINES_CONFIGURATIONS = {"nginx": "/etc/nginx/nginx.conf", "haproxy": "/etc/haproxy/haproxy.cfg"}
ENGINES_MARK = "/etc/systemd/system/nginx.service.d/escala.conf"
# As systemd and the kernel call them.
_GUARD_UNITS, _GUARD_PROGRAMS = ("escala-pg-guard.service",), ("escala-pg-guard",)
_PATRONI_UNITS, _PATRONI_PROGRAMS = ("patroni.service",), ("patroni", "python3")
_STORE_UNITS, _STORE_PROGRAMS = ("etcd.service",), ("etcd",)
_POOLER_UNITS, _POOLER_PROGRAMS = ("pgbouncer.service",), ("pgbouncer",)
# The kernel itself serves NFS, so nobody can be told apart who has its port.
_STORAGE_PORTS = {"nfs": 2049, "smb": 445}
_STORAGE_UNITS = {"smb": ("smbd.service",), "minio": ("minio.service",)}
_STORAGE_PROGRAMS = {"smb": ("smbd",), "minio": ("minio",)}
SERVER_PORT, GUARD_PORT, POOLER_PORT = "postgresql_port", "pg_guard_port", "pgbouncer_port"
MANAGER, STORE = "postgresql_ha_manager", "etcd_servers"

Groups = t.Mapping[str, t.Sequence[str]]
Hosts = t.Mapping[str, Host]


class Wanted(t.NamedTuple):
    """A port that a service of ours will listen on, why, and whose listening is no fault: the unit's, or the program's where the unit is not known."""

    port: int
    address: str
    reason: str
    units: t.Collection[str]
    programs: t.Collection[str]


def wanted_ports(host: Host, groups: Groups) -> t.List[Wanted]:
    """Every port of ours on a host, as far as the description can be read."""
    return [*_edge_ports(host, groups), *database_ports(host, groups), *_storage_ports(host, groups)]


def _edge_ports(host: Host, groups: Groups) -> t.List[Wanted]:
    found: t.List[Wanted] = []
    if host.name in groups.get(BALANCERS, ()):
        own = _place(host.values.get(ADDRESS))
        places: t.List[t.Tuple[t.Any, str, str]] = [
            (80, ANYWHERE[0], "clients come by it"),
            (443, ANYWHERE[0], "clients come by it"),
            (host.setting("load_balancer_health_port"), LOOPBACK, "load_balancer_health_port asks for it"),
            (host.setting("load_balancer_files_port"), LOOPBACK, "load_balancer_files_port asks for it"),
            (host.setting("load_balancer_status_port"), own, "load_balancer_status_port asks for it"),
        ]
        found += [
            Wanted(port, place, reason, _BALANCERS_OWN, _BALANCERS_PROGRAMS)
            for port, place, reason in places
            if numbers([port])
        ]
    if host.name in groups.get(APPLICATIONS, ()):
        place = _place(host.setting("app_listen_address"))
        for port in numbers(host.setting("app_ports")):
            unit = f"{host.setting('app_name')}@{port}.service"
            found.append(Wanted(port, place, "app_ports asks for it", (unit,), ("node",)))
    return found


def database_ports(host: Host, groups: Groups) -> t.List[Wanted]:
    """Those of the database: a server and a guard on data nodes, a guard on witnesses, and a pooler where the application runs."""
    own = _place(host.values.get(ADDRESS))
    data, witness = host.name in groups.get(DATA, ()), host.name in groups.get(WITNESSES, ())
    patroni = data and host.setting(MANAGER) == "patroni"
    # The members of etcd that are on hosts of their own are not looked at.
    store = patroni and host.name in (groups.get(STORE) or groups.get(DATA, ()))
    server_units = _PATRONI_UNITS if patroni else (f"postgresql@{server_version(host)}-main.service",)
    asked: t.List[t.Tuple[bool, str, t.Sequence[str], t.Collection[str], t.Collection[str]]] = [
        (data, SERVER_PORT, (own, LOOPBACK), server_units, ("postgres",)),
        (data or witness, GUARD_PORT, (own,), _GUARD_UNITS, _GUARD_PROGRAMS),
        (patroni, "patroni_port", (own,), _PATRONI_UNITS, _PATRONI_PROGRAMS),
        (store, "etcd_client_port", (own,), _STORE_UNITS, _STORE_PROGRAMS),
        (store, "etcd_peer_port", (own,), _STORE_UNITS, _STORE_PROGRAMS),
        (pooled(host, groups), POOLER_PORT, (own, LOOPBACK), _POOLER_UNITS, _POOLER_PROGRAMS),
    ]
    return [
        Wanted(port, place, f"{variable} asks for it", units, programs)
        for here, variable, places, units, programs in asked
        for port in numbers([whole(host.setting(variable))])
        for place in places
        if here
    ]


def _storage_ports(host: Host, groups: Groups) -> t.List[Wanted]:
    """The storage's own, and the balancers' before several nodes of MinIO."""
    backend, port = str(host.setting(BACKEND)), _storage_port(host)
    if port is None or backend == "nfs":
        return []
    found = []
    if host.name in groups.get(STORAGE, ()):
        own = _place(host.values.get(ADDRESS))
        reason = f"{BACKEND} = {backend} asks for it"
        found.append(Wanted(port, own, reason, _STORAGE_UNITS[backend], _STORAGE_PROGRAMS[backend]))
    elif host.name in groups.get(BALANCERS, ()) and _balanced(backend, groups):
        reason = "the storage's clients come by it"
        found.append(Wanted(port, ANYWHERE[0], reason, _BALANCERS_OWN, _BALANCERS_PROGRAMS))
    return found


def _storage_port(host: Host) -> t.Optional[int]:
    """By which port a host knows the storage servers; None where it has none, or they are not ours."""
    backend = host.setting(BACKEND)
    if backend == "minio":
        return whole(host.setting("minio_port"))
    return _STORAGE_PORTS.get(str(backend))


def _balanced(backend: str, groups: Groups) -> bool:
    return backend == "minio" and len(groups.get(STORAGE, ())) > 1


def server_version(host: Host) -> t.Optional[int]:
    """The major version of PostgreSQL that a data node gets, None where neither the description nor its system says it."""
    return Node(host.name, whole(host.setting("postgresql_version")), str(host.saw("system"))).version


def pooled(host: Host, groups: Groups) -> bool:
    """Whether a host gets a pooler: each of the application's does where there are data nodes."""
    return host.name in groups.get(APPLICATIONS, ()) and bool(groups.get(DATA))


def _place(value: t.Any) -> str:
    """An address to listen on; of one that cannot be read, nothing is said but that it may be any."""
    return str(value) if address(value) else ANYWHERE[0]


def to_reach(host: Host, groups: Groups, hosts: Hosts) -> t.List[t.Dict[str, t.Any]]:
    """Whom a host must reach, each place once."""
    found: t.List[t.Dict[str, t.Any]] = []
    ways = (_ways_of_a_balancer, _ways_to_the_database, _ways_to_the_storage)
    for way in (way for these in ways for way in these(host, groups, hosts)):
        if way not in found:
            found.append(way)
    return found


def _ways_of_a_balancer(host: Host, groups: Groups, hosts: Hosts) -> t.List[t.Dict[str, t.Any]]:
    """To every instance, and to the balancers with which it shares an address."""
    if host.name not in groups.get(BALANCERS, ()):
        return []
    found = [
        {"name": other.name, "address": other.values[ADDRESS], "port": port}
        for other in members(groups, hosts, APPLICATIONS)
        for port in numbers(other.setting("app_ports"))
        if address(other.values.get(ADDRESS))
    ]
    found += [server for server in _upload_servers(host) if not any(_same_place(server, one) for one in found)]
    # VRRP has no port. Whether its packets come through shows when the balancers run; here it counts that the way is there.
    found += [
        {"name": other.name, "address": other.values[ADDRESS], "port": SSH_PORT, "ping": True}
        for other in members(groups, hosts, BALANCERS)
        if other.name != host.name and virtual_address(host) and address(other.values.get(ADDRESS))
    ]
    return found


def _ways_to_the_database(host: Host, groups: Groups, hosts: Hosts) -> t.List[t.Dict[str, t.Any]]:
    """Who replicates or pools reaches every server, and whoever asks the guards reaches every guard; a pooler asks those with data."""
    data, witness = host.name in groups.get(DATA, ()), host.name in groups.get(WITNESSES, ())
    pooler = pooled(host, groups)
    asked = [
        (DATA, SERVER_PORT, data or pooler),
        (DATA, GUARD_PORT, data or witness or pooler),
        (WITNESSES, GUARD_PORT, data or witness),
    ]
    return [
        {"name": other.name, "address": other.values[ADDRESS], "port": port}
        for group, variable, wanted in asked
        for other in members(groups, hosts, group)
        for port in numbers([whole(other.setting(variable))])
        if wanted and other.name != host.name and address(other.values.get(ADDRESS))
    ]


def _ways_to_the_storage(host: Host, groups: Groups, hosts: Hosts) -> t.List[t.Dict[str, t.Any]]:
    """Who mounts or asks it reaches each server: with several nodes of MinIO the balancers, and these one another."""
    port, balanced = _storage_port(host), _balanced(str(host.setting(BACKEND)), groups)
    mine = [group for group in (APPLICATIONS, BALANCERS, STORAGE) if host.name in groups.get(group, ())]
    if port is None or not {*mine} & ({BALANCERS, STORAGE} if balanced else {APPLICATIONS}):
        return []
    return [
        {"name": other.name, "address": other.values[ADDRESS], "port": port}
        for other in members(groups, hosts, STORAGE)
        if other.name != host.name and address(other.values.get(ADDRESS))
    ]


def _upload_servers(host: Host) -> t.List[t.Dict[str, t.Any]]:
    listed = host.setting("load_balancer_upload_servers")
    entries = [entry for entry in listed if isinstance(entry, t.Mapping)] if isinstance(listed, (list, tuple)) else []
    return [
        {"name": str(entry.get("name", entry["address"])), "address": str(entry["address"]), "port": entry["port"]}
        for entry in entries
        if address(entry.get("address")) and numbers([entry.get("port")])
    ]


def _same_place(one: t.Mapping[str, t.Any], other: t.Mapping[str, t.Any]) -> bool:
    return (one["address"], one["port"]) == (other["address"], other["port"])


def virtual_address(host: Host) -> t.Optional[str]:
    """The virtual address without its prefix length, None where none is asked for or it is no address."""
    text = str(host.setting("keepalived_vip") or "").partition("/")[0]
    return text if address(text) else None


def questions(groups: Groups, hosts: Hosts) -> t.Dict[str, t.Dict[str, t.Any]]:
    """The options of preflight_info for each host. What the description has wrong is left out: it is a fault by itself."""
    found: t.Dict[str, t.Dict[str, t.Any]] = {}
    for name, host in hosts.items():
        free, names = host.setting("preflight_minimum_free_mib"), host.setting("preflight_names")
        asks_for_address = name in groups.get(BALANCERS, ()) and host.has("keepalived_interface")
        found[name] = {
            "paths": [str(path) for path in free] if isinstance(free, t.Mapping) else [],
            "files": [ENGINES_MARK, *ENGINES_CONFIGURATIONS.values()] if name in groups.get(BALANCERS, ()) else [],
            "names": [str(one) for one in names] if isinstance(names, (list, tuple)) else [],
            "ports": sorted({wanted.port for wanted in wanted_ports(host, groups)}),
            "reach": to_reach(host, groups, hosts),
            "virtual_address": virtual_address(host) if asks_for_address else None,
            "interface": host.values.get("keepalived_interface"),
        }
    return found
