"""A voter keeps its promise before it answers; a candidate promotes only what it has won."""

from __future__ import annotations

import os
import threading
import time

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_guard_ballots
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Ballot,
    Promise,
    Quorum,
    Rank,
    Vote,
    ballot_from,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_acts import Acts
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_ballots import Ballots
from tests.unit.plugins.module_utils.pg_guard_world import (
    IDENTIFIER,
    VALUES,
    WITNESS,
    World,
    look,
    peer,
    primary_status,
    status,
)

OF_DB2 = Ballot("db2", 3, Rank(2, 100))
HAS = Rank(2, 100)
MINE = Ballot("db1", 3, Rank(2, 100), pre=True)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(_pg_guard_ballots, "_VOTE_SECONDS", 0.1)
    monkeypatch.setattr(_pg_guard_ballots, "_ELECTION_SECONDS", 0.2)
    return World(tmp_path, monkeypatch)


def ballots_of(world, **changes):
    node = world.node(**changes)
    return node, Ballots(node, Acts(node))


def test_a_promise_is_on_the_disk_before_the_receiver_stops_and_the_rank_is_measured_after_it(world):
    world.stands()
    world.observer.coming = [look(status(received_lsn=140))._replace(rank=Rank(2, 140))]
    _node, ballots = ballots_of(world)
    promised = world.each_time("upstream", lambda: world.remembered("promise"))
    answer = ballots.answer(OF_DB2)
    assert promised == [{"timeline": 3, "candidate": "db2"}]
    assert world.did == ["upstream none", *["receives nothing"] * 4, "look"]
    assert (answer.granted, answer.rank, answer.rank_final) == (True, Rank(2, 140), True)
    assert (answer.promise, answer.joined) == (Promise(3, "db2"), True)


def test_a_vote_without_a_promise_on_the_disk_is_none(world):
    world.stands()
    node, ballots = ballots_of(world)
    (world.directory / "promise.json.new").mkdir()
    with pytest.raises(OSError, match="promise"):
        ballots.answer(OF_DB2)
    assert world.did == []
    assert node.memory.promise is None
    assert not node.hand.locked()


@pytest.mark.parametrize("error", [SessionError("refused", "no"), SessionError("limit", "no answer")], ids=str)
def test_a_voter_whose_receiver_cannot_be_stopped_gives_no_answer_and_keeps_its_promise(world, error):
    world.stands()
    world.server.broken["upstream"] = error
    node, ballots = ballots_of(world)
    with pytest.raises(SessionError):
        ballots.answer(OF_DB2)
    assert node.memory.promise == Promise(3, "db2")
    assert not node.hand.locked()


def test_a_voter_whose_receiver_goes_on_gives_no_answer(world):
    world.stands()
    world.control.receiving = [True]
    _node, ballots = ballots_of(world)
    with pytest.raises(TimeoutError):
        ballots.answer(OF_DB2)


def test_a_voter_that_cannot_look_in_time_gives_no_answer(world):
    world.stands()
    world.observer.blind = True
    with pytest.raises(TimeoutError):
        ballots_of(world)[1].answer(OF_DB2)


def test_a_voter_waits_until_its_rank_is_final_while_it_has_time(world, monkeypatch):
    monkeypatch.setattr(_pg_guard_ballots, "_VOTE_SECONDS", 5.0)
    world.stands()
    world.observer.coming = [look(rank_final=False), look(rank_final=False), look()]
    answer = ballots_of(world)[1].answer(OF_DB2)
    assert answer.rank_final
    assert world.did.count("look") == 3


def test_a_rank_that_is_not_final_in_time_is_said_to_be_none(world):
    world.stands()
    world.observer.look = look(rank_final=False)
    answer = ballots_of(world)[1].answer(OF_DB2)
    assert (answer.granted, answer.rank_final) == (True, False)


def test_a_primary_that_promises_is_killed_before_it_answers_and_its_rank_is_not_final(world):
    world.leads(2)
    node, ballots = ballots_of(world)
    promised = world.each_time("kill", lambda: world.remembered("promise"))
    answer = ballots.answer(OF_DB2)
    assert promised == [{"timeline": 3, "candidate": "db2"}]
    assert world.did == ["kill"]
    assert (answer.granted, answer.rank_final) == (True, False)
    assert not node.me().writable


