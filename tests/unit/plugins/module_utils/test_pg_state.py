from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Ballot,
    NodeState,
    Promise,
    Quorum,
    Rank,
    Standby,
    Vote,
    ballot_from,
    promise_from,
    quorum_from,
    state_from,
    vote_from,
)

NUMBERS = st.integers(0, 2**63)
NAMES = st.sampled_from(["db1", "db2", "db3"])
PROMISES = st.none() | st.builds(Promise, NUMBERS, NAMES)
QUORUMS = st.builds(Quorum, st.tuples(NUMBERS, NUMBERS), st.sets(NAMES).map(lambda names: tuple(sorted(names))))
SECONDS = st.floats(0, 1e6)
STATES = st.builds(
    NodeState,
    node=NAMES,
    role=st.sampled_from(["primary", "standby", "starting", "stopped", "hung", "empty", "witness"]),
    writable=st.booleans(),
    timeline=NUMBERS,
    lsn=NUMBERS,
    replay_lsn=st.none() | NUMBERS,
    rank_final=st.booleans(),
    joined=st.booleans(),
    system_identifier=st.none() | st.text(),
    upstream=st.none() | NAMES,
    streaming=st.booleans(),
    promise=PROMISES,
    quorum=QUORUMS,
    history=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3).map(tuple),
    replay_lag_seconds=st.none() | SECONDS,
    sees=st.dictionaries(NAMES, st.none() | SECONDS),
    standbys=st.lists(st.builds(Standby, NAMES, st.text(), st.text(), NUMBERS), max_size=2).map(tuple),
    handing_over_to=st.none() | NAMES,
    postgresql_version=st.none() | NUMBERS,
    disk_free_bytes=st.none() | NUMBERS,
    reason=st.text(),
    since_seconds=SECONDS,
)


def over_the_wire(value):
    return json.loads(json.dumps(value.to_json()))


@given(STATES)
def test_a_state_arrives_as_it_was_sent(state):
    assert state_from(over_the_wire(state)) == state


@given(
    st.builds(
        Ballot,
        NAMES,
        st.integers(2, 2**31),
        st.builds(Rank, NUMBERS, NUMBERS),
        st.booleans(),
        st.booleans(),
        QUORUMS,
        st.none() | st.text(),
    )
)
def test_a_ballot_arrives_as_it_was_sent(ballot):
    assert ballot_from(over_the_wire(ballot)) == ballot


@given(
    st.builds(
        Vote,
        st.booleans(),
        st.text(),
        st.builds(Rank, NUMBERS, NUMBERS),
        st.booleans(),
        st.booleans(),
        PROMISES,
        NUMBERS,
        QUORUMS,
    )
)
def test_a_vote_arrives_as_it_was_sent(vote):
    assert vote_from(over_the_wire(vote)) == vote


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 2}, "format 2"),
        ({"role": "leader"}, "role is 'leader'"),
        ({"lsn": -1}, "lsn is -1"),
        ({"lsn": True}, "lsn is True"),
        ({"timeline": "3"}, "timeline is '3'"),
        ({"writable": "yes"}, "writable is 'yes'"),
        ({"node": None}, "node is None"),
        ({"promise": {"timeline": 3}}, "candidate is None"),
        ({"promise": [3, "db1"]}, "a promise is a dictionary"),
        ({"history": [[1]]}, "history is"),
        ({"history": {}}, "expected a list"),
        ({"sees": []}, None),
        ({"sees": [1]}, "sees is list"),
        ({"sees": {"db2": "old"}}, "sees is 'old'"),
        ({"quorum": {"version": [1], "out": []}}, "version is"),
        ({"standbys": [{"name": "db2"}]}, "state is None"),
        ({"of_a_later_guard": 1}, None),
    ],
)
def test_what_is_wrong_with_a_state_is_named(change, complaint):
    answer = {**over_the_wire(NodeState("db1", "standby")), **change}
    if complaint is None:
        assert state_from(answer).node == "db1"
    else:
        with pytest.raises(ValueError, match=complaint.replace("[", r"\[")):
            state_from(answer)


@pytest.mark.parametrize("take", [state_from, ballot_from, vote_from])
@pytest.mark.parametrize("value", [None, [], "text", {}, 3])
def test_what_is_no_message_is_refused(take, value):
    with pytest.raises(ValueError, match="is"):
        take(value)


def test_a_ballot_of_a_guard_that_does_not_say_whose_data_it_has_is_taken():
    known = ballot_from({"candidate": "db1", "timeline": 2, "rank": [1, 0], "quorum": None})
    assert known == Ballot("db1", 2, Rank(1, 0))


def test_the_first_timeline_cannot_be_stood_for():
    with pytest.raises(ValueError, match="the first that a promotion takes is 2"):
        ballot_from({"candidate": "db1", "timeline": 1, "rank": [1, 0]})


def test_null_is_no_promise_and_the_whole_configuration():
    assert promise_from(None) is None
    assert quorum_from(None) == Quorum()
