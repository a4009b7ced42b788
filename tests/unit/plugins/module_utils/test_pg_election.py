"""The rules of elections, one sentence each; every combination of what three nodes can be is in the tests named `all_states`."""

from __future__ import annotations

from itertools import product

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Ballot,
    Heard,
    NodeState,
    Promise,
    Quorum,
    Rank,
    Rules,
    Standby,
    Vote,
    elected,
    fence,
    next_timeline,
    roomier,
    stand,
    stands_before,
    vacancy,
    vote,
)

RULES = Rules(("db1", "db2", "db3"))
WHOLE = Quorum()
FRESH, SILENT = 0.3, 9.0

ROLES = {
    "writer": {"role": "primary", "writable": True, "joined": True},
    "primary": {"role": "primary", "joined": True},
    "standby": {"role": "standby", "joined": True, "rank_final": True},
}


def node(name, kind="standby", timeline=2, lsn=100, **changes):
    return NodeState(name, timeline=timeline, lsn=lsn, **{**ROLES[kind], **changes})


def heard(*states, age=FRESH):
    return {state.node: Heard(state, age) for state in states}


@pytest.mark.parametrize("ranks", list(product([(2, 100), (2, 90), (3, 50)], repeat=3)))
def test_of_standbys_that_see_each_other_exactly_one_stands_at_once_and_all_in_the_end(ranks):
    states = [node(name, timeline=timeline, lsn=lsn) for name, (timeline, lsn) in zip(RULES.nodes, ranks, strict=True)]
    others = {state.node: heard(*(one for one in states if one is not state)) for state in states}
    at_once = [state for state in states if stand(state, others[state.node], RULES, 0).now]
    assert len(at_once) == 1
    assert at_once[0].rank == max(state.rank for state in states)
    assert all(stand(state, others[state.node], RULES, 2.1).now for state in states)


def a_vote(name, timeline=4, rank=(2, 100), final=True, joined=True, granted=True, candidate="db1", quorum=WHOLE):
    promise = Promise(timeline, candidate) if granted else None
    return Vote(granted, "because", Rank(*rank), final, joined, promise, rank[0], quorum)


BALLOT = Ballot("db1", 4, Rank(2, 100))


def test_an_answer_to_another_ballot_does_not_count():
    assert not elected(BALLOT, {"db1": a_vote("db1"), "db2": a_vote("db2", timeline=3)}, RULES).won
    assert not elected(BALLOT, {"db1": a_vote("db1"), "db2": a_vote("db2", candidate="db3")}, RULES).won
    assert not elected(BALLOT, {"db1": a_vote("db1"), "stranger": a_vote("stranger")}, RULES).won


def test_the_candidates_own_vote_counts_only_once_its_own_rank_is_final():
    assert not elected(BALLOT, {"db1": a_vote("db1", final=False), "db2": a_vote("db2")}, RULES).won
    assert not elected(BALLOT, {"db2": a_vote("db2"), "db3": a_vote("db3")}, RULES).won


def test_one_node_elects_itself():
    assert elected(BALLOT, {"db1": a_vote("db1")}, Rules(("db1",))).won


def test_a_witness_gives_the_second_of_three_votes_and_two_nodes_alone_need_both():
    witness = a_vote("witness1", rank=(0, 0), joined=False)
    assert elected(BALLOT, {"db1": a_vote("db1"), "witness1": witness}, Rules(("db1", "db2"), ("witness1",))).won
    assert not elected(BALLOT, {"db1": a_vote("db1")}, Rules(("db1", "db2"))).won


def test_a_voter_that_knows_a_later_quorum_makes_the_candidate_stand_by_that_one():
    later = Quorum((7, 0), ("db3",))
    result = elected(BALLOT, {"db1": a_vote("db1"), "db2": a_vote("db2", quorum=later)}, RULES)
    assert (result.won, result.quorum) == (False, later)


def test_after_an_operator_took_the_others_out_one_is_elected_alone_above_all_they_may_have_taken():
    alone = Quorum((53, 0), ("db2", "db3"))
    me = node("db1", quorum=alone)
    standing = stand(me, {"db2": Heard(None, SILENT), "db3": Heard(None, SILENT)}, RULES, 0)
    assert (standing.now, standing.ballot.timeline, standing.ballot.quorum) == (True, 53, alone)
    assert elected(standing.ballot._replace(pre=False), {"db1": a_vote("db1", timeline=53, quorum=alone)}, RULES).won


def test_a_node_that_is_out_neither_stands_nor_gets_a_vote():
    out = Quorum((53, 0), ("db1",))
    assert "out of the quorum" in stand(node("db1", quorum=out), heard(node("db2")), RULES, 9).reason
    assert "out of the quorum" in vote(BALLOT, node("db2", quorum=out), {}, RULES).reason


def test_a_voter_stores_the_later_quorum_of_a_ballot_with_its_promise():
    later = Quorum((53, 0), ("db3",))
    assert vote(BALLOT._replace(quorum=later), node("db2"), {}, RULES).quorum == later
    assert vote(BALLOT, node("db2", quorum=later), {}, RULES).quorum == later