def counts(world):
    """Whether what is here is still data that counts, and that may be started."""
    return world.remembered("joined") == IDENTIFIER and world.data.control() is not None


def test_an_elected_primary_that_hangs_and_votes_is_killed_before_it_answers_and_its_data_counts(world):
    world.leads(2)
    world.observer.silent = 99.0
    node, ballots = ballots_of(world)
    assert node.me().role == "hung"
    promised = world.each_time("kill", lambda: world.remembered("promise"))
    answer = ballots.answer(OF_DB2)
    assert promised == [{"timeline": 3, "candidate": "db2"}]
    assert world.did == ["kill"]
    assert (answer.granted, answer.rank_final, answer.joined) == (True, False, True)
    assert counts(world)


def not_looked_at_yet(world):
    """The guard has just been started, and its server did not answer the first question."""
    world.observer.look = look(rank_final=False)._replace(status=None, rank=None)


def test_an_elected_primary_that_the_guard_has_not_looked_at_yet_is_killed_and_its_data_counts(world, monkeypatch):
    world.leads(2)
    not_looked_at_yet(world)
    world.observer.coming = [look(primary_status(2))]
    signalled = []
    monkeypatch.setattr(os, "kill", lambda *words: signalled.append(words))
    _node, ballots = ballots_of(world)
    answer = ballots.answer(OF_DB2)
    assert world.did[-2:] == ["look", "kill"]
    assert not answer.granted
    assert world.remembered("promise") == {"timeline": 3, "candidate": "db2"}
    assert counts(world)


@pytest.mark.parametrize(
    ("promise", "timeline"),
    [
        (None, 2),
        ({"timeline": 2, "candidate": "db2"}, 2),
        ({"timeline": 2, "candidate": "db1"}, 3),
        ({"timeline": 2, "candidate": "db1"}, 2),
        ({"timeline": 4, "candidate": "db2"}, 3),
    ],
)
def test_a_standby_that_somebody_promotes_just_when_it_votes_never_counts_again(world, promise, timeline):
    world.stands()
    if promise:
        world.remember("promise", promise)
    world.observer.coming = [look(primary_status(timeline), timeline)]
    before = world.each_time("kill", lambda: counts(world))
    answer = ballots_of(world)[1].answer(OF_DB2._replace(timeline=9))
    assert (answer.granted, answer.joined, before) == (False, False, [False])
    assert not counts(world)


def test_a_fork_has_no_vote_and_promises_nothing(world):
    world.leads(3, elected=False)
    _node, ballots = ballots_of(world)
    for pre in (True, False):
        answer = ballots.answer(OF_DB2._replace(timeline=9, pre=pre))
        assert not answer.granted
        assert "was not elected" in answer.reason
        assert (answer.timeline, answer.rank) == (0, Rank(0, 0))
    assert (world.did, world.remembered("promise")) == ([], None)


def test_a_server_that_is_dead_has_no_receiver_and_no_final_rank(world):
    world.stands()
    world.observer.alive = False
    answer = ballots_of(world)[1].answer(OF_DB2)
    assert world.did == []
    assert (answer.granted, answer.rank_final) == (True, False)


def test_a_primary_that_was_stopped_since_the_last_look_is_not_killed_and_promises(world):
    world.leads(2)
    world.observer.alive = False
    answer = ballots_of(world)[1].answer(OF_DB2)
    # Its unit may be starting it again at this moment, as a standby.
    assert world.did == []
    assert (answer.granted, answer.rank_final) == (True, False)


def test_a_witness_promises_and_has_nothing_to_stop(world):
    _node, ballots = ballots_of(world, **WITNESS)
    answer = ballots.answer(OF_DB2)
    assert (answer.granted, answer.joined, answer.promise) == (True, False, Promise(3, "db2"))
    assert world.remembered("promise") == {"timeline": 3, "candidate": "db2"}


def test_the_quorum_of_a_ballot_is_kept_with_its_promise(world):
    world.stands()
    answer = ballots_of(world)[1].answer(OF_DB2._replace(quorum=Quorum((2, 1), ("db3",))))
    assert world.remembered("quorum") == {"version": [2, 1], "out": ["db3"]}
    assert answer.quorum == Quorum((2, 1), ("db3",))


