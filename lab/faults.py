"""Faults between hosts and on their disks and clocks; each is remembered, shown by `status`, and undone by `heal`."""

from lab import network, state
from lab.driver import Driver
from lab.errors import LabError
from lab.lifecycle import driver, running_topology
from lab.state import Fault


def one(name: str) -> Driver:
    """The host of that name in the lab that is up."""
    found = running_topology(state.read())
    return driver(found.host(name), found)


def add(fault: Fault) -> None:
    """Put a network fault in force beside those that are."""
    saved = state.read()
    found = running_topology(saved)
    for name in filter(None, (fault.a, fault.b)):
        found.host(name)
    if fault.kind == "cut" and fault.a == fault.b:
        raise LabError(f"a cut is between two hosts, and both are {fault.a}; `isolate {fault.a}` cuts one off from all")
    if fault.kind == "loss" and not 1 <= fault.percent <= 100:
        raise LabError(f"loss is {fault.percent} percent, and must be 1 to 100; `heal` ends it")
    saved.faults.append(fault)
    saved.save()
    network.apply(saved.faults)


def heal() -> None:
    """Undo every network fault."""
    saved = state.read()
    running_topology(saved)
    saved.faults = []
    saved.save()
    network.apply([])
