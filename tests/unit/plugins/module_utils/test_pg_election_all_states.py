"""Every view that one of three nodes, or of two with a witness, can have of the others: is there a primary, do I stand, must I stop.

Each test goes through a whole product and says how many combinations that is: one that loses a value says so too. What is right is written down
here once more, in other words than in the rules.
"""

from __future__ import annotations

import random
from itertools import cycle, product

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Ballot,
    Heard,
    Promise,
    Quorum,
    Rank,
    Vote,
    fence,
    joins,
    next_timeline,
    stand,
    vacancy,
)
from tests.unit.plugins.module_utils.pg_every_state import (
    AN_HOUR,
    FOREIGN,
    KINDS,
    LESS,
    MORE,
    OURS,
    RANKS,
    RULES,
    TIMELINE,
    UNHEARD,
    WITNESSED,
    in_quorum,
    just_below,
    latest,
    said,
    state,
    views,
)

# Is there a primary?


def speakers(name):
    """What may have been heard of a node, where who writes, on which timeline, and when that was said make a difference."""
    writing = [state(name, "writer", Rank(timeline, 100)) for timeline in (4, 5, 6)]
    others = [state(name, kind, Rank(timeline, 100)) for kind, timeline in product(KINDS, (4, 6)) if kind != "writer"]
    # Nobody says this; a role alone is what makes a primary.
    others.append(state(name, "standby", Rank(6, 100), writable=True))
    return [*UNHEARD, *said(writing, (just_below(2.5), 2.5)), *said(others, (0.3,))]


def primaries(me, heard, rules, within_seconds):
    """The data nodes that said within this time that they write, on a timeline that this node has not promised to leave behind."""
    return {
        name: word.state.timeline
        for name, word in heard.items()
        if name in rules.nodes and word.state and word.age_seconds < within_seconds
        if word.state.is_writer and (me.promise is None or word.state.timeline >= me.promise.timeline)
    }


def check_vacancy(me, heard, rules, running_seconds):
    found = vacancy(me, heard, rules, running_seconds)
    there = primaries(me, heard, rules, 2.5)
    silent = [name for name in rules.nodes if name != me.node and (name not in heard or heard[name].state is None)]
    mute = bool(silent) and running_seconds < 2.5
    assert found.vacant is not (me.is_writer or bool(there) or mute), (me, heard, found)
    assert found.reason
    if there and not me.is_writer:
        newest = max(there.values())
        assert any(found.reason.startswith(f"{name} is the primary of timeline {newest}") for name in there)
    return found.vacant


def test_there_is_no_vacancy_while_a_primary_that_may_be_followed_was_heard_or_might_yet_be():
    count = vacant = 0
    promises = (None, *(Promise(timeline, "db3") for timeline in (4, 5, 6)))
    mine = [
        state("db2", kind, promise=promise) for kind, promise in product(("writer", "leaving", "standby"), promises)
    ]
    for rules, other in ((RULES, "db3"), (WITNESSED, "witness1")):
        for heard in views(("db1", speakers("db1")), (other, speakers(other))):
            for me, running_seconds in product(mine, (just_below(2.5), 2.5)):
                count += 1
                vacant += check_vacancy(me, heard, rules, running_seconds)
    assert (count, vacant) == (2 * 24 * 24 * 12 * 2, 14384)


def test_whatever_a_node_is_itself_only_one_that_writes_keeps_the_vacancy_from_being_seen():
    count = 0
    for kind, first, last in product(KINDS, ("leaving", "stopped", "standby", "empty"), ("standby", "hung")):
        heard = {name: Heard(state(name, one), 0.3) for name, one in (("db1", first), ("db3", last))}
        count += 1
        assert check_vacancy(state("db2", kind), heard, RULES, 60) is (kind != "writer")
    assert count == 8 * 4 * 2


# Must this primary stop?


def witnesses_of_the_end(name):
    """What may have been heard of a node, where its timeline, its promise, its cluster and the time of its last word make a difference."""
    what = product((5, 6), (None, 5, 6), (None, OURS, FOREIGN))
    # What it is makes none: each of these is in turn something else.
    told = [
        state(name, kind, Rank(timeline, 100), promise=promised and Promise(promised, "db3"), system_identifier=whose)
        for (timeline, promised, whose), kind in zip(what, cycle(KINDS), strict=False)
    ]
    return [None, *(Heard(None, age) for age in (just_below(4.0), 4.0)), *said(told, (just_below(4.0), 4.0))]