@pytest.mark.parametrize("promise", [{"timeline": 3, "candidate": "db3"}, {"timeline": 4, "candidate": "db2"}])
def test_a_ballot_that_is_refused_changes_nothing(world, promise):
    world.stands()
    world.remember("promise", promise)
    answer = ballots_of(world)[1].answer(OF_DB2)
    assert not answer.granted
    assert world.did == []
    assert world.remembered("promise") == promise


def test_a_ballot_that_is_asked_again_is_answered_again(world):
    world.stands()
    _node, ballots = ballots_of(world)
    assert ballots.answer(OF_DB2).granted
    assert ballots.answer(OF_DB2).granted


@pytest.mark.parametrize("held", [True, False])
def test_a_pre_vote_has_no_effect_and_waits_for_nobody(world, held):
    world.stands()
    node, ballots = ballots_of(world)
    if held:
        node.hand.acquire()
    answer = ballots.answer(OF_DB2._replace(pre=True))
    assert answer.granted
    assert world.did == []
    assert world.remembered("promise") is None


def test_while_a_promotion_is_under_way_no_vote_is_given(world):
    world.stands()
    node, ballots = ballots_of(world)
    with node.hand:
        answer = ballots.answer(OF_DB2)
    assert (answer.granted, world.remembered("promise")) == (False, None)
    assert "busy" in answer.reason


def test_of_two_candidates_at_once_one_gets_the_promise(world):
    world.stands()
    _node, ballots = ballots_of(world)
    answers = {}

    def ask(name):
        answers[name] = ballots.answer(OF_DB2._replace(candidate=name))

    askers = [threading.Thread(target=ask, args=(name,)) for name in ("db2", "db3")]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(5.0)
    assert sorted(answer.granted for answer in answers.values()) == [False, True]


def grants(rank=HAS, **changes):
    """A voter that grants whatever it is asked, with this rank."""

    def answer(body):
        ballot = ballot_from(body)
        promise = None if ballot.pre else Promise(ballot.timeline, ballot.candidate)
        return Vote(True, "yes", rank, True, True, promise, 2)._replace(**changes)

    return answer


def refuses(reason, **changes):
    return lambda _body: Vote(False, reason, Rank(2, 100), True, True, None, 2)._replace(**changes)


def promotable(world):
    world.stands()
    world.server.comes_out_on = 3
    (world.path / "pg_wal" / "00000002.history").write_text("1\t0/5000090\tno\n")


def test_a_candidate_with_a_majority_promotes_the_timeline_that_was_promised(world):
    promotable(world)
    world.peers.answers["db2"] = grants()
    node, ballots = ballots_of(world)
    elected = world.each_time("promote", lambda: world.remembered("elected"))
    ballots.stand(MINE)
    assert "promote" in world.did
    assert "kill" not in world.did
    # On the disk before the server is promoted: otherwise a power failure in between would make a fork of it.
    assert elected == [3]
    assert world.remembered("promise") == {"timeline": 3, "candidate": "db1"}
    assert world.remembered("quorum") == {"version": [3, 0], "out": []}
    assert node.reason == "elected primary of timeline 3"
    assert world.peers.asked[0][:2] == ("/vote", True)
    assert {one[1] for one in world.peers.asked} == {True, False}


def stands_as_well(world, monkeypatch, lsn):
    """Have db2 stand while db1 does, and return what db1 answered it and db1's guard, once db1 has stood."""
    monkeypatch.setattr(_pg_guard_ballots, "_VOTE_SECONDS", 5.0)
    promotable(world)
    _node, ballots = ballots_of(world)
    answers = []

    def db2(body):
        if not body["pre"]:
            # For a later timeline, so that no promise of db1 alone decides.
            answers.append(ballots.answer(Ballot("db2", 4, Rank(2, lsn))))
        return grants(Rank(2, lsn))(body)

    world.peers.answers["db2"] = db2
    ballots.stand(MINE)
    return answers[0], ballots


