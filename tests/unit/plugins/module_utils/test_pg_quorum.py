from __future__ import annotations

from itertools import combinations, product

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Heard,
    InForce,
    NodeState,
    Promise,
    Quorum,
    Rules,
    Standby,
    change_quorum,
    degraded,
    newest_quorum,
    other_writer,
    sizes,
    synchronous_names,
)

THREE = Rules(("db1", "db2", "db3"))
WITNESSED = Rules(("db1", "db2"), ("witness1",))
FIVE = Rules(("db1", "db2", "db3", "db4", "db5"))


def several(names, least):
    return [set(chosen) for count in range(least, len(names) + 1) for chosen in combinations(names, count)]


@pytest.mark.parametrize(
    ("data", "witnesses", "votes", "data_votes", "synchronous", "seen"),
    [
        (1, 0, 1, 1, 0, 1),
        (2, 0, 2, 1, 1, 1),
        (2, 1, 2, 1, 1, 2),
        (3, 0, 2, 2, 1, 2),
        (4, 0, 3, 2, 2, 2),
        (5, 0, 3, 3, 2, 3),
    ],
)
def test_the_table_of_sizes(data, witnesses, votes, data_votes, synchronous, seen):
    found = sizes(data, witnesses, False)
    assert (found.votes_needed, found.data_votes_needed, found.synchronous, found.seen_needed) == (
        votes,
        data_votes,
        synchronous,
        seen,
    )


@pytest.mark.parametrize("data", range(1, 8))
@pytest.mark.parametrize("witnesses", range(4))
def test_every_election_meets_every_commit_and_every_other_election(data, witnesses):
    found = sizes(data, witnesses, False)
    nodes = [f"db{number}" for number in range(data)]
    voters = nodes + [f"witness{number}" for number in range(witnesses)]
    elections = [
        chosen for chosen in several(voters, found.votes_needed) if len(chosen & set(nodes)) >= found.data_votes_needed
    ]
    # The primary itself and the standbys that confirm.
    commits = [chosen for chosen in several(nodes, 1) if len(chosen) == found.synchronous + 1]
    assert elections
    assert commits
    assert all(election & commit for election in elections for commit in commits)
    assert all(one & other for one in elections for other in elections)


@pytest.mark.parametrize("data", range(1, 7))
@pytest.mark.parametrize("witnesses", range(3))
def test_a_primary_that_sees_enough_voters_leaves_too_few_for_another(data, witnesses):
    found = sizes(data, witnesses, False)
    assert found.voters - (found.seen_needed - 1) >= found.votes_needed
    assert found.voters - found.seen_needed < found.votes_needed


@pytest.mark.parametrize(
    ("data", "witnesses", "automatic"), [(1, 0, True), (2, 0, False), (2, 1, True), (3, 0, True), (4, 0, True)]
)
def test_automatic_failover_is_given_where_the_loss_of_one_leaves_a_majority(data, witnesses, automatic):
    assert sizes(data, witnesses, False).automatic is automatic
    if not automatic:
        with pytest.raises(ValueError, match="add a witness or a third data node"):
            sizes(data, witnesses, True)
    else:
        assert sizes(data, witnesses, True).automatic


@pytest.mark.parametrize(("data", "witnesses"), [(0, 1), (0, 3), (3, -1)])
def test_what_is_no_cluster_is_refused(data, witnesses):
    with pytest.raises(ValueError, match="are no cluster"):
        sizes(data, witnesses, False)


def test_all_members_are_named_as_synchronous_the_same_on_every_node():
    assert synchronous_names(THREE, Quorum()) == 'ANY 1 ("db1", "db2", "db3")'
    assert synchronous_names(THREE, Quorum((9, 0), ("db3",))) == 'ANY 1 ("db1", "db2")'
    assert synchronous_names(THREE, Quorum((9, 0), ("db1", "db3"))) == ""
    assert synchronous_names(Rules(tuple("abcde")), Quorum()).startswith("ANY 2 (")


def primary(quorum, flushed=None, **changes):
    standbys = tuple(Standby(name, "streaming", "quorum", lsn) for name, lsn in (flushed or {}).items())
    return NodeState(
        "db2", "primary", writable=True, timeline=5, lsn=100, joined=True, quorum=quorum, standbys=standbys, **changes
    )