def kind_of_fence(me, heard, rules, probe_seconds):
    """Why it must stop, empty where it need not; "alone" is where those who have not been heard of would be a majority."""
    if me.role != "primary":
        return ""
    known = [me] + [word.state for name, word in heard.items() if word.state and name in rules.nodes + rules.witnesses]
    ours = [
        one for one in known if None in (one.system_identifier, me.system_identifier) or one.system_identifier == OURS
    ]
    if any(max(one.timeline, one.promise.timeline if one.promise else 0) > me.timeline for one in ours):
        return "superseded"
    if probe_seconds >= 3.0:
        return "hung"
    voters, _members = in_quorum(rules, me.quorum)
    unseen = [name for name in voters if name != me.node and (name not in heard or heard[name].age_seconds >= 4.0)]
    return "alone" if 2 * len(unseen) > len(voters) else ""


def check_fence(me, heard, rules, probe_seconds):
    found = fence(me, heard, rules, probe_seconds)
    kind = kind_of_fence(me, heard, rules, probe_seconds)
    assert (found.fence, found.kind) == (bool(kind), kind), (me, heard, found)
    assert found.reason
    return kind


def test_a_primary_stops_when_a_later_timeline_is_known_when_it_hangs_and_when_the_unseen_are_a_majority():
    promises = (None, Promise(TIMELINE, "db2"), Promise(6, "db3"))
    counts = {"": 0, "superseded": 0, "hung": 0, "alone": 0}
    for rules, other in ((RULES, "db3"), (WITNESSED, "witness1")):
        outs = ((), ("db1",), (other,), ("db1", other), ("db2",))
        mine = [
            state("db2", "writer", promise=promise, quorum=Quorum((5, 0), out), system_identifier=identifier)
            for promise, out, identifier in product(promises, outs, (None, OURS))
        ]
        for heard in views(("db1", witnesses_of_the_end("db1")), (other, witnesses_of_the_end(other))):
            for me in mine:
                counts[check_fence(me, heard, rules, 0.0)] += 1
            for probe_seconds in (just_below(3.0), 3.0):
                counts[check_fence(mine[0], heard, rules, probe_seconds)] += 1
    assert sum(counts.values()) == 2 * 39 * 39 * (3 * 5 * 2 + 2)
    assert counts == {"": 13738, "superseded": 81364, "hung": 450, "alone": 1792}


def test_only_a_server_that_is_out_of_recovery_is_fenced():
    counts = {"": 0, "superseded": 0, "hung": 0, "alone": 0}
    for heard in views(("db1", witnesses_of_the_end("db1")), ("db3", witnesses_of_the_end("db3"))):
        for kind in KINDS:
            counts[check_fence(state("db2", kind), heard, RULES, 3.0)] += 1
    assert sum(counts.values()) == 39 * 39 * 8
    assert counts == {"": 9126, "superseded": 2592, "hung": 450, "alone": 0}


# Does this node stand?


def freshly(heard):
    return {name: word.state for name, word in heard.items() if word.state and word.age_seconds < 2.0}


def newest(me, heard):
    return latest(me.quorum, *(word.state.quorum for word in heard.values() if word.state))


def may_be_elected(me, heard, rules):
    """Whether it has data to its known end, is a member, and sees a majority."""
    voters, members = in_quorum(rules, newest(me, heard))
    seen = [name for name in voters if name == me.node or name in freshly(heard)]
    return me.node in members and me.role == "standby" and me.joined and me.rank_final and 2 * len(seen) > len(voters)


def leaves_it_to_another(me, heard, vacant_seconds, promised_seconds):
    """Whether somebody hands over to another, or it promised its vote to one that may still be elected with it."""
    fresh, promise = freshly(heard), me.promise
    if vacant_seconds < 5.0 and any(one.handing_over_to not in (None, me.node) for one in fresh.values()):
        return True
    if promise is None or promise.candidate == me.node or promised_seconds is None or promised_seconds >= 4.0:
        return False
    candidate = fresh.get(promise.candidate)
    if candidate is None:
        return False
    heard_since = heard[promise.candidate].age_seconds < promised_seconds
    has_less = (candidate.timeline, candidate.lsn) < (me.timeline, me.lsn)
    return not (heard_since and has_less and candidate.timeline < promise.timeline)


