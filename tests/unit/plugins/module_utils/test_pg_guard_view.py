"""What a guard says of its own node, and what it keeps of the others."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_guard_view as view
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import NodeState, Promise, Quorum, Rank
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import Control
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_local import Look
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_promise import Memory
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_view import (
    Peers,
    Situation,
    describe,
    role_of,
    significant,
    upstream_in,
)
from tests.unit.plugins.module_utils.pg_guard_world import IDENTIFIER, config, look, peer, primary_status, status

LIVES = Situation(lives=True)


@pytest.fixture
def memory(tmp_path):
    return Memory(str(tmp_path))


@pytest.mark.parametrize(
    ("seen", "situation", "role"),
    [
        (Look(), LIVES, "starting"),
        (look(control=None), LIVES, "empty"),
        (look(), Situation(lives=False), "stopped"),
        (look(), Situation(lives=True, hung=True), "hung"),
        (look(primary_status()), Situation(lives=True, hung=True), "hung"),
        (look()._replace(status=None), LIVES, "starting"),
        (look(), LIVES, "standby"),
        (look(primary_status()), LIVES, "primary"),
        (look(primary_status()), Situation(lives=False, hung=True), "stopped"),
    ],
)
def test_the_role_in_one_word(seen, situation, role):
    assert role_of(seen, situation) == role


def said(memory, seen, situation=LIVES):
    return describe("db1", seen, memory, situation, {})


def test_a_primary_that_was_elected_claims_its_timeline_and_takes_writes(memory):
    memory.promised(Promise(2, "db1"))
    memory.won(2)
    me = said(memory, look(primary_status(2)))
    assert (me.role, me.writable, me.rank) == ("primary", True, Rank(2, 100))
    assert [one.name for one in me.standbys] == ["db2", "db3"]


@pytest.mark.parametrize(
    ("promise", "elected"),
    [
        (None, None),
        (Promise(2, "db2"), None),
        (Promise(3, "db1"), None),
        (Promise(1, "db1"), None),
        # A promise to itself is not yet a majority, and one to another since then ends what it was elected for.
        (Promise(2, "db1"), None),
        (Promise(2, "db1"), 1),
        (Promise(2, "db1"), 3),
        (Promise(2, "db2"), 2),
        (Promise(3, "db2"), 2),
        (Promise(3, "db1"), 2),
        (None, 2),
    ],
    ids=str,
)
def test_a_primary_that_nobody_elected_claims_no_timeline_and_takes_no_writes(memory, promise, elected):
    if promise:
        memory.promised(promise)
    if elected:
        memory.won(elected)
    me = said(memory, look(primary_status(2)))
    assert (me.role, me.writable, me.timeline, me.lsn) == ("primary", False, 0, 0)


@pytest.mark.parametrize(
    "situation", [Situation(lives=True, fenced=True), Situation(lives=True, hung=True), Situation(lives=False)]
)
def test_one_that_is_fenced_hangs_or_is_dead_takes_no_writes(memory, situation):
    memory.promised(Promise(2, "db1"))
    memory.won(2)
    assert said(memory, look(primary_status(2))).writable
    assert not said(memory, look(primary_status(2)), situation).writable


def test_a_primary_that_has_written_its_last_and_waits_for_a_receiver_takes_no_writes(memory):
    memory.promised(Promise(2, "db1"))
    memory.won(2)
    me = said(memory, look(primary_status(2), control=Control(IDENTIFIER, True, None)))
    assert (me.role, me.writable) == ("primary", False)


def test_a_fork_claims_no_timeline_also_while_it_hangs_and_an_elected_primary_does(memory):
    memory.has_joined(IDENTIFIER)
    hangs = Situation(lives=True, hung=True)
    me = said(memory, look(primary_status(3), 3), hangs)
    assert (me.role, me.timeline, me.lsn) == ("hung", 0, 0)
    memory.promised(Promise(3, "db1"))
    assert said(memory, look(primary_status(3), 3), hangs).rank == Rank(0, 0)
    memory.won(3)
    assert said(memory, look(primary_status(3), 3), hangs).rank == Rank(3, 100)


@pytest.mark.parametrize(
    ("situation", "final"),
    [(LIVES, True), (Situation(lives=False), False), (Situation(lives=True, hung=True), False)],
)
def test_the_rank_of_a_server_that_does_not_serve_is_not_final(memory, situation, final):
    assert said(memory, look(), situation).rank_final is final


def test_a_standby_says_whom_it_streams_from(memory):
    memory.has_joined(IDENTIFIER)
    found = status(conninfo="user='replicator' host='db2' port='5432'", receiver_status="streaming")
    me = said(memory, look(found))
    assert (me.upstream, me.streaming, me.joined) == ("db2", True, True)
    waiting = said(memory, look(found._replace(receiver_status="waiting")))
    assert (waiting.upstream, waiting.streaming) == ("db2", False)
    # What came from a receiver that was told to stop is nobody's any more.
    assert not said(memory, look(found._replace(conninfo=""))).streaming


def test_a_copy_that_is_not_whole_says_up_to_where_it_must_come(memory):
    seen = Look(at=1.0, control=Control(IDENTIFIER, False, Rank(3, 500)), pid=1)
    me = said(memory, seen)
    assert (me.role, me.rank, me.rank_final, me.joined) == ("starting", Rank(3, 500), False, False)
    memory.has_joined(IDENTIFIER)
    assert said(memory, seen).rank == Rank(0, 0)


def test_what_is_remembered_is_said(memory):
    memory.promised(Promise(4, "db3"))
    memory.learned(Quorum((4, 1), ("db2",)))
    me = said(memory, look(), Situation(lives=True, handing_over_to="db2", reason="because"))
    assert (me.promise, me.quorum) == (Promise(4, "db3"), Quorum((4, 1), ("db2",)))
    assert (me.handing_over_to, me.reason, me.system_identifier) == ("db2", "because", IDENTIFIER)


@pytest.mark.parametrize(
    ("conninfo", "host"),
    [
        ("host='db2' hostaddr='192.0.2.12'", "db2"),
        ("user=replicator host=db2", "db2"),
        ("hostaddr='192.0.2.12'", None),
        ("", None),
    ],
)
def test_the_upstream_is_the_host_that_the_conninfo_names(conninfo, host):
    assert upstream_in(conninfo) == host


def test_what_decides_is_told_at_once_and_positions_and_ages_are_not():
    me = peer("db1")
    silent = {"lsn": 999, "replay_lsn": 9, "replay_lag_seconds": 3.0, "sees": {"db2": 1.0}, "since_seconds": 9.0}
    assert significant(me._replace(**silent, reason="another")) == significant(me)
    for name, value in {
        "role": "primary",
        "writable": True,
        "timeline": 3,
        "joined": False,
        "rank_final": False,
        "upstream": "db2",
        "streaming": True,
        "promise": Promise(3, "db2"),
        "quorum": Quorum((3, 1)),
        "handing_over_to": "db2",
    }.items():
        assert significant(me._replace(**{name: value})) != significant(me), name


class Script:
    """A peer that gives prepared answers, then none for ever."""

    def __init__(self, name, *answers):
        self.name, self.answers, self.waits = name, list(answers), []
        self.done = threading.Event()

    def state(self, wait_seconds=0.0):
        self.waits.append(wait_seconds)
        if not self.answers:
            self.done.set()
            threading.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def polled(monkeypatch, *answers):
    """The peers after db2 gave these answers, how often a change was told, and how long each question waited."""
    told, script = [], Script("db2", *answers)
    monkeypatch.setattr(view.time, "sleep", lambda _seconds: None)
    peers = Peers(config(data_nodes={"db1": "192.0.2.11", "db2": "192.0.2.12"}), lambda: told.append(1))
    monkeypatch.setattr(peers, "peer", lambda _name: script)
    peers.start()
    assert script.done.wait(5.0)
    return peers, len(told), script.waits


def test_one_that_never_answered_is_silent_since_the_guard_listens(monkeypatch):
    peers, told, _waits = polled(monkeypatch, OSError("refused"))
    [(name, one)] = peers.heard().items()
    assert (name, one.state, told) == ("db2", None, 0)
    assert 0 <= one.age_seconds < 5
    assert peers.sees() == {"db2": None}


def test_a_change_is_told_once_and_the_next_question_waits_for_one(monkeypatch):
    first, later = peer("db2").to_json(), peer("db2", lsn=200).to_json()
    peers, told, waits = polled(monkeypatch, first, later, peer("db2", timeline=3).to_json())
    assert told == 2
    assert waits == [0.0, 0.4, 0.4, 0.4]
    assert peers.heard()["db2"].state.timeline == 3


def test_what_was_heard_stays_with_its_age_when_a_peer_falls_silent_and_the_next_question_does_not_wait(monkeypatch):
    peers, _told, waits = polled(monkeypatch, peer("db2").to_json(), OSError("timed out"))
    assert peers.heard()["db2"].state == peer("db2")
    assert waits == [0.0, 0.4, 0.0]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        peer("db3").to_json(),
        {**peer("db2").to_json(), "format": 2},
        {**peer("db2").to_json(), "since_seconds": 10**400},
        OverflowError("int too large to convert to float"),
    ],
    ids=["nothing", "another", "another format", "a number too large", "overflow"],
)
def test_an_answer_that_is_no_state_of_this_peer_is_none(monkeypatch, answer):
    peers, told, _waits = polled(monkeypatch, answer)
    assert (peers.heard()["db2"].state, told) == (None, 0)


def test_a_state_goes_over_the_wire_as_it_was_said(memory):
    memory.promised(Promise(2, "db1"))
    me = said(memory, look(primary_status(2)))
    assert view.state_from(me.to_json()) == me
    assert isinstance(me, NodeState)