def standby(name, quorum, **changes):
    return Heard(NodeState(name, "standby", timeline=5, lsn=100, joined=True, quorum=quorum, **changes), 0.3)


ALONE = Quorum((5, 0), ("db1", "db3"))


def test_a_node_that_came_back_votes_only_after_commits_wait_for_it_and_it_has_all_others():
    me, heard = primary(ALONE, {"db1": 100}), {"db1": standby("db1", ALONE)}
    first = change_quorum(me, heard, THREE, None)
    assert (first.synchronous, first.quorum) == ('ANY 1 ("db1", "db2")', None)
    assert change_quorum(me, heard, THREE, InForce(first.synchronous, 101)).quorum is None
    assert change_quorum(me, heard, THREE, InForce("", 100)).quorum is None
    last = change_quorum(me, heard, THREE, InForce(first.synchronous, 100))
    assert (last.synchronous, last.quorum) == ('ANY 1 ("db1", "db2")', Quorum((5, 1), ("db3",)))


def test_a_node_that_does_not_know_that_it_was_out_does_not_come_back_yet():
    me, heard = primary(ALONE, {"db1": 100}), {"db1": standby("db1", Quorum())}
    assert change_quorum(me, heard, THREE, InForce('ANY 1 ("db1", "db2")', 100)).quorum is None


def test_a_quorum_that_most_do_not_know_is_not_changed_and_commits_wait_as_before():
    both = Quorum((5, 1), ("db3",))
    me, heard = primary(both, {"db1": 100, "db3": 100}), {"db1": standby("db1", ALONE), "db3": standby("db3", both)}
    assert change_quorum(me, heard, THREE, None)[:2] == (None, None)
    heard["db1"] = standby("db1", both)
    assert change_quorum(me, heard, THREE, None).synchronous == 'ANY 1 ("db1", "db2", "db3")'


def test_a_primary_goes_on_alone_only_when_asked_to_and_with_a_witness_that_knows():
    whole = Quorum((5, 0), ())
    witness = Heard(NodeState("witness1", "witness", quorum=whole), 0.3)
    heard = {"db1": Heard(standby("db1", whole).state, 6.0), "witness1": witness}
    assert change_quorum(primary(whole), heard, WITNESSED, None).quorum is None
    change = change_quorum(primary(whole), heard, WITNESSED, None, alone_continues=True)
    assert (change.synchronous, change.quorum) == (None, Quorum((5, 1), ("db1",)))
    waiting = change_quorum(primary(change.quorum), heard, WITNESSED, None, alone_continues=True)
    assert waiting.synchronous is None
    heard["witness1"] = Heard(witness.state._replace(quorum=change.quorum), 0.3)
    assert change_quorum(primary(change.quorum), heard, WITNESSED, None, alone_continues=True).synchronous == ""


def test_nothing_changes_on_a_node_that_is_no_primary_of_its_quorums_timeline():
    assert change_quorum(primary(Quorum((4, 0), ("db1",))), {}, THREE, None)[:2] == (None, None)
    assert change_quorum(primary(ALONE)._replace(writable=False), {}, THREE, None)[:2] == (None, None)


def test_the_newest_quorum_that_was_heard_of_holds():
    assert newest_quorum(primary(Quorum()), {"db1": standby("db1", ALONE), "db3": Heard(None, 9)}) == ALONE


def test_an_operator_takes_silent_nodes_out_far_above_all_timelines_that_were_heard_of():
    me = NodeState("db2", "standby", timeline=5, joined=True, rank_final=True)
    heard = {"db1": Heard(standby("db1", Quorum()).state._replace(timeline=7), 90.0)}
    assert degraded(me, heard, THREE, ["db3", "db1"]) == Quorum((57, 0), ("db1", "db3"))
    assert degraded(primary(Quorum((5, 3))), heard, THREE, ["db1"]) == Quorum((5, 4), ("db1",))