def test_of_two_that_stand_at_once_the_one_that_goes_first_refuses_and_is_elected(world, monkeypatch):
    answer, ballots = stands_as_well(world, monkeypatch, 100)
    assert not answer.granted
    assert answer.reason == "db1 itself stands for timeline 3, and goes first"
    assert world.remembered("promise") == {"timeline": 3, "candidate": "db1"}
    assert "promote" in world.did
    # It stands no more, and would vote for the other.
    assert ballots.answer(Ballot("db2", 5, Rank(2, 100))).granted


def test_of_two_that_stand_at_once_the_other_gives_way_and_promotes_nothing(world, monkeypatch):
    answer, _ballots = stands_as_well(world, monkeypatch, 101)
    assert (answer.granted, answer.promise) == (True, Promise(4, "db2"))
    assert world.remembered("promise") == {"timeline": 4, "candidate": "db2"}
    assert "promote" not in world.did


def test_a_candidate_that_promised_meanwhile_does_not_ask(world, monkeypatch, capsys):
    promotable(world)
    node, ballots = ballots_of(world)

    own, answer_as_voter = threading.Event(), ballots.answer

    def own_vote(ballot):
        found = answer_as_voter(ballot)
        own.set()
        return found

    def answer(body):
        assert own.wait(5.0)
        node.memory.promised(Promise(3, "db3"))
        return grants()(body)

    monkeypatch.setattr(ballots, "answer", own_vote)
    world.peers.answers["db2"] = answer
    ballots.stand(MINE)
    assert all(pre for _path, pre, _timeline in world.peers.asked)
    assert world.did == []
    assert "db1 promised timeline 3 to db3 meanwhile" in capsys.readouterr().err


FIVE = {f"db{number}": f"192.0.2.{10 + number}" for number in range(1, 6)}


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([grants(Rank(2, 101))], "db2 has more"),
        ([grants(quorum=Quorum((2, 4), ("db3",)))], "a later quorum, of version (2, 4)"),
        ([refuses(f"no, says {name}") for name in ("db2", "db3", "db4")], "db2: no, says db2, db3: no, says db3"),
    ],
    ids=["outranked", "later quorum", "refused"],
)
def test_an_election_that_cannot_be_won_any_more_ends_at_once_and_waits_for_nobody(
    world, monkeypatch, capsys, answers, why
):
    monkeypatch.setattr(_pg_guard_ballots, "_ELECTION_SECONDS", 60.0)
    monkeypatch.setattr(_pg_guard_ballots, "_VOTE_SECONDS", 5.0)
    promotable(world)
    release = threading.Event()

    def hangs(body):
        assert body["pre"] or release.wait(5.0)
        return grants()(body)

    for name in ("db2", "db3", "db4", "db5"):
        world.peers.answers[name] = hangs
    for name, real in zip(("db2", "db3", "db4"), answers, strict=False):
        world.peers.answers[name] = lambda body, real=real: grants()(body) if body["pre"] else real(body)
    timings = {**VALUES["timings"], "request_timeout_seconds": 5.0}
    began = time.monotonic()
    ballots_of(world, data_nodes=FIVE, timings=timings)[1].stand(MINE)
    assert time.monotonic() - began < 2.0
    release.set()
    assert "promote" not in world.did
    assert f"Not elected for timeline 3: {why}" in capsys.readouterr().err.replace("a voter knows ", "")


def test_what_will_not_be_enough_is_not_asked_for_and_costs_no_promise(world, capsys):
    promotable(world)
    world.peers.answers["db2"] = refuses("db1 is the healthy primary")
    _node, ballots = ballots_of(world)
    ballots.stand(MINE)
    assert world.remembered("promise") is None
    assert world.did == []
    assert all(pre for _path, pre, _timeline in world.peers.asked)
    assert "1 of 2 votes; db2: db1 is the healthy primary" in capsys.readouterr().err


@pytest.mark.parametrize(
    "answer",
    [
        grants(Rank(2, 101)),
        grants(rank_final=False),
        grants(promise=Promise(3, "db3")),
        grants(granted=False),
        lambda _body: OSError("timed out"),
    ],
    ids=["has more", "not final", "of another", "refused", "silent"],
)
def test_without_votes_that_count_nobody_is_promoted(world, answer):
    promotable(world)
    world.peers.answers["db2"] = lambda body: grants()(body) if body["pre"] else answer(body)
    _node, ballots = ballots_of(world)
    ballots.stand(MINE)
    assert "promote" not in world.did
    assert "synchronous" not in " ".join(world.did)


