"""Bringing the lab up and down, whole or host by host, and keeping and restoring what its disks hold."""

import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import check, image, inventory, mirror, network, state, topology
from lab.driver import Driver, cgroup_root
from lab.errors import LabError
from lab.machine import Machine
from lab.paths import STATE, TOPOLOGIES
from lab.shell import run, say, ticks
from lab.state import State
from lab.topology import Host, Topology
from lab.virtual_machine import VirtualMachine

# The snapshot that every lab has: hosts as the provider hands them over.
FRESH = "fresh"


def running_topology(saved: State) -> Topology:
    """The topology of the lab that is up, or a LabError that says how to get one."""
    if not saved.topology:
        raise LabError("no lab is up; `python3 -m lab up` boots one")
    return topology.load(saved.topology)


def driver(host: Host, found: Topology) -> Driver:
    """A host of a topology as something that can be booted and broken."""
    return VirtualMachine(host, found) if host.kind == "vm" else Machine(host, found)


def machines(found: Topology) -> list[Driver]:
    """Every host of a topology so."""
    return [driver(host, found) for host in found.hosts.values()]


def up(name: str, fresh: bool = False) -> None:
    """Boot a topology; hosts that run already are left alone, and what a crash left half done is repaired.

    With `fresh` those that are booted begin as untouched Debian. Hosts of another topology that is up, and which this one lacks, are shut
    down and keep their disks.
    """
    wanted = topology.load(name)
    saved = state.read()
    surplus: list[Driver] = []
    if saved.topology and saved.topology != name:
        present = topology.load(saved.topology)
        if present.covers(wanted):
            wanted = present
            say(f"topology {present.name} is up and has every host of {name}")
        else:
            surplus = surplus_hosts(present, wanted)
    check.machine(virtual=any(host.kind == "vm" for host in wanted.hosts.values()))
    _each("shutting down", surplus, Driver.stop)
    network.ensure(wanted)
    mirror.start_cache(wanted.gateway)
    inventory.ensure_keys(wanted)
    bases = {(host.os, host.kind) for host in wanted.hosts.values()}
    trees = {base: image.ensure(*base, wanted.gateway) for base in bases}
    hosts = machines(wanted)
    off = [machine for machine in hosts if machine.state() not in ("running", "frozen")]
    anew = {machine.host.name for machine in off} if fresh else set()
    saved.layers |= first_layers(wanted, trees, saved.layers, anew)
    saved.topology = wanted.name
    saved.save()
    # Before the hosts boot: where one does not, a playbook goes to these hosts and not to those of the topology before.
    inventory.write(wanted)
    network.apply(saved.faults)
    if fresh:
        _wipe(off, hosts, saved)
    _boot(off, saved)
    for machine in hosts:
        if machine not in off and machine.state() == "running":
            machine.learn_names()


def surplus_hosts(present: Topology, wanted: Topology) -> list[Driver]:
    """The hosts to shut down when another topology takes the place of the one that is up.

    Raises LabError where a host would have to become another while it runs, or the network is another.
    """
    changed = wanted.changed_from(present)
    if changed or (present.bridge, present.network) != (wanted.bridge, wanted.network):
        what = f"has {', '.join(changed)} otherwise" if changed else "is on another network"
        raise LabError(f"topology {present.name} is up, and {wanted.name} {what}; `python3 -m lab down` first")
    return [machine for machine in machines(present) if machine.host.name not in wanted.hosts]


def first_layers(
    wanted: Topology, trees: dict[tuple[str, str], Path], layers: dict[str, list[str]], anew: set[str]
) -> dict[str, list[str]]:
    """What each host of a topology stands on: what it has so far, or the image of its system and kind where it has nothing.

    Raises LabError for a disk with another system or of another kind than the topology's, unless its host is one of those that begin anew.
    """
    found = {}
    for name, host in wanted.hosts.items():
        tree = str(trees[host.os, host.kind])
        found[name] = layers.get(name) or [tree]
        base = Path(found[name][-1])
        has, needs = _standing(image.system_of(base), image.kind_of(base)), _standing(host.os, host.kind)
        if has != needs and name not in anew:
            raise LabError(
                f"{name} has a disk with {has}, and topology {wanted.name} has it on {needs};"
                f" `python3 -m lab down` and `up --topology {wanted.name} --fresh` give it another"
            )
        if has != needs:
            found[name] = [tree]
    return found


