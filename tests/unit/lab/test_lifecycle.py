from __future__ import annotations

from pathlib import Path

import pytest

from lab import topology
from lab.errors import LabError
from lab.lifecycle import first_layers

NEWER, OLDER = topology.load("database"), topology.load("database_debian12")
TREES = {"debian12": Path("/cache/debian12-aa"), "debian13": Path("/cache/debian13-bb")}
NEW = {name: [str(TREES[host.os])] for name, host in NEWER.hosts.items()}


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