def test_a_primary_that_says_itself_that_it_ended_is_given_up_at_once_and_a_silent_one_after_a_while():
    me, other = node("db2"), node("db3")
    killed = node("db1", "primary")._replace(role="stopped", reason="the postmaster is gone")
    found = vacancy(me, heard(killed, other), RULES, 60)
    assert found == (True, "db1 is stopped and takes no writes: the postmaster is gone")
    silent = {**heard(node("db1", "writer"), age=2.4), **heard(other)}
    assert not vacancy(me, silent, RULES, 60).vacant
    silent["db1"] = Heard(silent["db1"].state, 2.5)
    assert "db1, then primary, has been silent for 2.5 s" in vacancy(me, silent, RULES, 60).reason


def test_a_guard_that_has_just_begun_to_listen_waits_for_the_others():
    assert not vacancy(node("db2"), heard(node("db3")), RULES, 1.0).vacant
    assert vacancy(node("db2"), heard(node("db3")), RULES, 2.5).vacant
    assert vacancy(node("db2"), heard(node("db3"), node("db1")), RULES, 1.0).vacant


def test_a_healthy_primary_that_nobody_may_follow_keeps_nobody_from_standing():
    me = node("db2", promise=Promise(3, "db3"))
    found = vacancy(me, heard(node("db1", "writer"), node("db3")), RULES, 60)
    assert found == (True, "db1 is primary of timeline 2, but db2 promised timeline 3 to db3")
    assert vote(Ballot("db3", 4, Rank(2, 100), True), me, heard(node("db1", "writer")), RULES).granted


def test_no_voter_refuses_a_candidate_for_a_position_while_it_still_receives():
    ahead = node("db2", lsn=150, streaming=True)
    ballot = Ballot("db3", 3, Rank(2, 100), True)
    assert vote(ballot, ahead, {}, RULES).granted
    assert "db2 has more than db3" in vote(ballot, ahead._replace(streaming=False), {}, RULES).reason


def test_a_node_of_another_cluster_gets_no_vote_and_fences_nobody():
    stranger = node("db1", timeline=9, system_identifier="7999")
    me = node("db2", system_identifier="7000")
    assert "another cluster" in vote(BALLOT._replace(timeline=10), me, heard(stranger), RULES).reason
    assert "no data node" in vote(BALLOT._replace(candidate="db9"), me, {}, RULES).reason
    writer = node("db2", "writer", system_identifier="7000")
    assert not fence(writer, heard(stranger, node("db3", system_identifier="7000")), RULES, 0).fence


def test_what_was_heard_before_the_promise_says_nothing_of_whether_its_candidate_can_win():
    me, behind = node("db2", promise=Promise(3, "db3"), lsn=150), node("db3", lsn=100)
    assert "promised timeline 3 to db3 0.1 s ago" in stand(me, heard(behind, age=0.4), RULES, 9, 0.1).reason
    assert stand(me, heard(behind, age=0.05), RULES, 9, 0.1).now


def test_who_promised_waits_for_its_candidate_unless_that_cannot_win():
    me = node("db2", promise=Promise(3, "db3"), lsn=100)
    others = heard(node("db3", promise=Promise(3, "db3")))
    assert "promised timeline 3 to db3 1.0 s ago" in stand(me, others, RULES, 9, 1.0).reason
    assert stand(me, others, RULES, 9, 4.0).now
    assert stand(me, others, RULES, 9).ballot.timeline == 4
    assert stand(me._replace(lsn=101), others, RULES, 9, 1.0).now
    assert stand(
        me, {**heard(*[one.state for one in others.values()], age=SILENT), **heard(node("db1"))}, RULES, 9, 1.0
    ).now


def test_a_planned_handover_is_for_its_target_alone_until_it_takes_too_long():
    leaving = node("db1", "primary", handing_over_to="db3")._replace(role="stopped")
    ahead, target = node("db2", lsn=120), node("db3")
    assert "db1 hands over to db3" in stand(ahead, heard(leaving, target), RULES, 4.9).reason
    assert stand(ahead, heard(leaving, target), RULES, 5.0).now
    standing = stand(target, heard(leaving, node("db2")), RULES, 0)
    assert (standing.now, standing.ballot.handover) == (True, True)


def test_a_primary_that_hands_over_consents_to_its_target_only():
    writer = node("db1", "writer", handing_over_to="db3")
    assert vote(Ballot("db3", 3, Rank(2, 100), True, True), node("db2"), heard(writer), RULES).granted
    assert not vote(Ballot("db2", 3, Rank(2, 100), True, True), node("db3"), heard(writer), RULES).granted
    assert vote(Ballot("db3", 3, Rank(2, 100), True, True), writer, {}, RULES).granted


def test_a_node_that_does_not_know_its_rank_does_not_stand():
    assert "how far its own WAL goes" in stand(node("db1", rank_final=False), heard(node("db2")), RULES, 9).reason


def test_what_a_refused_pre_vote_says_raises_the_timeline():
    refused = Vote(False, "promised", timeline=2, promise=Promise(8, "db3"))
    assert next_timeline(node("db1"), heard(node("db2", timeline=3)), [refused]) == 9
    assert next_timeline(node("db1", timeline=0), {}) == 2