def test_a_candidate_that_is_outranked_leaves_it_at_that(world, capsys):
    promotable(world)
    world.peers.answers["db2"] = lambda body: grants()(body) if body["pre"] else grants(Rank(2, 101))(body)
    # The third's answer would have the candidate ask again.
    world.peers.answers["db3"] = lambda body: grants(rank_final=body["pre"])(body)
    ballots_of(world)[1].stand(MINE)
    assert "promote" not in world.did
    assert sum(not pre for _path, pre, _timeline in world.peers.asked) <= 2
    assert "db2 has more: 0/65 of timeline 2" in capsys.readouterr().err


def test_a_voter_whose_rank_is_not_final_is_asked_again(world):
    promotable(world)
    finals = [False, True]

    def answer(body):
        return grants()(body) if body["pre"] else grants(rank_final=finals.pop(0) if finals else True)(body)

    world.peers.answers["db2"] = answer
    ballots_of(world)[1].stand(MINE)
    assert "promote" in world.did


def test_what_was_won_too_late_is_not_taken(world, monkeypatch, capsys):
    promotable(world)
    node, ballots = ballots_of(world)
    own, answer_as_voter = threading.Event(), ballots.answer

    def own_vote(ballot):
        found = answer_as_voter(ballot)
        if not ballot.pre:
            node.memory.promised(Promise(4, "db3"))
            own.set()
        return found

    def late(body):
        # Between this node's own vote and the count it has promised a later timeline to another.
        assert body["pre"] or own.wait(5.0)
        return grants()(body)

    monkeypatch.setattr(ballots, "answer", own_vote)
    world.peers.answers["db2"] = late
    ballots.stand(MINE)
    assert "promote" not in world.did
    assert world.remembered("elected") is None
    assert "too late" in capsys.readouterr().err


def test_what_was_won_and_cannot_be_written_down_is_not_promoted(world):
    promotable(world)
    world.peers.answers["db2"] = grants()
    _node, ballots = ballots_of(world)
    (world.directory / "elected.json.new").mkdir()
    with pytest.raises(OSError, match="elected"):
        ballots.stand(MINE)
    assert "promote" not in world.did
    assert world.remembered("elected") is None


def test_a_timeline_that_a_refusal_told_of_is_stood_above_next_time(world):
    promotable(world)
    world.peers.answers["db2"] = refuses("promised", promise=Promise(7, "db3"), timeline=2)
    _node, ballots = ballots_of(world)
    ballots.stand(MINE)
    ballots.stand(MINE)
    assert {timeline for _path, _pre, timeline in world.peers.asked} == {3, 8}


def test_a_later_quorum_that_a_voter_knows_is_kept_and_the_election_is_not_won_by_the_older(world):
    promotable(world)
    later = Quorum((2, 4), ("db3",))
    world.peers.answers["db2"] = grants(quorum=later)
    ballots_of(world)[1].stand(MINE)
    assert "promote" not in world.did
    assert world.remembered("quorum") == {"version": [2, 4], "out": ["db3"]}


def test_this_nodes_own_vote_is_given_by_the_same_steps(world):
    promotable(world)
    world.peers.answers["db2"] = grants()
    world.server.broken["upstream"] = SessionError("refused", "no")
    ballots_of(world)[1].stand(MINE)
    assert "promote" not in world.did


def test_the_only_node_elects_itself(world):
    promotable(world)
    ballots_of(world, data_nodes={"db1": "192.0.2.11"})[1].stand(MINE)
    assert "promote" in world.did
    assert "synchronous " in world.did


def test_an_answer_that_is_no_vote_counts_as_none(world):
    promotable(world)

    class Nonsense:
        def to_json(self):
            return {"granted": "yes"}

    world.peers.answers["db2"] = lambda _body: Nonsense()
    ballots_of(world)[1].stand(MINE)
    assert world.did == []


def test_a_stranger_is_no_candidate(world):
    world.stands()
    world.peers.say(peer("db2", system_identifier="9"))
    assert not ballots_of(world)[1].answer(OF_DB2).granted
