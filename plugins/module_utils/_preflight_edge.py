# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find every fault in how a platform's edge is described: its names, certificates, engine and the address that balancers share."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._certificate import HAS_CRYPTOGRAPHY, faults_of
from ansible_collections.escala.ha.plugins.module_utils._preflight_platform import (
    ADDRESS,
    APPLICATIONS,
    BALANCERS,
    Fault,
    Faults,
    Host,
    Platform,
    Rule,
    address,
    numbers,
)

CERTIFICATE_FILE, KEY_FILE = "edge_certificate_file", "edge_certificate_key_file"
CERTIFICATE_FILES = (CERTIFICATE_FILE, KEY_FILE)
VAULTED = "$ANSIBLE_VAULT;"

_DAY_SECONDS = 86400
_READ_TIMEOUT, _RETRY_TIMEOUT = "load_balancer_read_timeout_seconds", "load_balancer_retry_timeout_seconds"
_CHOICES = {
    "load_balancer_engine": ("nginx", "haproxy"),
    "edge_certificate_source": ("pki", "files", "acme"),
}
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z", re.I)


def choices(platform: Platform) -> Faults:
    for host in platform.members(BALANCERS):
        for variable, known in _CHOICES.items():
            value = host.setting(variable)
            if value is not None and value not in known:
                yield Fault(host.name, variable, value, "is unknown", f"choose one of {', '.join(known)}")


def server_names(platform: Platform) -> Faults:
    variable = "load_balancer_server_names"
    for host, value in platform.with_variable(variable):
        if not isinstance(value, (list, tuple)):
            yield Fault(host.name, variable, value, "is not a list", "write it as [app.example.com]")
            continue
        for name in value:
            if not all(_LABEL.match(label) for label in str(name).split(".")):
                yield Fault(host.name, variable, name, "is not a host name", "write it as app.example.com")


def upload_servers(platform: Platform) -> Faults:
    variable = "load_balancer_upload_servers"
    for host, value in platform.with_variable(variable):
        entries = value if isinstance(value, (list, tuple)) else [value]
        for entry in entries:
            found = address(entry.get("address")) if isinstance(entry, t.Mapping) else None
            if found is None or not isinstance(entry.get("port"), int):
                problem = "has no IP address and port"
                yield Fault(
                    host.name,
                    variable,
                    entry,
                    problem,
                    "write it as {name: app1-3001, address: 192.0.2.21, port: 3001}",
                )


def retries(platform: Platform) -> Faults:
    """A request must outlast every instance of a dead host: each of them may be waited for before another host has its turn."""
    shared = max((len(numbers(host.setting("app_ports"))) for host in platform.members(APPLICATIONS)), default=0)
    for host in platform.members(BALANCERS):
        read, retry = host.number(_READ_TIMEOUT), host.number(_RETRY_TIMEOUT)
        if read is not None and retry is not None and shared and shared * read >= retry:
            problem = f"no longer than the {shared} instances of a host times {_READ_TIMEOUT} = {read:g}"
            remedy = "set it higher, or the other lower, so that a request reaches another host when this one is dead"
            yield Fault(host.name, _RETRY_TIMEOUT, retry, problem, remedy)


def certificates(platform: Platform) -> Faults:
    for host in platform.members(BALANCERS):
        if host.setting("edge_certificate_source") == "files":
            yield from _certificate_faults(platform, host)


def _certificate_faults(platform: Platform, host: Host) -> Faults:
    texts: t.Dict[str, str] = {}
    for variable in CERTIFICATE_FILES:
        path = host.setting(variable)
        if not path:
            yield Fault(host.name, variable, None, "is not set", "name the file, or set edge_certificate_source: pki")
            continue
        try:
            text = platform.controller.text_of(str(path))
        except (OSError, ValueError) as error:
            problem = f"the controller cannot read it: {getattr(error, 'strerror', None) or 'it is not text'}"
            yield Fault(host.name, variable, path, problem, "name a file in PEM format that you may read")
            continue
        if text.startswith(VAULTED):
            problem = "is encrypted with ansible-vault, and no password that opens it was given"
            yield Fault(host.name, variable, path, problem, "run with --ask-vault-pass or --vault-password-file")
        else:
            texts[variable] = text
    if len(texts) == len(CERTIFICATE_FILES):
        yield from _pair_faults(platform, host, *(texts[variable] for variable in CERTIFICATE_FILES))


def _pair_faults(platform: Platform, host: Host, certificate: str, key: str) -> Faults:
    path = host.setting(CERTIFICATE_FILE)
    if not HAS_CRYPTOGRAPHY:
        remedy = "install it beside Ansible: `pip install cryptography`"
        yield Fault(
            "controller", "python", None, "has no cryptography, without which no certificate can be judged", remedy
        )
        return
    listed = host.setting("load_balancer_server_names")
    names = [str(name) for name in listed] if isinstance(listed, (list, tuple)) else []
    now, days = platform.controller.now, host.number("preflight_certificate_days_left") or 0
    faults = faults_of(certificate, key, names, now)
    yield from (Fault(host.name, CERTIFICATE_FILE, path, *words) for words in faults)
    # What is wrong only then is the time.
    if set(faults_of(certificate, key, names, now + days * _DAY_SECONDS)) - set(faults):
        problem = f"expires within preflight_certificate_days_left = {days:g} days"
        yield Fault(host.name, CERTIFICATE_FILE, path, problem, "renew it at the authority that signed it")


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
        for host in hosts:
            if not host.has("keepalived_interface") and "keepalived_interface" not in host.problems:
                problem, remedy = (
                    "is not set, and keepalived_vip needs it",
                    "name the interface of the address's network",
                )
                yield Fault(host.name, "keepalived_interface", None, problem, remedy)
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
        if address(value) == interface.ip:
            yield f"is the address of {host.name} itself", "choose one that no host has"
    for host in hosts:
        own = address(host.values.get(ADDRESS))
        if own is not None and own not in network:
            yield (
                f"{host.name} has {own}, outside of {network}",
                "choose one in the network that the balancers share",
            )


def _rank_faults(hosts: t.Sequence[Host]) -> Faults:
    found = (host.setting("keepalived_router_id") for host in hosts)
    ids = {str(router_id): router_id for router_id in found if router_id is not None}
    names = ", ".join(host.name for host in hosts)
    if len(ids) > 1:
        yield Fault(
            names,
            "keepalived_router_id",
            sorted(ids),
            "differs between hosts that share an address",
            "set the same on each",
        )
    for router_id in ids.values():
        if not isinstance(router_id, int) or not 1 <= router_id <= 255:
            yield Fault(names, "keepalived_router_id", router_id, "is not a number from 1 to 255", "choose one")
    ranks: t.Dict[t.Any, str] = {}
    for host in hosts:
        priority = host.setting("keepalived_priority")
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


RULES: t.Tuple[Rule, ...] = (choices, server_names, upload_servers, retries, certificates, virtual_addresses)