def test_a_primary_that_opens_no_session_is_hung_and_one_that_sees_too_few_is_alone():
    writer, others = node("db1", "writer"), heard(node("db2"), node("db3"))
    assert not fence(writer, others, RULES, 2.9).fence
    assert fence(writer, others, RULES, 3.0)[:2] == (True, "hung")
    nearly = {"db2": Heard(node("db2"), 3.9), "db3": Heard(None, SILENT)}
    assert not fence(writer, nearly, RULES, 0).fence
    assert fence(writer, {**nearly, "db2": Heard(node("db2"), 4.0)}, RULES, 0)[:2] == (True, "alone")
    assert not fence(writer, {"db2": Heard(None, SILENT)}, Rules(("db1", "db2")), 0).fence
    assert fence(writer, {"db2": Heard(None, 9), "w": Heard(None, 9)}, Rules(("db1", "db2"), ("w",)), 0).kind == "alone"


def test_a_primary_that_hangs_is_fenced_when_it_promises_like_one_that_answers():
    for role in ("primary", "hung"):
        assert vote(BALLOT, node("db2")._replace(role=role), {}, RULES).fence
    for role in ("standby", "starting", "stopped", "empty"):
        assert not vote(BALLOT, node("db2")._replace(role=role), {}, RULES).fence


@pytest.mark.parametrize(
    ("mine", "others", "first"),
    [
        ((2, 101), (2, 100), True),
        ((2, 100), (2, 101), False),
        ((3, 1), (2, 900), True),
        ((2, 900), (3, 1), False),
        ((2, 100), (2, 100), True),
    ],
)
def test_of_two_that_stand_at_once_the_one_with_more_goes_first_and_among_equals_the_earlier(mine, others, first):
    assert stands_before("db1", Rank(*mine), "db2", Rank(*others), RULES) is first
    # Both come to the same conclusion.
    assert stands_before("db2", Rank(*others), "db1", Rank(*mine), RULES) is not first


FIVE = Rules(("db1", "db2", "db3", "db4", "db5"))
LATER = Quorum((7, 0), ("db3",))


@pytest.mark.parametrize(
    ("answers", "over"),
    [
        ([], False),
        ([a_vote("db2", quorum=LATER)], True),
        ([a_vote("db2", quorum=LATER, granted=False)], True),
        ([a_vote("db2", rank=(2, 101))], True),
        # It may have more in the end, and is no reason to give up before that is known.
        ([a_vote("db2", rank=(2, 101), final=False)], False),
        ([a_vote("db2", rank=(2, 101), granted=False)], False),
        ([a_vote("db2", granted=False)] * 2, False),
        ([a_vote("db2", granted=False)] * 3, True),
        ([a_vote("db2", final=False)] * 4, False),
    ],
)
def test_an_election_is_over_when_no_answer_could_win_it_any_more(answers, over):
    votes = {"db1": a_vote("db1"), **dict(zip(FIVE.nodes[1:], answers, strict=False))}
    result = elected(BALLOT, votes, FIVE)
    assert (result.won, result.over) == (False, over)


def test_an_election_that_is_won_is_not_said_to_be_over():
    result = elected(BALLOT, {"db1": a_vote("db1"), "db2": a_vote("db2")}, RULES)
    assert (result.won, result.over) == (True, False)


MIB = 2**20


def full(free=10 * MIB, streaming=("db2", "db3"), **changes):
    rows = tuple(Standby(name, "streaming", "quorum", 100) for name in streaming)
    return node("db1", "writer", disk_free_bytes=free, standbys=rows, **changes)


def roomy(name, free=900 * MIB, **changes):
    return node(name, disk_free_bytes=free, **changes)


@pytest.mark.parametrize(
    ("me", "others", "target"),
    [
        (full(), heard(roomy("db2"), roomy("db3")), "db2"),
        (full(free=48 * MIB - 1), heard(roomy("db2", 192 * MIB)), "db2"),
        (full(free=48 * MIB), heard(roomy("db2")), None),
        (full(free=None), heard(roomy("db2")), None),
        (full()._replace(role="standby"), heard(roomy("db2")), None),
        (full()._replace(writable=False), heard(roomy("db2")), None),
        # A move would help nobody, or goes to one that cannot take over.
        (full(), heard(roomy("db2", 192 * MIB - 1), roomy("db3", None)), None),
        (full(), heard(roomy("db2", 20 * MIB), roomy("db3")), "db3"),
        (full(streaming=("db3",)), heard(roomy("db2"), roomy("db3")), "db3"),
        (full(), heard(roomy("db2", role="starting"), roomy("db3")), "db3"),
        (full(quorum=Quorum((2, 1), ("db2",))), heard(roomy("db2"), roomy("db3")), "db3"),
        (full(), heard(roomy("db2"), age=2.0), None),
        (full(), {"db2": Heard(None, SILENT)}, None),
        (full(), {}, None),
    ],
)
def test_a_primary_without_room_gives_way_to_a_healthy_standby_that_has_some(me, others, target):
    assert roomier(me, others, RULES) == target