@pytest.mark.parametrize(
    ("changes", "out", "complaint"),
    [
        ({}, ["db2"], "it is this node"),
        ({}, ["db9"], "none of the cluster"),
        ({}, ["db1"], "power it off"),
        ({"joined": False}, ["db3"], "no data that counts"),
        ({"role": "stopped"}, ["db3"], "it is stopped"),
    ],
)
def test_what_an_operator_may_not_do(changes, out, complaint):
    me = NodeState("db2", "standby", timeline=5, joined=True, rank_final=True)._replace(**changes)
    with pytest.raises(ValueError, match=complaint):
        degraded(me, {"db1": standby("db1", Quorum())}, THREE, out)


ROLES = ("primary", "standby", "starting", "stopped", "hung", "empty")
FRESH, STALE, SETTLED = 1.9, 7.9, 8.0
# What another node may have said, and how long ago: of each role, a primary with and without writes, of an earlier, the same and a later timeline.
WORDS = [
    Heard(None, STALE),
    Heard(None, SETTLED),
    *(
        Heard(
            NodeState(
                "?", role, writable=writable, timeline=timeline, joined=role != "empty", quorum=Quorum((timeline, 0))
            ),
            age,
        )
        for role in ROLES
        for writable in ((True, False) if role == "primary" else (False,))
        for timeline in (4, 5, 6)
        for age in (FRESH, STALE, SETTLED)
    ),
]
ASKED = [
    NodeState("db2", "standby", timeline=5, joined=True, rank_final=True),
    NodeState("db2", "standby", timeline=5, joined=True, rank_final=True, promise=Promise(6, "db1")),
    NodeState("db2", "primary", writable=True, timeline=5, joined=True, rank_final=True, quorum=Quorum((5, 2))),
    NodeState("db2", "primary", timeline=5, joined=True, quorum=Quorum((5, 2))),
    NodeState("db2", "starting", timeline=5, joined=True),
    NodeState("db2", "empty"),
]


def said(name, word):
    return word._replace(state=word.state and word.state._replace(node=name))


def every_view():
    """All that db2 may be, and may have heard of the two others."""
    for me, first, last in product(ASKED, WORDS, WORDS):
        yield me, {"db1": said("db1", first), "db3": said("db3", last)}


def tried(me, heard, out, rules=THREE):
    """The quorum, or why not."""
    try:
        return degraded(me, heard, rules, out), ""
    except ValueError as error:
        return None, str(error)


def writes_now(one):
    return bool(
        one.state and one.state.role == "primary" and one.state.writable and one.age_seconds < THREE.fresh_seconds
    )


def is_heard(one):
    return bool(one.state and one.age_seconds < THREE.fresh_seconds)


@pytest.mark.parametrize("out", [["db1"], ["db3"], ["db1", "db3"]], ids="-".join)
def test_whatever_is_heard_no_node_takes_others_out_where_another_is_primary(out):
    count = 0
    for me, heard in every_view():
        quorum, why = tried(me, heard, out)
        others = [name for name, one in heard.items() if writes_now(one)]
        if not others:
            continue
        count += 1
        assert quorum is None
        if not set(others) & set(out):
            # One that lives and is to be taken out is refused for that.
            assert me.is_writer or why.endswith(f"and alone may change its quorum: ask on {others[0]}")
            assert not me.is_writer or "is a primary too" in why
    assert count


@pytest.mark.parametrize("out", [["db1"], ["db3"], ["db1", "db3"]], ids="-".join)
def test_a_primary_takes_out_who_was_silent_for_long_enough_by_one_decision_more(out):
    count = 0
    for me, heard in every_view():
        if not me.is_writer or any(writes_now(one) for one in heard.values()):
            continue
        quorum, why = tried(me, heard, out)
        assert (quorum is not None) == all(heard[name].age_seconds >= SETTLED for name in out), why
        assert quorum in (None, Quorum((5, 3), tuple(out)))
        count += quorum is not None
    assert count


