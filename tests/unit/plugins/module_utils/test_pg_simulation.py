"""The rules in a cluster on paper: no acknowledged commit is lost, no timeline taken twice, and a writer comes back.

ESCALA_SIMULATIONS multiplies how many are tried: 1 for every run of the tests, 100 for a soak of an hour, each time other ones.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ansible_collections.escala.ha.plugins.module_utils import _pg_quorum, _pg_state
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Rank, Rules
from tests.unit.plugins.module_utils import pg_simulation
from tests.unit.plugins.module_utils.pg_simulation import FAULTS, PLOTS, Cluster, UnsafeError, act, storm

FACTOR = int(os.environ.get("ESCALA_SIMULATIONS", "1"))
# data nodes, witnesses, whether one of two goes on alone
SIZES = ((3, 0, False), (2, 1, True), (2, 1, False), (5, 0, False), (2, 0, False), (1, 0, False))
WRITER_WITHIN_SECONDS = 60
# The rules as they are, for tests that break them.
RANK_OF = pg_simulation.pg.rank_of
SIZES_OF = Rules.sizes


def prove(cluster, leave_down=()):
    cluster.mend(leave_down)
    if not cluster.writer_within(WRITER_WITHIN_SECONDS):
        cluster.fail(f"no commit was acknowledged within {WRITER_WITHIN_SECONDS} s after all faults had ended")
    return cluster


def storms(size, seeds, broken=frozenset(), rounds=30):
    for seed in seeds:
        data, witnesses, alone = size
        cluster = Cluster(data, witnesses, seed, broken, alone)
        storm(cluster, rounds)
        yield prove(cluster)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "-".join(map(str, size)))
def test_storms_of_faults_lose_nothing_and_a_writer_comes_back(size):
    ended = list(storms(size, range(40 * FACTOR)))
    assert sum(len(cluster.acknowledged) for cluster in ended) > 40 * len(ended) / 10
    assert size[0] == 1 or sum(len(cluster.promotions) for cluster in ended) > 2 * len(ended)


@pytest.mark.parametrize(("size", "down"), [(SIZES[0], 1), (SIZES[3], 2), (SIZES[1], 1)], ids=["3-1", "5-2", "2w-1"])
def test_a_majority_that_was_whole_needs_no_other_node(size, down):
    data, witnesses, alone = size
    for seed in range(20 * FACTOR):
        cluster = Cluster(data, witnesses, seed, alone_continues=alone)
        cluster.tick(60)
        prove(cluster, leave_down=cluster.random.sample(cluster.rules.nodes, down))


def test_all_powered_off_at_once_and_booted_in_any_order_come_back_with_everything():
    for seed in range(20 * FACTOR):
        cluster = Cluster(3, 0, seed)
        cluster.tick(cluster.random.randint(20, 60))
        names = list(cluster.nodes)
        for name in names:
            cluster.crash(name)
        cluster.random.shuffle(names)
        for name in names:
            cluster.boot(name)
            cluster.tick(cluster.random.randint(0, 30))
        prove(cluster)


def test_a_planned_handover_ends_at_its_target():
    for seed in range(20 * FACTOR):
        cluster = Cluster(3, 0, seed)
        cluster.tick(60)
        old = pg_simulation.primary_of(cluster)
        target = cluster.random.choice([name for name in cluster.nodes if name != old])
        cluster.hand_over(target)
        steps = 0
        while pg_simulation.primary_of(cluster) != target and steps < 12:
            cluster.tick()
            steps += 1
        assert pg_simulation.primary_of(cluster) == target
        prove(cluster)


def goes_on_without(cluster, off):
    """Those lose their power, an operator asks all that are left, one after the other, and later they are booted."""
    for name in off:
        cluster.crash(name)
    # A guard takes nobody out who was heard a moment ago.
    cluster.tick(int(cluster.rules.settled_seconds / pg_simulation.STEP) + 1)
    left = [name for name in cluster.nodes if name not in off]
    cluster.random.shuffle(left)
    for name in left:
        cluster.ask_to_degrade(name, off)
        cluster.tick(cluster.random.randint(0, 5))
    if not cluster.writer_within(WRITER_WITHIN_SECONDS):
        cluster.fail(
            f"no commit was acknowledged within {WRITER_WITHIN_SECONDS} s after an operator had asked to go on"
        )
    come_back(cluster, off)


def come_back(cluster, off):
    """Those that were powered off are booted, and must vote again."""
    for name in off:
        cluster.boot(name)
    if not pg_simulation.wait_for(cluster, lambda: not cluster._newest_quorum().out, 240):
        cluster.fail(f"{', '.join(cluster._newest_quorum().out)} are out of the quorum for good")
    prove(cluster)


def test_asked_of_all_that_are_left_a_primary_lets_in_again_who_comes_back():
    for seed in range(20 * FACTOR):
        cluster = Cluster(3, 0, seed)
        cluster.tick(60)
        primary = pg_simulation.primary_of(cluster)
        goes_on_without(cluster, [cluster.random.choice([name for name in cluster.nodes if name != primary])])


def test_asked_of_all_that_are_left_of_a_lost_majority_they_elect_one_that_lets_the_others_in_again():
    tried = 0
    for seed in range(40 * FACTOR):
        cluster = Cluster(5, 0, seed)
        cluster.tick(60)
        primary = pg_simulation.primary_of(cluster)
        off = [primary, *cluster.random.sample([name for name in cluster.nodes if name != primary], 2)]
        left = [node for name, node in cluster.nodes.items() if name not in off]
        # The operator boots one that has all, if none of these does.
        if any(all(entry in node.wal for entry in cluster._acknowledged_entries()) for node in left):
            tried += 1
            goes_on_without(cluster, off)
    assert tried > 10


def asked_at_a_wrong_moment(seeds):
    """One standby has no power. The primary lives, but its guard is dead, or it and the other standby do not hear each other, for a while.

    In that while the operator asks the standby, again and again.
    """
    for seed in seeds:
        cluster = Cluster(3, 0, seed)
        cluster.tick(60)
        primary = pg_simulation.primary_of(cluster)
        asked, off = cluster.random.sample([name for name in cluster.nodes if name != primary], 2)
        cluster.crash(off)
        fault = cluster.random.choice(["guard_stop", "freeze", "cut", "deaf", "loss"])
        pairs = {"cut": ((primary, asked), (asked, primary)), "deaf": ((primary, asked),)}.get(fault, ())
        for pair in pairs:
            cluster.cut(*pair)
        if not pairs:
            act(cluster, fault, primary, asked)
        for _number in range(6):
            cluster.tick(cluster.random.randint(1, 10))
            cluster.ask_to_degrade(asked, [off])
        cluster.mend(leave_down=[off])
        cluster.tick(20)
        come_back(cluster, [off])


def test_asked_while_a_living_primary_is_not_heard_a_standby_takes_nobody_out_for_good():
    asked_at_a_wrong_moment(range(40 * FACTOR))


def test_by_silence_alone_a_standby_would_take_nodes_out_for_good(monkeypatch):
    monkeypatch.setattr(_pg_quorum, "_led_by_another", lambda *_what_is_known: "")
    with pytest.raises(UnsafeError, match="are out of the quorum for good"):
        asked_at_a_wrong_moment(range(40))


BROKEN = {
    "receiver goes on": SIZES[0],
    "promise forgotten": SIZES[0],
    "two candidates": SIZES[0],
    "least of votes": SIZES[0],
    "rank ignored": SIZES[0],
    "rank not final": SIZES[0],
    "files alone": SIZES[0],
    "empty nodes count": SIZES[0],
    "follows anyone": SIZES[0],
    "no wait before return": SIZES[1],
    "no majority before alone": SIZES[1],
    "fork counts": SIZES[0],
    "promise is election": SIZES[0],
    "superseded goes on": SIZES[1],
    "wiped nodes count": SIZES[1],
}
SEEDS = 1200
# Where those that take long to be found out were found last; all others are tried after it.
FOUND_AT = {
    "two candidates": 43,
    "files alone": 1088,
    "follows anyone": 97,
    "no wait before return": 112,
    "promise is election": 63,
    "wiped nodes count": 192,
}


@pytest.mark.parametrize("broken", BROKEN)
def test_each_rule_that_is_broken_is_found_out(broken):
    first = FOUND_AT.get(broken, 0)
    with pytest.raises(UnsafeError):
        list(storms(BROKEN[broken], [*range(first, SEEDS), *range(first)], broken))


class _PositionOnly(Rank):
    """A rank that compares positions and forgets timelines."""

    def __gt__(self, other):
        return self.lsn > other.lsn

    def __lt__(self, other):
        return self.lsn < other.lsn

    __hash__ = Rank.__hash__


def test_ranks_that_compare_positions_alone_are_found_out(monkeypatch):
    monkeypatch.setattr(_pg_state, "Rank", _PositionOnly)
    monkeypatch.setattr(pg_simulation.pg, "rank_of", lambda *args: _PositionOnly(*RANK_OF(*args)))
    with pytest.raises(UnsafeError):
        list(storms(SIZES[0], range(400)))


def test_elections_without_votes_of_data_nodes_are_found_out(monkeypatch):
    """Five nodes with two synchronous standbys, elected by any two of them."""
    monkeypatch.setattr(
        Rules,
        "sizes",
        lambda self, quorum: SIZES_OF(self, quorum)._replace(votes_needed=2, data_votes_needed=2),
    )
    with pytest.raises(UnsafeError):
        list(storms(SIZES[3], range(100)))


class Storm(RuleBasedStateMachine):
    """The same faults, chosen by hypothesis, which makes what it finds short."""

    @initialize(size=st.sampled_from(SIZES), seed=st.integers(0, 2**16))
    def begin(self, size, seed):
        data, witnesses, alone = size
        self.cluster = Cluster(data, witnesses, seed, alone_continues=alone)
        self.cluster.tick(16)

    @rule(fault=st.sampled_from(FAULTS), one=st.integers(0, 4), other=st.integers(0, 4))
    def fault(self, fault, one, other):
        names = list(self.cluster.nodes)
        act(self.cluster, fault, names[one % len(names)], names[other % len(names)])

    @rule(steps=st.integers(1, 20), writes=st.sampled_from([0.2, 1.0]))
    def time_goes_by(self, steps, writes):
        self.cluster.tick(steps, writes)

    @rule(plot=st.sampled_from(PLOTS))
    def plot(self, plot):
        plot(self.cluster)

    def teardown(self):
        if hasattr(self, "cluster"):
            prove(self.cluster)


Storm.TestCase.settings = settings(
    max_examples=40 * FACTOR,
    stateful_step_count=25,
    deadline=None,
    derandomize=FACTOR == 1,
    suppress_health_check=list(HealthCheck),
)
test_faults_that_hypothesis_chooses_lose_nothing = Storm.TestCase
