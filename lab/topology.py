"""Topologies are data: which hosts there are, where, and in which groups. The one truth that boot, faults and inventory read."""

import ipaddress
import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.paths import TOPOLOGIES

OPERATING_SYSTEMS = {"debian12": "bookworm", "debian13": "trixie"}
# A machine shares this machine's kernel, a vm has its own.
KINDS = ("machine", "vm")
# Linux allows 15 characters for an interface, and nspawn puts "vb-" before the name.
_HOST_NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")
# An ext4 label has 16 characters.
_VOLUME_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")


@dataclass(frozen=True)
class Volume:
    """A disk of its own for one directory, so that it can be filled or hung without touching the rest of the host.

    With an empty path, which only a vm may have, it is a disk without a file system: /dev/disk/by-id/virtio-NAME.
    """

    name: str
    path: str
    size_mib: int


@dataclass(frozen=True)
class Host:
    """One host as the topology declares it."""

    name: str
    address: str
    groups: tuple[str, ...]
    os: str = "debian13"
    kind: str = "machine"
    volumes: tuple[Volume, ...] = ()
    # Of a vm; a machine has the memory of this one.
    memory_mib: int = 768

    @property
    def link(self) -> str:
        """The machine's end of the host's cable."""
        return f"vb-{self.name}"


@dataclass(frozen=True)
class Topology:
    """A named set of hosts on one bridge."""

    name: str
    bridge: str
    network: ipaddress.IPv4Network
    vip: str
    server_name: str
    hosts: dict[str, Host] = field(default_factory=dict)
    # What its inventory says for all hosts, besides what the lab's group_vars do.
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def gateway(self) -> str:
        """The machine's own address on the bridge."""
        return str(next(self.network.hosts()))

    def host(self, name: str) -> Host:
        """The host of that name, or a LabError that lists the names there are."""
        if name not in self.hosts:
            raise LabError(f"host {name!r} is not in topology {self.name}; it has {', '.join(self.hosts)}")
        return self.hosts[name]

    def covers(self, other: "Topology") -> bool:
        """Whether every host of the other topology is here too, with the same address, groups and kind, and all that it says of them.

        One that has the same hosts and says more of them is another one, though.
        """
        has_hosts = all(self.hosts.get(name) == host for name, host in other.hosts.items())
        says_so = all(self.variables.get(name) == value for name, value in other.variables.items())
        is_another = self.hosts == other.hosts and self.variables != other.variables
        return self.network == other.network and has_hosts and says_so and not is_another

    def changed_from(self, other: "Topology") -> list[str]:
        """The hosts of both topologies that cannot run on from one to the other: they differ in more than their groups."""
        both = self.hosts.keys() & other.hosts.keys()
        return sorted(
            name for name in both if replace(self.hosts[name], groups=()) != replace(other.hosts[name], groups=())
        )


def load(name: str, folder: Path = TOPOLOGIES) -> Topology:
    """Read `<folder>/<name>.toml`, its `extends` first.

    Raises LabError for an unknown name, an unknown key, a double or foreign address, a bad host name.
    """
    file = folder / f"{name}.toml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.toml")))
        raise LabError(f"topology {name!r} does not exist; there are {known}")
    try:
        data = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"{file.name}: {error}") from error
    base = load(data.pop("extends"), folder) if "extends" in data else None
    return _build(name, data, base)


def _build(name: str, data: dict[str, Any], base: Topology | None) -> Topology:
    hosts = dict(base.hosts) if base else {}
    for host_name, settings in data.pop("hosts", {}).items():
        hosts[host_name] = _host(name, host_name, settings)
    inherited = (
        {key: getattr(base, key) for key in ("bridge", "network", "vip", "server_name", "variables")} if base else {}
    )
    values = inherited | data
    values["variables"] = inherited.get("variables", {}) | data.get("variables", {})
    if "network" in data:
        values["network"] = ipaddress.IPv4Network(data["network"])
    try:
        topology = Topology(name=name, hosts=hosts, **values)
    except TypeError as error:
        raise LabError(f"topology {name}: {error}") from error
    _check_addresses(topology)
    return topology


def _host(topology: str, name: str, settings: dict[str, Any]) -> Host:
    where = f"topology {topology}, host {name}"
    if not _HOST_NAME.fullmatch(name):
        raise LabError(f"{where}: a name has 1 to 12 of a-z, 0-9 and -, and begins with a letter")
    try:
        volumes = tuple(Volume(**volume) for volume in settings.pop("volumes", []))
        host = Host(name=name, groups=tuple(settings.pop("groups")), volumes=volumes, **settings)
    except (TypeError, KeyError) as error:
        raise LabError(f"{where}: {error}") from error
    if host.os not in OPERATING_SYSTEMS:
        raise LabError(f"{where}: os is {host.os!r}, and must be one of {', '.join(OPERATING_SYSTEMS)}")
    if host.kind not in KINDS:
        raise LabError(f"{where}: kind is {host.kind!r}, and must be one of {', '.join(KINDS)}")
    for volume in host.volumes:
        _check_volume(f"{where}, volume {volume.name}", volume, host.kind)
    return host


def _check_volume(where: str, volume: Volume, kind: str) -> None:
    if not _VOLUME_NAME.fullmatch(volume.name):
        raise LabError(f"{where}: a name has 1 to 16 of a-z, 0-9 and -, and begins with a letter")
    if kind == "machine" and not volume.path:
        raise LabError(f"{where}: a disk without a file system, which an empty path means, needs a host of kind vm")
    if volume.path and not volume.path.startswith("/"):
        raise LabError(f"{where}: the path is {volume.path!r}, and must begin with /")


def _check_addresses(topology: Topology) -> None:
    taken = {topology.gateway: "the machine", topology.vip: "the VIP"}
    for host in topology.hosts.values():
        if ipaddress.IPv4Address(host.address) not in topology.network:
            raise LabError(f"topology {topology.name}, host {host.name}: {host.address} is outside {topology.network}")
        if host.address in taken:
            raise LabError(
                f"topology {topology.name}, host {host.name}: {host.address} is {taken[host.address]}'s already"
            )
        taken[host.address] = host.name
