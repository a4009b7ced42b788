"""Every combination of three nodes' states, of who hears whom, and of who stands first: no second writer, nothing acknowledged is lost.

Where the other tests give one node every view, here the three look at each other, stand, vote and count, as their guards have them do.
"""

from __future__ import annotations

from functools import cache
from itertools import product

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Heard,
    Promise,
    Rank,
    Vote,
    elected,
    fence,
    stand,
    vacancy,
    vote,
)
from tests.unit.plugins.module_utils.pg_every_state import AN_HOUR, FOREIGN, HERE, LESS, MORE, OURS, RULES, state

ANYTHING, NOTHING = Rank(99, 0), Rank(0, 0)


def a_node(name, kind="standby", rank=HERE, promise=(5, "db1"), **changes):
    return state(name, kind, rank, promise=promise and Promise(*promise), system_identifier=OURS)._replace(**changes)


@cache
def what_one_may_be(name):
    """A node's states, as far as they make a difference to the others or to itself."""
    promised = [a_node(name, promise=(6, candidate)) for candidate in RULES.nodes]
    return (
        a_node(name, "writer", promise=(5, name)),
        a_node(name, "writer", LESS[1], promise=(4, name)),
        a_node(name, "leaving", promise=(5, name), rank_final=False),
        a_node(name),
        a_node(name, rank=LESS[0]),
        a_node(name, rank=LESS[1], promise=(4, "db1")),
        *promised,
        a_node(name, rank=MORE[0], rank_final=False),
        a_node(name, rank=MORE[0], joined=False),
        a_node(name, "empty", NOTHING, promise=None, system_identifier=None),
        a_node(name, "stopped", MORE[0]),
        a_node(name, rank=Rank(9, 1), promise=None, system_identifier=FOREIGN),
    )


def can_be(states):
    """Whether these are one cluster's: each primary was promised its timeline by a majority, which keeps its promises, and by that alone."""
    primaries = [one.timeline for one in states if one.role in ("primary", "hung")]
    promises = [one.promise.timeline if one.promise else 0 for one in states]
    return len(primaries) == len(set(primaries)) and all(
        sum(promise >= timeline for promise in promises) >= 2 for timeline in primaries
    )


@cache
def hears(name, seen):
    """What a node hears: of each other its state by its place among all, or long silence."""
    others = [one for one in RULES.nodes if one != name]
    return {
        one: Heard(None, AN_HOUR) if place is None else Heard(what_one_may_be(one)[place], 0.3)
        for one, place in zip(others, seen, strict=True)
    }


@cache
def ballot(name, place, seen, vacant_seconds):
    """The ballot that a node in this state stands with, which hears this, None where it does not stand."""
    return stands(what_one_may_be(name)[place], hears(name, seen), vacant_seconds)


def clusters():
    """Three nodes that can be one cluster's, what each has heard of the others over the links that are up, and all who stand in the end."""
    for places in product(*(range(len(what_one_may_be(name))) for name in RULES.nodes)):
        nodes = {name: what_one_may_be(name)[place] for name, place in zip(RULES.nodes, places, strict=True)}
        if not can_be(nodes.values()):
            continue
        for first, second, third in product((True, False), repeat=3):
            one, two, three = places
            seen = (
                (two if first else None, three if second else None),
                (one if first else None, three if third else None),
                (one if second else None, two if third else None),
            )
            views = list(zip(RULES.nodes, places, seen, strict=True))
            yield nodes, {name: hears(name, words) for name, _place, words in views}, views


def ballots_of(views, vacant_seconds):
    return [found for view in views if (found := ballot(*view, vacant_seconds))]


def reached(name, heard):
    return [other for other in RULES.nodes if other == name or heard[name][other].state]


def is_fenced(name, nodes, heard):
    return fence(nodes[name], heard[name], RULES, 0.0).fence


def stands(me, heard, vacant_seconds):
    if not vacancy(me, heard, RULES, AN_HOUR).vacant:
        return None
    return stand(me, heard, RULES, vacant_seconds).ballot


def would_be_heeded(ballot, nodes, heard):
    """Whether a majority of those who can be asked would vote for it, were it asked without effect."""
    asked = reached(ballot.candidate, heard)
    return sum(vote(ballot, nodes[name], heard[name], RULES).granted for name in asked) >= 2