def how_many_go_first(me, heard, rules):
    _voters, members = in_quorum(rules, newest(me, heard))
    fresh = freshly(heard)
    if any(one.handing_over_to == me.node for one in fresh.values()):
        return 0
    others = [one for name, one in fresh.items() if name in members and one.role == "standby" and one.joined]
    mine = (-me.timeline, -me.lsn, rules.nodes.index(me.node))
    return sum((-one.timeline, -one.lsn, rules.nodes.index(one.node)) < mine for one in others)


def check_stand(me, heard, rules, vacant_seconds, promised_seconds):
    found = stand(me, heard, rules, vacant_seconds, promised_seconds)
    now = (
        may_be_elected(me, heard, rules)
        and not leaves_it_to_another(me, heard, vacant_seconds, promised_seconds)
        and vacant_seconds >= how_many_go_first(me, heard, rules)
    )
    told = (me, heard, vacant_seconds, promised_seconds, found)
    assert found.now is now, told
    assert found.reason
    assert now or found.ballot is None
    if now:
        handed = any(one.handing_over_to == me.node for one in freshly(heard).values())
        quorum = newest(me, heard)
        asked = Ballot("db2", found.ballot.timeline, me.rank, True, handed, quorum, me.system_identifier)
        assert found.ballot == asked, told
        known = [me, *(word.state for word in heard.values() if word.state)]
        assert found.ballot.timeline > max(one.floor for one in known)
        assert found.ballot.timeline >= quorum.version[0]
    return now


def knowers(name):
    """What may be heard of a voter, where its quorum and the time of its word make a difference."""
    told = [state(name, rank=LESS[0])]
    told += [state(name, rank=LESS[0], quorum=Quorum((60, 0), out)) for out in ((), ("db1",), ("db2",), ("db1", name))]
    return [*UNHEARD, *said(told, (just_below(2.0), 2.0))]


def test_only_a_standby_with_data_to_its_known_end_stands_and_only_as_a_member_that_sees_a_majority():
    count = stands = 0
    for rules, other in ((RULES, "db3"), (WITNESSED, "witness1")):
        mine = [
            state("db2", kind, joined=joined, rank_final=final, quorum=Quorum((5, 0), out), system_identifier=OURS)
            for kind, joined, final, out in product(
                KINDS, (True, False), (True, False), ((), ("db1",), ("db2",), ("db1", other))
            )
        ]
        for me, heard in product(mine, list(views(("db1", knowers("db1")), (other, knowers(other))))):
            count += 1
            stands += check_stand(me, heard, rules, AN_HOUR, None)
    assert (count, stands) == (2 * 8 * 4 * 4 * 13 * 13, 550)


def rivals(name):
    """What may be heard of another that has data, where its role, what it has, whom it hands over to and the time of its word make a difference."""
    what = [("standby", rank, True) for rank in RANKS]
    what += [("standby", MORE[0], False), *((kind, MORE[0], True) for kind in KINDS if kind != "standby")]
    told = [
        state(name, kind, rank, joined=joined, handing_over_to=target)
        for (kind, rank, joined), target in product(what, (None, "db2", "db3"))
    ]
    too_old = [one for one in told if one.role == "standby" and one.rank == MORE[0]]
    return [*UNHEARD[:2], *said(told, (just_below(2.0),)), *said(too_old, (2.0,))]


def test_a_node_waits_a_second_for_each_that_goes_first_and_five_for_one_that_is_handed_over_to():
    count = stands = 0
    me = state("db2")
    for heard in views(("db1", rivals("db1")), ("db3", rivals("db3"))):
        for vacant_seconds in (0.0, just_below(1.0), 1.0, just_below(2.0), 2.0, just_below(5.0), 5.0):
            count += 1
            stands += check_stand(me, heard, RULES, vacant_seconds, None)
    assert (count, stands) == (47 * 47 * 7, 8487)


def candidates(name):
    """What may be heard of one that was promised timeline 6, where what it has and whether that was said since then make a difference."""
    told = [state(name, rank=rank) for rank in (*RANKS, Rank(6, 900), Rank(7, 1))]
    return [*UNHEARD[:2], *said(told, (0.3, just_below(2.0), 2.0))]


def test_who_has_promised_its_vote_waits_four_seconds_for_a_candidate_that_may_still_win():
    count = stands = 0
    promises = [None, *(Promise(6, name) for name in ("db1", "db2", "db3", "witness1")), Promise(5, "db3")]
    since = (None, 0.3, 0.301, 1.999, just_below(4.0), 4.0)
    for heard in views(("db1", candidates("db1")), ("db3", candidates("db3"))):
        for promise, promised_seconds in product(promises, since):
            count += 1
            stands += check_stand(state("db2", promise=promise), heard, RULES, AN_HOUR, promised_seconds)
    assert (count, stands) == (23 * 23 * 6 * 6, 12724)