@pytest.mark.parametrize("out", [["db1"], ["db3"], ["db1", "db3"]], ids="-".join)
def test_a_standby_takes_out_whom_only_where_nobody_can_be_primary_without_it(out):
    """Of each other it knows that it is silent for long and named, or that it is no primary now and cannot be elected."""
    count = 0
    for me, heard in every_view():
        if me.is_writer:
            continue
        quorum, why = tried(me, heard, out)
        fit = me.role == "standby" and me.joined and me.rank_final
        named = all(heard[name].age_seconds >= SETTLED for name in out)
        left = [heard[name] for name in heard if name not in out]
        # Of three, two with data elect one of themselves: an empty one helps nobody to become primary.
        harmless = all(is_heard(one) and one.state.role == "empty" for one in left)
        assert (quorum is not None) == (fit and named and harmless), why
        if quorum is None:
            continue
        count += 1
        floors = [me.floor, *(one.state.floor for one in heard.values() if one.state)]
        assert quorum == Quorum((max(floors) + 50, 0), tuple(out))
    assert count


@pytest.mark.parametrize("timeline", [4, 5, 6])
@pytest.mark.parametrize("age", [0.0, FRESH, 2.0, STALE, SETTLED, 90.0])
@pytest.mark.parametrize("known", [True, False])
def test_whoever_of_those_that_are_left_is_asked_a_primary_can_still_let_the_others_back(timeline, age, known):
    """db1 is primary, db3 has no power, and db2 may know it late or not at all. Once it decided for db1, for good."""
    whole = Quorum((timeline, 0))
    leads = NodeState("db1", "primary", writable=True, timeline=timeline, joined=True, quorum=whole)
    me = NodeState("db2", "standby", timeline=timeline, joined=True, rank_final=True, quorum=whole)
    silent = {"db3": Heard(None, 90.0)}
    by_db2, why = tried(me, {"db1": Heard(leads if known else None, age), **silent}, ["db3"])
    assert by_db2 is None
    assert "ask on db1" in why
    by_db1 = degraded(leads, {"db2": Heard(me, age), **silent}, THREE, ["db3"])
    back = NodeState("db3", "standby", timeline=timeline, joined=True, quorum=by_db1)
    leads = leads._replace(quorum=by_db1, standbys=(Standby("db3", "streaming", "async", 100),))
    heard = {"db2": Heard(me._replace(quorum=by_db1), 0.1), "db3": Heard(back, 0.1)}
    change = change_quorum(leads, heard, THREE, InForce('ANY 1 ("db1", "db2", "db3")', 100))
    assert change.quorum is not None, change.reason


STANDBY = NodeState("db2", "standby", timeline=5, joined=True, rank_final=True)


def test_a_node_that_is_out_and_is_to_go_on_is_in_again():
    """The operator accepted what it lacks; a quorum of nobody could elect nobody."""
    silent = {name: Heard(None, 90.0) for name in ("db1", "db3")}
    out = STANDBY._replace(quorum=Quorum((5, 1), ("db2",)))
    assert degraded(out, silent, THREE, ["db1", "db3"]) == Quorum((55, 0), ("db1", "db3"))


def test_two_of_three_that_can_elect_by_themselves_are_left_to_it():
    """One of them may have been elected since it was heard, and a primary could not change what the other decided."""
    heard = {"db1": Heard(STANDBY._replace(node="db1", rank_final=False), 0.1), "db3": Heard(None, 90.0)}
    assert "db1, db2 are enough to elect a primary" in tried(STANDBY, heard, ["db3"])[1]
    by_hand = THREE._replace(automatic=False)
    assert "switch automatic failover on, and ask there" in tried(STANDBY, heard, ["db3"], by_hand)[1]
    witness = NodeState("witness1", "witness")
    heard = {"db1": Heard(None, 90.0), "witness1": Heard(witness, 0.1)}
    assert "db2, witness1 are enough to elect a primary" in tried(STANDBY, heard, ["db1"], WITNESSED)[1]
    heard["witness1"] = Heard(witness, 90.0)
    out = ["db1", "witness1"]
    assert tried(STANDBY, heard, out, WITNESSED) == (Quorum((55, 0), ("db1", "witness1")), "")


@pytest.mark.parametrize("role", ["primary", "hung"])
def test_a_node_that_may_take_writes_in_a_moment_is_waited_for(role):
    heard = {name: Heard(None, 90.0) for name in ("db3", "db4", "db5")}
    heard["db1"] = Heard(STANDBY._replace(node="db1", role=role), 0.1)
    why = tried(STANDBY, heard, ["db3", "db4", "db5"], FIVE)[1]
    assert why == f"db1 is {role} and may take writes in a moment: ask again when it does, or is a standby"


