# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services that the balancers pass on as they are: what is wrong with what an inventory says of them, and what their checker has to know."""

from __future__ import annotations

import ipaddress
import math
import re
import typing as t

_VARIABLE = "load_balancer_tcp_services"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
# A host name, or one in the inventory that could be one.
_SERVER_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9])?")
# It is put into an engine's configuration as it is.
_PATH = re.compile(r"/[A-Za-z0-9._~%/?&=+-]*")
_FILE = re.compile(r"/[A-Za-z0-9._/+-]+")

Service = t.Mapping[str, t.Any]


def faults(services: t.Sequence[Service], taken: t.Mapping[str, int]) -> t.List[str]:
    """Everything that is wrong, in words; `taken` has the balancer's own ports by what they are for."""
    found: t.List[str] = []
    owners = {int(port): owner for owner, port in taken.items()}
    names: t.Set[str] = set()
    for place, service in enumerate(services):
        name = str(service["name"])
        where = f"{_VARIABLE}[{place}] ({name})"
        if not _NAME.fullmatch(name):
            found.append(f"{where}: its name is to be of lower-case letters, digits and underscores, at most 32")
        if name in names:
            found.append(f"{where}: another service has this name")
        names.add(name)
        port = int(service["port"])
        if port in owners:
            found.append(f"{where}: port {port} is taken by {owners[port]}; choose another one")
        owners.setdefault(port, name)
        found += [f"{where}: {fault}" for fault in _faults_of(service)]
    return found


def _faults_of(service: Service) -> t.Iterator[str]:
    yield from _port_faults("port", service["port"])
    yield from _server_faults(service["servers"])
    check = service["check"]
    if not _PATH.fullmatch(str(check["path"])):
        yield f"check.path is {check['path']!r}, which is no path such as /minio/health/live"
    if check.get("ca_file") and not _FILE.fullmatch(str(check["ca_file"])):
        yield f"check.ca_file is {check['ca_file']!r}, which is no full path of a file"
    if check.get("server_name") and not _SERVER_NAME.fullmatch(str(check["server_name"])):
        yield f"check.server_name is {check['server_name']!r}, which is no host name"
    if float(check.get("settle_seconds") or 0) < 0:
        yield f"check.settle_seconds is {check['settle_seconds']}, and cannot be below 0"
    if not service["allowed_clients"]:
        yield "allowed_clients is empty, so nobody could connect; name the hosts that may"
    for client in service["allowed_clients"]:
        if not _is_network(str(client)):
            yield f"allowed_clients has {client!r}, which is no address or network"


def _server_faults(servers: t.Sequence[t.Mapping[str, t.Any]]) -> t.Iterator[str]:
    if not servers:
        yield "servers is empty; name those that serve it"
    names: t.Set[str] = set()
    places: t.Dict[t.Tuple[str, int], str] = {}
    for server in servers:
        name, address, port = str(server["name"]), str(server["address"]), int(server["port"])
        if not _SERVER_NAME.fullmatch(name):
            yield f"a server's name is {name!r}, which is no host name"
        if name in names:
            yield f"two servers are called {name}"
        names.add(name)
        if not _is_address(address):
            yield f"{name}'s address is {address!r}, which is no IP address; a name would be looked up only when the engine starts"
        yield from _port_faults(f"{name}'s port", port)
        if (address, port) in places and places[address, port] != name:
            yield f"{places[address, port]} and {name} are both {address}:{port}"
        places.setdefault((address, port), name)


def _port_faults(what: str, port: t.Any) -> t.Iterator[str]:
    if not 1 <= int(port) <= 65535:
        yield f"{what} is {port}, a port is 1 to 65535"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def checks(services: t.Sequence[Service], directory: str, interval_seconds: float) -> t.List[t.Dict[str, t.Any]]:
    """What the checker beside nginx reads of each service; it asks once in each interval."""
    return [
        {
            "name": service["name"],
            "servers": service["servers"],
            "path": service["check"]["path"],
            "ca_file": service["check"].get("ca_file") or "",
            "server_name": service["check"].get("server_name") or "",
            "upstream_file": f"{directory}/tcp_{service['name']}.conf",
            "rise": math.ceil(float(service["check"].get("settle_seconds") or 0) / float(interval_seconds)),
        }
        for service in services
    ]