def election(ballot, nodes, heard):
    """What all who can be asked answer to a ballot, the nodes as they are afterwards, and whether it is won."""
    votes, after = {}, dict(nodes)
    for name in reached(ballot.candidate, heard):
        me = nodes[name]
        answer = vote(ballot, me, heard[name], RULES)
        if answer.promise:
            me = me._replace(promise=answer.promise, quorum=answer.quorum)
        if answer.fence:
            me = me._replace(role="stopped", writable=False, rank_final=False)
        after[name] = me
        votes[name] = Vote(
            answer.granted, answer.reason, me.rank, me.rank_final, me.joined, me.promise, me.timeline, me.quorum
        )
    return elected(ballot, votes, RULES).won, after


def may_have(one):
    """The most that a node may have of this cluster's."""
    if not one.joined or one.system_identifier == FOREIGN:
        return NOTHING
    return one.rank if one.rank_final else ANYTHING


def one_after_the_other(ballots, nodes, heard):
    """The ballots that are won when they are asked in this order, each of voters who keep what they promised to the one before."""
    won = []
    for ballot in ballots:
        name = ballot.candidate
        if nodes[name].promise and nodes[name].promise.timeline >= ballot.timeline:
            # It has voted for another meanwhile, and stands for a later one if at all.
            ballot = stands(nodes[name], heard[name], AN_HOUR)
        if ballot is None or not would_be_heeded(ballot, nodes, heard):
            continue
        wins, nodes = election(ballot._replace(pre=False), nodes, heard)
        if wins:
            won.append(ballot)
    return won


def check_writers(nodes, heard):
    """Of two primaries the older stops, whoever it sees; and who hears one that goes on neither stands nor votes."""
    writers = sorted((one for one in nodes.values() if one.is_writer), key=lambda one: one.timeline)
    go_on = [one for one in writers if not is_fenced(one.node, nodes, heard)]
    assert go_on in ([], writers[-1:])
    for writer in go_on:
        for name in reached(writer.node, heard):
            if nodes[name].promise is None or nodes[name].promise.timeline <= writer.timeline:
                assert stands(nodes[name], heard[name], AN_HOUR) is None
                for candidate in set(reached(name, heard)) - {writer.node}:
                    ballot = stand(nodes[candidate], heard[candidate], RULES, AN_HOUR).ballot
                    assert ballot is None or not vote(ballot, nodes[name], heard[name], RULES).granted
    return len(go_on)


def check_elections(nodes, heard, ballots):
    """Whoever wins has all that two of the three may have, on a timeline that nobody else has won or written on."""
    second = sorted(map(may_have, nodes.values()))[1]
    elections = 0
    for order in (ballots, ballots[::-1])[: len(ballots)]:
        won = one_after_the_other(order, nodes, heard)
        taken = [ballot.timeline for ballot in won]
        assert len(taken) == len(set(taken))
        for ballot in won:
            assert nodes[ballot.candidate].joined
            assert nodes[ballot.candidate].rank_final
            # Its data is of the cluster that most of those who have data are of.
            whose = [nodes[name].system_identifier for name in reached(ballot.candidate, heard)]
            assert 2 * whose.count(ballot.system_identifier) > len(whose) - whose.count(None)
            assert ballot.rank >= second
            assert ballot.timeline > max(nodes[name].floor for name in reached(ballot.candidate, heard))
        elections += len(won)
    return elections


def test_whatever_three_nodes_are_one_writes_at_most_and_nobody_is_elected_without_what_was_acknowledged():
    count = writing = electing = 0
    for nodes, heard, views in clusters():
        count += 1
        writing += check_writers(nodes, heard)
        electing += check_elections(nodes, heard, ballots_of(views, AN_HOUR))
    assert (count, writing, electing) == (19600, 1872, 15480)


def test_of_those_that_may_be_elected_and_see_each_other_one_stands_at_once_and_is_elected():
    count = at_once = 0
    for nodes, heard, views in clusters():
        fit = [one for one in nodes.values() if one.role == "standby" and one.joined and one.rank_final]
        fit = [one for one in fit if one.system_identifier == OURS]
        whole = all(word.state for words in heard.values() for word in words.values())
        if (
            not whole
            or len(fit) < 2
            or any(one.is_writer or one.system_identifier == FOREIGN for one in nodes.values())
        ):
            continue
        count += 1
        # One that does not know yet how far its WAL goes has its turn first, and lets it pass.
        first = ballots_of(views, 0.0)
        assert len(first) <= 1
        at_once += len(first)
        ballots = ballots_of(views, AN_HOUR)
        assert len(ballots) == len(fit)
        assert all(one_after_the_other(order, nodes, heard) for order in (ballots, ballots[::-1])), nodes
    assert (count, at_once) == (753, 645)
