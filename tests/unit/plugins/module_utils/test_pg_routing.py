"""Whom to follow, how to start and where to send clients."""

from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Heard,
    NodeState,
    Promise,
    Quorum,
    Rules,
    forked,
    gate,
    route,
    upstream,
)

RULES = Rules(("db1", "db2", "db3"))
WRITER = NodeState(
    "db1",
    "primary",
    writable=True,
    timeline=4,
    lsn=200,
    joined=True,
    history=((1, 50), (3, 90)),
    system_identifier="7000",
)


def standby(name="db2", timeline=3, lsn=80, **changes):
    state = NodeState(
        name, "standby", timeline=timeline, lsn=lsn, joined=True, rank_final=True, system_identifier="7000"
    )
    return state._replace(**changes)


def heard(*states, age=0.3):
    return {state.node: Heard(state, age) for state in states}


def test_a_node_on_the_primarys_history_follows_and_first_promises_its_timeline():
    found = upstream(standby(), heard(WRITER), RULES)
    assert (found.action, found.source, found.promise) == ("follow", "db1", Promise(4, "db1"))
    assert upstream(standby(promise=Promise(4, "db1")), heard(WRITER), RULES).promise is None


@pytest.mark.parametrize(
    ("timeline", "lsn", "replayed", "action"),
    [
        (3, 90, None, "follow"),
        (3, 91, None, "rewind"),
        (3, 91, 90, "follow"),
        (2, 60, None, "rewind"),
        (4, 300, None, "follow"),
    ],
)
def test_what_was_replayed_decides_between_following_and_a_rewind(timeline, lsn, replayed, action):
    assert upstream(standby(timeline=timeline, lsn=lsn, replay_lsn=replayed), heard(WRITER), RULES).action == action


def test_the_reason_of_a_rewind_has_the_numbers():
    found = upstream(standby(lsn=0x5000148), heard(WRITER), RULES)
    assert found.reason == "db2 is at 0/5000148 of timeline 3, which db1 left at 0/5A for timeline 4"


def test_branches_that_nobody_follows_are_named_to_be_dropped():
    assert upstream(standby(), heard(WRITER), RULES, [2, 3, 4]).drop_timelines == (2,)


def test_after_a_rewind_that_failed_comes_a_clone_and_an_empty_node_is_cloned():
    assert upstream(standby(lsn=99), heard(WRITER), RULES, rewind_failed=True).action == "clone"
    assert upstream(NodeState("db2", "empty"), heard(WRITER), RULES).action == "clone"


def test_data_of_another_cluster_is_refused_and_never_wiped():
    found = upstream(standby(system_identifier="7999"), heard(WRITER), RULES, rewind_failed=True)
    assert (found.action, "7999" in found.reason, "7000" in found.reason) == ("refuse", True, True)


@pytest.mark.parametrize(
    "others",
    [
        {},
        heard(WRITER, age=2.0),
        heard(WRITER._replace(writable=False)),
        heard(WRITER._replace(timeline=3)),
    ],
)
def test_without_a_primary_that_it_may_follow_a_node_waits(others):
    assert upstream(standby(promise=Promise(4, "db3")), others, RULES).action == "wait"


def test_a_node_that_streams_as_it_should_is_left_alone():
    me = standby(timeline=4, upstream="db1", streaming=True, rank_final=False)
    assert upstream(me, heard(WRITER), RULES).action == "none"
    assert upstream(WRITER, heard(standby()), RULES).action == "none"
    assert upstream(NodeState("w", "witness"), heard(WRITER), RULES).action == "none"


@pytest.mark.parametrize(
    ("changes", "action"),
    [
        ({"joined": True}, "wait"),
        ({"lsn": 0}, "wait"),
        ({}, "follow"),
        ({"upstream": "db1"}, "wait"),
        ({"upstream": "db1", "since_seconds": 60.0}, "clone"),
        ({"lsn": 95}, "clone"),
    ],
)
def test_a_node_whose_rewind_is_not_complete_completes_it_or_is_cloned(changes, action):
    me = standby(rank_final=False, joined=False)._replace(**changes)
    assert upstream(me, heard(WRITER), RULES).action == action


def test_every_start_is_a_start_as_a_standby():
    found = gate(None, {"00000002.history": 40}, False, None, "7000", "7000")
    assert found == (True, "standby.signal is put back", True, (), False)
    assert gate(None, {}, True, None, "7000", None).reason == "it starts as a standby"


def test_the_gate_removes_stubs_and_an_upstream_that_the_promise_forbids():
    sizes = {"00000003.history": 80, "00000004.history": 0, "000000030000000000000005": 16777216}
    found = gate(Promise(5, "db3"), sizes, True, 4, "7000", "7000")
    assert (found.allowed, found.remove_histories, found.clear_upstream) == (True, ("00000004.history",), True)
    assert not gate(Promise(5, "db3"), {}, True, 5, "7000", "7000").clear_upstream
    assert gate(None, {}, True, 0, "7000", "7000").clear_upstream


def test_the_gate_refuses_the_data_of_another_cluster():
    found = gate(None, {}, True, None, "7999", "7000")
    assert (found.allowed, "7999" in found.reason, "7000" in found.reason) == (False, True, True)


def follower(name, of="db1", lag=0.0, **changes):
    return standby(name, 4, 190, upstream=of, streaming=True, replay_lag_seconds=lag)._replace(**changes)


def test_clients_write_to_the_primary_and_read_from_standbys_within_the_lag_limit():
    found = route(heard(WRITER, follower("db2"), follower("db3", lag=11.0)), RULES, 10)
    assert (found.writer, found.readers) == ("db1", ("db2",))
    assert found.why == {"db3": "its lag is 11.0 s, limit is 10 s"}
    assert found.reason == "db1 is the primary of timeline 4, confirmed by db2, db3"


def test_without_a_writer_reads_go_on_and_without_a_standby_the_primary_is_read():
    assert route(heard(standby("db2"), standby("db3")), RULES, 10).readers == ("db2", "db3")
    assert route(heard(WRITER, follower("db2", lag=None)), RULES, 10).readers == ("db1",)


def test_two_claimants_of_one_timeline_get_nothing():
    both = heard(WRITER, WRITER._replace(node="db2"), follower("db3"))
    assert route(both, RULES, 10)[0] is None
    assert "db1 and db2 both claim timeline 4" in route(both, RULES, 10).reason


def test_a_primary_alone_in_its_quorum_confirms_itself():
    assert route(heard(WRITER), Rules(("db1",)), 10).writer == "db1"
    assert route(heard(WRITER), RULES, 10).writer is None
    assert route(heard(WRITER._replace(quorum=Quorum((4, 0), ("db2", "db3")))), RULES, 10).writer == "db1"


@pytest.mark.parametrize(
    ("timeline", "elected", "fork"),
    [
        # The first is the one on which every cluster begins.
        (1, None, False),
        (1, 1, False),
        (1, 2, False),
        (2, None, True),
        (2, 1, True),
        (2, 2, False),
        (2, 3, True),
        (3, None, True),
        (3, 2, True),
        (3, 3, False),
        (3, 4, True),
    ],
)
@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "never guarded"])
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "of several"])
def test_what_a_node_wrote_on_a_timeline_that_it_was_not_elected_for_is_a_fork(timeline, elected, fork, guarded, alone):
    assert forked(timeline, elected, guarded, alone) is (fork and guarded and not alone)
