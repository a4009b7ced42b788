"""Which faults a seed draws."""

import pytest

from tests.lab.random_faults import KINDS, draw

NODES, POOLS = ["db1", "db2", "db3"], ["app1", "app2"]


def test_a_seed_draws_the_same_again():
    assert draw(7, NODES, POOLS, "db2", 3) == draw(7, NODES, POOLS, "db2", 3)
    assert draw(7, NODES, POOLS, "db2", 3) != draw(8, NODES, POOLS, "db2", 3)


@pytest.mark.parametrize("seed", range(50))
def test_one_fault_is_the_primary_s_and_each_ends_after_it_begins(seed):
    faults = draw(seed, NODES, POOLS, "db2", 3)
    assert "db2" in {fault.node for fault in faults}
    assert [fault.begin for fault in faults] == sorted(fault.begin for fault in faults)
    for fault in faults:
        assert 0 <= fault.begin < fault.end
        assert "{" not in fault.act + fault.undo
        assert not fault.by_verb or fault.undo


def test_every_kind_is_drawn_by_some_seed():
    assert {fault.kind for seed in range(100) for fault in draw(seed, NODES, POOLS, "db1", 3)} == set(KINDS)