def down(purge: bool, force: bool) -> None:
    """Shut every host down and take the network away; with purge forget the disks, with force ask nothing of what is dead."""
    try:
        saved = state.read()
        found = running_topology(saved)
    except LabError as error:
        if not force:
            if purge:
                _forget()
            say(f"nothing to take down: {error}" if not purge else "no lab is up; what one left is forgotten")
            return
        found = None
    if force:
        _kill_all()
    elif found:
        _each("shutting down", machines(found), Driver.stop)
    mirror.stop_cache()
    if found:
        network.remove(found)
    elif force:
        for name in sorted(path.stem for path in TOPOLOGIES.glob("*.toml")):
            network.remove(topology.load(name))
    if purge:
        _forget()
        say("the lab is gone, with its disks and keys; downloads stay in the cache")
    else:
        saved.topology = ""
        saved.faults = []
        saved.save()
        say("the lab is down; its disks stay, and `up` of the same topology boots them again")


def start(name: str) -> None:
    """Boot one host with its disk."""
    saved = state.read()
    found = running_topology(saved)
    machine = driver(found.host(name), found)
    if machine.state() not in ("running", "frozen"):
        _boot([machine], saved)
    network.apply(saved.faults)


def snapshot(name: str) -> None:
    """Shut all hosts down in order, keep their disks under a name, and boot them again over those."""
    if name == FRESH or "/" in name or name.startswith("."):
        raise LabError(f"a snapshot cannot be called {name!r}; {FRESH!r} is there always, and a name is one word")
    saved = state.read()
    hosts = machines(running_topology(saved))
    _each("shutting down", hosts, Driver.stop)
    layer = STATE / "layers" / str(time.time_ns())
    volumes = STATE / "snapshots" / name
    shutil.rmtree(volumes, ignore_errors=True)
    layer.mkdir(parents=True)
    if inventory.CLUSTER_LOADED.exists():
        volumes.mkdir(parents=True)
        (volumes / inventory.CLUSTER_LOADED.name).touch()
    for machine in hosts:
        kept = layer / machine.host.name
        machine.keep_upper(kept)
        saved.layers[machine.host.name].insert(0, str(kept))
        _copy_volumes(machine.disk / "volumes", volumes / machine.host.name)
    saved.snapshots[name] = {machine.host.name: list(saved.layers[machine.host.name]) for machine in hosts}
    saved.save()
    _collect(saved)
    _boot(hosts, saved)


def restore(name: str) -> None:
    """Bring every host back to a snapshot and boot it; `fresh` is the untouched Debian."""
    saved = state.read()
    found = running_topology(saved)
    if name != FRESH and name not in saved.snapshots:
        raise LabError(f"there is no snapshot {name!r}; there are {', '.join([FRESH, *saved.snapshots])}")
    hosts = machines(found)
    stood_on = {host.name: _standing(host.os, host.kind) for host in found.hosts.values()}
    if name != FRESH and _systems(saved.snapshots[name]) != stood_on:
        raise LabError(f"snapshot {name!r} was taken with other hosts than topology {found.name} has; take it again")
    _each("powering off", hosts, Driver.kill)
    for machine in hosts:
        machine.wipe()
        layers = saved.layers[machine.host.name]
        saved.layers[machine.host.name] = (
            layers[-1:] if name == FRESH else list(saved.snapshots[name][machine.host.name])
        )
        if name != FRESH:
            _copy_volumes(STATE / "snapshots" / name / machine.host.name, machine.disk / "volumes")
    inventory.cluster_is_loaded((STATE / "snapshots" / name / inventory.CLUSTER_LOADED.name).exists())
    saved.faults = []
    saved.save()
    _collect(saved)
    network.apply(saved.faults)
    _boot(hosts, saved)


