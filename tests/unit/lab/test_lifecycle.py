from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab import driver, topology
from lab.errors import LabError
from lab.lifecycle import first_layers, surplus_hosts

NEWER, OLDER = topology.load("database"), topology.load("database_debian12")
TREES = {
    ("debian12", "machine"): Path("/cache/debian12-aa"),
    ("debian13", "machine"): Path("/cache/debian13-bb"),
    ("debian13", "vm"): Path("/cache/debian13-vm-cc"),
}
NEW = {name: [str(TREES[host.os, host.kind])] for name, host in NEWER.hosts.items()}


def test_a_host_that_has_nothing_stands_on_the_tree_of_its_system() -> None:
    assert first_layers(NEWER, TREES, {}, set()) == NEW
    assert first_layers(OLDER, TREES, {}, set())["db1"] == ["/cache/debian12-aa"]


@pytest.mark.parametrize("anew", [set(), {"app1", "db1"}])
def test_a_host_keeps_what_it_has(anew: set[str]) -> None:
    # Of an earlier week, below a snapshot.
    has = {"db1": ["/state/layers/1/db1", "/cache/debian13-cc-1795000000"], "app1": ["/cache/debian13-cc"]}
    assert first_layers(NEWER, TREES, has, anew) == {**NEW, **has}


def test_a_disk_with_another_system_than_the_topology_has_is_refused() -> None:
    with pytest.raises(
        LabError, match=r"db1 has a disk with debian13, and topology database_debian12 has it on debian12; .* --fresh"
    ):
        first_layers(OLDER, TREES, NEW, set())
    with pytest.raises(LabError, match="db3 has a disk with debian13"):
        first_layers(OLDER, TREES, NEW, {"db1", "db2"})


def test_a_host_that_begins_anew_gets_the_system_that_the_topology_has() -> None:
    assert first_layers(OLDER, TREES, NEW, set(NEW)) == first_layers(OLDER, TREES, {}, set())


VIRTUAL = replace(NEWER, hosts={"db1": replace(NEWER.hosts["db1"], kind="vm")})


def test_a_virtual_machine_stands_on_the_image_of_its_kind() -> None:
    assert first_layers(VIRTUAL, TREES, {}, set()) == {"db1": ["/cache/debian13-vm-cc"]}


def test_a_disk_of_the_other_kind_is_refused_or_begun_anew() -> None:
    with pytest.raises(
        LabError, match=r"db1 has a disk with debian13, and topology database has it on debian13 \(vm\)"
    ):
        first_layers(VIRTUAL, TREES, NEW, set())
    assert first_layers(VIRTUAL, TREES, NEW, {"db1"}) == {"db1": ["/cache/debian13-vm-cc"]}


@pytest.fixture
def _cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "cgroup_root", lambda: Path("/nonexistent"))


@pytest.mark.usefixtures("_cgroup")
def test_the_hosts_that_another_topology_lacks_are_shut_down_and_the_others_run_on() -> None:
    surplus = surplus_hosts(NEWER, topology.load("nfs_storage"))
    assert [machine.host.name for machine in surplus] == ["db1", "db2", "db3"]


def test_a_host_that_would_become_another_while_it_runs_is_refused() -> None:
    with pytest.raises(LabError, match=r"database is up, and database_debian12 has db1, db2, db3 otherwise; .* down"):
        surplus_hosts(NEWER, OLDER)


def test_another_network_is_refused() -> None:
    with pytest.raises(LabError, match="elsewhere is on another network"):
        surplus_hosts(NEWER, replace(NEWER, name="elsewhere", bridge="other0"))