def claims(name):
    """What may be heard of a node, where the numbers that it has taken, promised or learned of make a difference."""
    told = [
        state(name, rank=Rank(timeline, 1), promise=promised and Promise(promised, "db3"), quorum=Quorum((version, 0)))
        for timeline, promised, version in product((0, 5, 8), (None, 6, 9), (0, 7, 60))
    ]
    return [*UNHEARD[:2], *said(told, (AN_HOUR,)), *said(told[-1:], (0.3,))]


def test_the_timeline_that_is_stood_for_is_above_every_number_that_was_ever_heard_of():
    count = 0
    refusals = [[]] + [
        [Vote(False, "no", promise=promised and Promise(promised, "db3"), timeline=timeline)]
        for timeline, promised in ((0, None), (70, None), (3, 70))
    ]
    mine = [
        state("db2", rank=Rank(timeline, 1), promise=promised and Promise(promised, "db3"), quorum=Quorum((version, 0)))
        for timeline, promised, version in product((0, 5), (None, 7), (0, 50))
    ]
    for heard in views(("db1", claims("db1")), ("db3", claims("db3"))):
        states = [word.state for word in heard.values() if word.state]
        for me, votes in product(mine, refusals):
            known = (me, *states, *votes)
            taken = [max(one.timeline, one.promise.timeline if one.promise else 0) for one in known]
            version = max(one.quorum.version[0] for one in (me, *states))
            count += 1
            assert next_timeline(me, heard, votes) == max(max(taken) + 1, version, 2)
    assert count == 30 * 30 * 8 * 4


# Does what it has count?


def owners(name):
    """What may have been heard of a node, where whose data it has and whether that counts make a difference, whenever it was said."""
    told = [
        state(name, kind, joined=joined, system_identifier=whose)
        for kind, joined, whose in product(("standby", "stopped"), (True, False), (None, OURS, FOREIGN))
    ]
    return [*UNHEARD[:2], *said(told, (AN_HOUR,)), *said(told[:3], (0.3,))]


def test_data_counts_once_it_is_known_to_its_end_and_is_of_one_cluster_with_what_counts_already():
    count = joined = 0
    for rules, other in ((RULES, "db3"), (WITNESSED, "witness1")):
        for heard in views(("db1", owners("db1")), (other, owners(other))):
            count_already = [
                word.state.system_identifier
                for name, word in heard.items()
                if name in rules.nodes and word.state and word.state.joined
            ]
            for kind, counts, final, whose in product(KINDS, (True, False), (True, False), (None, OURS)):
                me = state("db2", kind, joined=counts, rank_final=final, system_identifier=whose)
                found = joins(me, heard, rules)
                ours = OURS in count_already or FOREIGN not in count_already
                count += 1
                joined += found
                assert found is (
                    kind in ("writer", "leaving", "standby") and final and not counts and whose == OURS and ours
                )
    assert (count, joined) == (2 * 17 * 17 * 8 * 8, 1356)


def test_draws_of_everything_at_once_find_no_other_rule_for_standing():
    """The products above each leave something as it is; this varies all of it together, with the same draws in each run."""
    draw = random.Random(20260101)
    words = {name: [*knowers(name), *rivals(name), *candidates(name), *claims(name)] for name in ("db1", "db3")}
    stands = 0
    for _number in range(20000):
        heard = {name: word for name, choice in words.items() if (word := draw.choice(choice)) is not None}
        me = state(
            "db2",
            "standby" if draw.random() < 0.9 else draw.choice(list(KINDS)),
            joined=draw.random() < 0.9,
            rank_final=draw.random() < 0.9,
            promise=draw.choice([None, *(Promise(6, name) for name in RULES.nodes)]),
            quorum=draw.choice([Quorum(), Quorum((6, 0), ("db1",)), Quorum((6, 0), ("db3",))]),
        )
        vacant_seconds, promised_seconds = (
            draw.choice((0.0, 1.0, 2.0, 4.0, 5.0)),
            draw.choice((None, 0.3, 1.0, 3.0, 4.0)),
        )
        stands += check_stand(me, heard, RULES, vacant_seconds, promised_seconds)
    assert stands == 5671