def _wipe(off: list[Driver], hosts: list[Driver], saved: State) -> None:
    """Have those hosts of a topology that are off begin as untouched Debian."""
    for machine in off:
        machine.wipe()
        saved.layers[machine.host.name] = saved.layers[machine.host.name][-1:]
    # The customer's data is in a cluster only as long as a data node runs on.
    if not any("postgres_servers" in machine.host.groups for machine in hosts if machine not in off):
        inventory.cluster_is_loaded(False)
    saved.save()
    _collect(saved)


def _collect(saved: State) -> None:
    """Remove the layers that neither a host nor a snapshot stands on any more."""
    chains = [saved.layers, *saved.snapshots.values()]
    used = {Path(layer).parent for chain in chains for layers in chain.values() for layer in layers}
    for folder in (STATE / "layers").glob("*"):
        if folder not in used:
            shutil.rmtree(folder)


def _systems(layers: dict[str, list[str]]) -> dict[str, str]:
    """Each host's operating system and kind, by what it stands on."""
    bases = {name: Path(of[-1]) for name, of in layers.items()}
    return {name: _standing(image.system_of(base), image.kind_of(base)) for name, base in bases.items()}


def _standing(system: str, kind: str) -> str:
    return system if kind == "machine" else f"{system} ({kind})"


def _copy_volumes(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for volume in source.glob("*.img"):
        run("cp", "--sparse=always", "--reflink=auto", volume, target / volume.name)


def _boot(hosts: list[Driver], saved: State) -> None:
    for machine in hosts:
        for layer in saved.layers[machine.host.name]:
            if not Path(layer).is_dir():
                raise LabError(
                    f"{machine.host.name}'s layer {layer} is gone; `python3 -m lab down --purge` and `up` make it anew"
                )
        machine.boot([Path(layer) for layer in saved.layers[machine.host.name]])
    _each("booting", hosts, Driver.wait_reachable)


def _each(what: str, hosts: list[Driver], act: Callable[[Driver], None]) -> None:
    """Do one thing to all hosts at once; the first failure is raised after all have ended."""
    if not hosts:
        return
    say(f"{what}: {' '.join(machine.host.name for machine in hosts)}")
    with ThreadPoolExecutor(len(hosts)) as pool:
        _raise_first(pool.map(_caught(act), hosts))


def _caught(act: Callable[[Driver], None]) -> Callable[[Driver], LabError | None]:
    def attempt(machine: Driver) -> LabError | None:
        try:
            act(machine)
        except LabError as error:
            return error
        return None

    return attempt


def _raise_first(errors: Iterable[LabError | None]) -> None:
    for error in list(errors):
        if error:
            raise error


def _kill_all() -> None:
    """Kill whatever runs in the lab's control groups, known or not, and remove what it leaves."""
    group = cgroup_root() / "escala-lab"
    if not group.exists():
        return
    for frozen in group.glob("*/cgroup.freeze"):
        frozen.write_text("0")
    (group / "cgroup.kill").write_text("1")
    for _ in ticks(15):
        if "populated 0" in (group / "cgroup.events").read_text():
            break
    else:
        raise LabError(
            f"processes in {group} outlive being killed, most likely on a hung disk; `fsfreeze -u` its mount, then try again"
        )
    for child in sorted(group.rglob("*/"), reverse=True):
        child.rmdir()
    group.rmdir()


def _forget() -> None:
    for part in ("hosts", "layers", "snapshots", "ssh", "inventory", "apt-cacher-ng"):
        shutil.rmtree(STATE / part, ignore_errors=True)
    (STATE / "state.json").unlink(missing_ok=True)
    inventory.forget()