def test_what_speaks_against_a_node_without_power_is_said_by_whom():
    silent = {"db1": Heard(STANDBY._replace(node="db1"), 90.0), "db3": Heard(None, 90.0)}
    out = ["db1", "db3"]
    assert tried(STANDBY, silent, out)[0]
    assert "db2 streams from db1" in tried(STANDBY._replace(upstream="db1", streaming=True), silent, out)[1]
    assert tried(STANDBY._replace(upstream="db1", streaming=False), silent, out)[0]
    just_begun = {**silent, "db3": Heard(None, 3.0)}
    assert "db2 has listened to db3 for 3.0 s only" in tried(STANDBY, just_begun, out)[1]


@pytest.mark.parametrize(
    ("age", "seen", "refused"), [(0.5, 7.4, True), (0.5, 7.5, False), (2.0, 0.1, False), (0.5, None, False)]
)
@pytest.mark.parametrize("me", [STANDBY, primary(Quorum((5, 0)))], ids=["standby", "primary"])
def test_a_node_that_is_cut_off_from_this_one_alone_is_not_powered_off(me, age, seen, refused):
    out = ["db1", "db4", "db5"]
    heard = {name: Heard(None, 90.0) for name in out}
    heard["db3"] = Heard(STANDBY._replace(node="db3", sees={"db1": seen, "db4": 90.0}), age)
    quorum, why = tried(me, heard, out, FIVE)
    assert (f"db3 heard db1 {age + (seen or 0):.1f} s ago: power it off" in why) == refused, why
    # One that is heard no more is no witness, and may itself be primary.
    assert (quorum is None) == (refused or (age >= FIVE.fresh_seconds and not me.is_writer)), why


def test_a_node_that_streams_from_one_says_that_it_lives():
    out = ["db1", "db4", "db5"]
    heard = {name: Heard(None, 90.0) for name in out}
    heard["db3"] = Heard(STANDBY._replace(node="db3", upstream="db1", streaming=True), 0.1)
    assert "db3 streams from db1: power it off" in tried(STANDBY, heard, out, FIVE)[1]


def test_of_two_that_claim_to_write_the_later_is_named():
    later = Heard(primary(Quorum())._replace(node="db3", timeline=6), 0.5)
    earlier = Heard(primary(Quorum())._replace(node="db1"), 0.5)
    assert other_writer(NodeState("db2", "standby"), {"db1": earlier, "db3": later}, THREE) == "db3"
    assert other_writer(NodeState("db3", "standby"), {"db1": earlier, "db3": later}, THREE) == "db1"
    assert other_writer(NodeState("db2", "standby"), {"db1": earlier._replace(age_seconds=2.0)}, THREE) is None


OFF = ["db3", "db4", "db5"]


def test_of_two_that_are_left_the_one_asked_second_adds_nothing_to_what_the_first_decided():
    """It may have voted by then: with a later version the first would be primary with a quorum that it did not decide."""
    first = NodeState("db1", "standby", timeline=5, joined=True, rank_final=True)
    silent = {name: Heard(None, 90.0) for name in OFF}
    decided = degraded(first, {"db2": Heard(first._replace(node="db2"), 0.1), **silent}, FIVE, OFF)
    assert decided == Quorum((55, 0), tuple(OFF))
    for promise in (None, Promise(55, "db1"), Promise(56, "db1")):
        second = first._replace(node="db2", promise=promise, quorum=decided)
        heard = {"db1": Heard(first._replace(quorum=decided, promise=promise), 0.1), **silent}
        assert degraded(second, heard, FIVE, OFF) == decided
        assert degraded(second._replace(quorum=Quorum()), heard, FIVE, OFF) == decided


def test_one_more_that_is_to_be_taken_out_is_decided_far_above_what_was_decided_before():
    me = NodeState("db1", "standby", timeline=55, joined=True, rank_final=True, quorum=Quorum((55, 0), tuple(OFF)))
    assert degraded(me, {}, FIVE, ["db2"]) == Quorum((105, 0), ("db2", *OFF))
