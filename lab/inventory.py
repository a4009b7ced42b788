"""The inventory that ansible reads, written from the topology, and the ssh identity of every host."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

from lab.artifacts import catalogue
from lab.errors import LabError
from lab.paths import CACHE, CHECKOUT, INVENTORY, STATE
from lab.shell import run
from lab.topology import Host, Topology

_APPLICATION = CHECKOUT / "examples" / "tenant_app"

# Written by lab/playbooks/load_cluster.yml, and read by the inventory's group_vars.
CLUSTER_LOADED = STATE / "inventory" / "state" / "cluster_loaded"


def ensure_keys(topology: Topology) -> None:
    """One ssh key to enter with and one host key a host, kept until the lab is purged; the host keys become known."""
    keys = STATE / "ssh"
    keys.mkdir(parents=True, exist_ok=True)
    keys.chmod(0o700)
    for name in ("id_ed25519", *(f"host_{host}" for host in topology.hosts)):
        if not (keys / f"{name}.pub").exists():
            (keys / name).unlink(missing_ok=True)
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"escala-lab {name}", "-f", keys / name)
    known = (
        f"{host.name},{host.address} {(keys / f'host_{host.name}.pub').read_text()}" for host in topology.hosts.values()
    )
    (keys / "known_hosts").write_text("".join(known))


def ssh_options() -> list[str]:
    """What ssh needs to enter a host: our key, and only hosts that are known."""
    keys = STATE / "ssh"
    return [
        "-i",
        f"{keys}/id_ed25519",
        "-o",
        f"UserKnownHostsFile={keys}/known_hosts",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "IdentitiesOnly=yes",
    ]


def application_release() -> Path:
    """Where the reference application's archive is or will be: its name says which sources it was built from."""
    listed = run(
        "git", "-C", CHECKOUT, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", _APPLICATION
    ).stdout
    digest = hashlib.sha256()
    for name in sorted(filter(None, listed.split("\0"))):
        file = CHECKOUT / name
        if file.is_file():
            digest.update(f"{name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return CACHE / "releases" / f"tenant_app-{digest.hexdigest()[:12]}.tar.gz"


def write(topology: Topology) -> None:
    """Write `inventories/lab/hosts.yml` (JSON is YAML) in one step."""
    groups: dict[str, dict[str, dict[str, object]]] = {}
    for host in topology.hosts.values():
        for group in host.groups:
            groups.setdefault(group, {}).setdefault("hosts", {})[host.name] = {}
    options = ssh_options()
    inventory = {
        "all": {
            "hosts": {host.name: {"ansible_host": host.address} for host in topology.hosts.values()},
            "vars": {
                "ansible_user": "root",
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_private_key_file": options[1],
                "ansible_ssh_common_args": " ".join(options[2:]),
                "lab_app_ports": [3001, 3002],
                **topology.variables,
                "lab_vip": topology.vip,
                "lab_gateway": topology.gateway,
                "lab_network_prefix": topology.network.prefixlen,
                "lab_server_name": topology.server_name,
                # Made by `python3 -m lab artifacts build minio`, where etapa 2 needs it.
                "lab_minio_file": str(catalogue.load()["minio"].program),
                "lab_app_release_file": str(application_release()),
            },
            "children": groups,
        }
    }
    _link()
    draft = INVENTORY / ".hosts.yml.new"
    draft.write_text(
        "# Written by `python3 -m lab up` from the topology; change that instead.\n"
        + json.dumps(inventory, indent=2)
        + "\n"
    )
    os.replace(draft, INVENTORY / "hosts.yml")


def cluster_is_loaded(loaded: bool) -> None:
    """Have the inventory point the application at the cluster, or at the old server: whichever has the data of these disks."""
    if loaded:
        CLUSTER_LOADED.touch()
    else:
        CLUSTER_LOADED.unlink(missing_ok=True)


def _kept_with_the_lab() -> dict[Path, Path]:
    """What a run writes beside the inventory but belongs to the hosts: {its place in this checkout: its place in the lab's state}."""
    return {
        INVENTORY / ".state": STATE / "inventory" / "state",
        INVENTORY / "group_vars" / "all" / "secrets.yml": STATE / "inventory" / "secrets.yml",
    }


def _link() -> None:
    """Keep secrets and certificates with the hosts they belong to, so that every checkout has the same."""
    forget()
    for place, kept in _kept_with_the_lab().items():
        if place.exists():
            raise LabError(f"{place} would hide the lab's own, {kept}; move it away and repeat")
        kept.parent.mkdir(parents=True, exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(kept)
    (STATE / "inventory" / "state").mkdir(mode=0o700, exist_ok=True)


def forget() -> None:
    """Remove this checkout's links to what belongs to a lab."""
    for place in _kept_with_the_lab():
        if place.is_symlink():
            place.unlink()


def enter(topology: Topology, name: str, command: list[str]) -> int:
    """A shell or a command on a host by ssh; returns its exit status.

    The connection stays for a minute and the next commands share it: making one takes longer than most commands do.
    """
    host = topology.host(name)
    shared = {
        "ControlMaster": "auto",
        "ControlPath": _shared_connection(host),
        "ControlPersist": "60",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "2",
        "LogLevel": "ERROR",
    }
    options = (word for key, value in shared.items() for word in ("-o", f"{key}={value}"))
    return subprocess.run(["ssh", *ssh_options(), *options, f"root@{host.address}", *command], check=False).returncode


def leave(host: Host) -> None:
    """End the connection to a host that has lost its power: it would never say so itself."""
    if _shared_connection(host).exists():
        run("ssh", "-o", f"ControlPath={_shared_connection(host)}", "-O", "exit", host.address, check=False)


def _shared_connection(host: Host) -> Path:
    return STATE / "ssh" / f"to_{host.name}"
