"""Every vote that three nodes, or two and a witness, can be asked for, and every election that their votes can make.

Each test goes through a whole product and says how many combinations that is: one that loses a value says so too. What is right is written down
here once more, in other words than in the rules: as sets of nodes, where those count.
"""

from __future__ import annotations

from itertools import combinations, product

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Ballot,
    Promise,
    Quorum,
    Rank,
    Vote,
    elected,
    vote,
)
from tests.unit.plugins.module_utils.pg_every_state import (
    AN_HOUR,
    FOREIGN,
    HERE,
    KINDS,
    LESS,
    MORE,
    OURS,
    RANKS,
    RULES,
    UNHEARD,
    WITNESSED,
    in_quorum,
    just_below,
    latest,
    quorums,
    said,
    state,
    views,
)

# A vote: what is promised, and what is refused.


def of_another_cluster(ballot, me, heard):
    word = heard.get(ballot.candidate)
    theirs = {ballot.system_identifier, word.state.system_identifier if word and word.state else None} - {None}
    return me.system_identifier is not None and bool(theirs - {me.system_identifier})


def may_promise(ballot, me, heard, rules):
    """Whether a vote breaks nothing that was said or learned before."""
    _voters, members = in_quorum(rules, latest(me.quorum, ballot.quorum))
    kept = me.promise is None or ballot.timeline > me.promise.timeline or me.promise == ballot[1::-1]
    return (
        ballot.candidate in members
        and ballot.timeline > me.timeline
        and kept
        and not of_another_cluster(ballot, me, heard)
    )


def is_no_use(ballot, me, heard, rules):
    """Whether a pre-vote spares the cluster an election: there is a primary, or the candidate would lose by what this node has."""
    floor = me.promise.timeline if me.promise else 0
    primaries = [me] if me.is_writer else []
    primaries = primaries or [
        word.state
        for name, word in heard.items()
        if name in rules.nodes and name != ballot.candidate
        if word.state and word.state.is_writer and word.state.timeline >= floor and word.age_seconds < 2.0
    ]
    has_more = me.joined and me.rank_final and not me.streaming and (me.timeline, me.lsn) > tuple(ballot.rank)
    return any(one.handing_over_to != ballot.candidate for one in primaries) or has_more


def check_vote(ballot, me, heard, rules):
    answer = vote(ballot, me, heard, rules)
    granted = may_promise(ballot, me, heard, rules) and not (ballot.pre and is_no_use(ballot, me, heard, rules))
    expected = (None, me.quorum, False)
    if granted and not ballot.pre:
        promise, known = (ballot.timeline, ballot.candidate), latest(me.quorum, ballot.quorum)
        expected = (promise, known, me.role in ("primary", "hung"))
    assert (answer.granted, *answer[2:]) == (granted, *expected), (ballot, me, heard, answer.reason)
    assert answer.reason
    return granted


PROMISES = (None, *(Promise(*one) for one in product((5, 6, 7), ("db1", "db2", "db3"))))


def test_a_vote_breaks_no_promise_and_is_given_for_a_later_timeline_to_a_member_only():
    mine, theirs = quorums((), ("db1",), ("db3",), ("db2",))[4:8], quorums((), ("db1",), ("db3",), ("db2",))
    asked = [
        Ballot(candidate, timeline, HERE, pre, quorum=quorum)
        for candidate, timeline, pre, quorum in product(
            ("db1", "db2", "db3", "db9"), (4, 5, 6, 7), (True, False), theirs
        )
    ]
    count = given = 0
    for promise, quorum, kind in product(PROMISES, mine, KINDS):
        me = state("db2", kind, promise=promise, quorum=quorum)
        for ballot in asked:
            # A version is one decision.
            if ballot.quorum.version == quorum.version and ballot.quorum != quorum:
                continue
            count += 1
            given += check_vote(ballot, me, {}, RULES)
    assert count == 10 * 4 * 8 * 4 * 4 * 2 * 9
    assert count > given > count / 10


def test_a_voter_that_has_data_votes_for_nobody_with_data_of_another_cluster():
    """Also where it has heard nothing of the candidate yet, or an hour ago, when that was another."""
    heard_of = [*UNHEARD, *said([state("db1", system_identifier=one) for one in (None, OURS, FOREIGN)], (0.3, AN_HOUR))]
    count = given = 0
    for identifier, kind, known, word, pre in product(
        (None, OURS), KINDS, (None, OURS, FOREIGN), heard_of, (True, False)
    ):
        me = state("db2", kind, system_identifier=identifier)
        ballot = Ballot("db1", 6, HERE, pre, system_identifier=known)
        heard = {} if word is None else {"db1": word}
        count += 1
        granted = check_vote(ballot, me, heard, RULES)
        given += granted
        if identifier and (known == FOREIGN or (word and word.state and word.state.system_identifier == FOREIGN)):
            assert not granted
    assert count == 2 * 8 * 3 * 9 * 2
    assert count > given > count / 10


def primaries(name):
    """What may be heard of a node, for which only a fresh primary that takes writes counts, and whom it hands over to."""
    told = [
        state(name, "writer", Rank(timeline, 100), handing_over_to=target)
        for timeline, target in product((4, 5, 6), (None, "db1", "db3"))
    ]
    others = [state(name, kind, MORE[1]) for kind in KINDS if kind != "writer"]
    # Nobody says this; a role alone is what makes a primary.
    others.append(state(name, "standby", MORE[1], writable=True))
    return [*UNHEARD, *said(told, (just_below(2.0), 2.0)), *said(others, (0.3,))]


def test_nobody_is_voted_for_beforehand_while_a_primary_is_heard_that_does_not_hand_over_to_it():
    kept = (None, Promise(5, "db1"), Promise(6, "db3"))
    mine = [
        state("db2", kind, promise=promise, handing_over_to=target)
        for kind, promise, target in product(KINDS, kept, (None, "db1", "db3"))
    ]
    count = given = 0
    ballot = Ballot("db1", 7, MORE[1], True)
    for heard in views(("db1", primaries("db1")), ("db3", primaries("db3"))):
        for me in mine:
            count += 1
            granted = check_vote(ballot, me, heard, RULES)
            given += granted
    assert count == 29 * 29 * 8 * 3 * 3
    assert count > given > count / 10


def test_a_witness_that_says_it_is_a_primary_is_none():
    count = 0
    for heard in views(("db1", primaries("db1")), ("witness1", primaries("witness1"))):
        count += 1
        assert check_vote(Ballot("db1", 7, MORE[1], True), state("db2"), heard, WITNESSED)
    assert count == 29 * 29


def test_nobody_is_voted_for_beforehand_by_one_that_is_known_to_have_more():
    leading = [state("db3", "writer", Rank(6, 100), handing_over_to=target) for target in (None, "db1")]
    words = [None, *said(leading, (just_below(2.0), 2.0))]
    count = given = 0
    for kind, promise, rank, word in product(KINDS, (None, Promise(6, "db1")), RANKS, words):
        for joined, final, streaming, pre in product((True, False), repeat=4):
            me = state("db2", kind, rank, joined=joined, rank_final=final, streaming=streaming, promise=promise)
            count += 1
            given += check_vote(Ballot("db1", 7, HERE, pre), me, {"db3": word} if word else {}, RULES)
    assert count == 8 * 2 * 5 * 5 * 16
    assert count > given > count / 10


# An election: what votes make of a candidate.

BALLOT = Ballot("db2", 6, HERE)
WANTED = Promise(6, "db2")
# A promise that is none for this ballot: to another, of other timelines, or none at all.
WRONG = (None, Promise(6, "db1"), Promise(5, "db2"), Promise(7, "db2"))
LATER = Quorum((5, 1), ("db3",))


def a_vote(rank=HERE, final=True, joined=True, granted=True, promise=WANTED, quorum=BALLOT.quorum):
    return Vote(granted, "because", rank, final, joined, promise, rank.timeline, quorum)


def answers():
    """Everything that one voter can answer, None where it does not. Of one without data that counts no rank says anything."""
    counting = [a_vote(rank, final) for rank, final in product(RANKS, (True, False))]
    counting += [a_vote(rank, final, joined=False) for rank, final in product((HERE, MORE[1]), (True, False))]
    in_vain = [a_vote(MORE[0], promise=promise) for promise in WRONG]
    in_vain += [a_vote(rank, granted=False, promise=promise) for rank in (HERE, MORE[0]) for promise in (WANTED, None)]
    known = (BALLOT.quorum, LATER)
    return [None, *(one._replace(quorum=quorum) for one in [*counting, *in_vain] for quorum in known)]


def those_who_count(ballot, votes, rules):
    """Who has promised this ballot's timeline to its candidate, and knows what it has, where it has anything."""
    voters, _members = in_quorum(rules, ballot.quorum)
    return {
        name
        for name, one in votes.items()
        if name in voters and one.granted and one.promise == (ballot.timeline, ballot.candidate)
        if name in rules.witnesses or not one.joined or one.rank_final
    }


def may_have_been_acknowledged(members):
    """Every set of nodes of which all have a commit, where one is the primary and as many standbys as it waits for have confirmed."""
    return [set(holders) for holders in combinations(members, len(members) // 2 + 1)]


def should_win(ballot, votes, rules):
    """Promised by a majority; nobody of it has more; and of all who may have an acknowledged commit it met one. Else every member answered."""
    voters, members = in_quorum(rules, ballot.quorum)
    count = those_who_count(ballot, votes, rules)
    data = {name for name in count if votes[name].joined}
    if ballot.candidate not in data or 2 * len(count) <= len(voters):
        return False
    own = votes[ballot.candidate].rank
    return (
        all(tuple(votes[name].rank) <= tuple(own) for name in data)
        and all(one.quorum.version <= ballot.quorum.version for one in votes.values())
        and (count >= set(members) or all(data & holders for holders in may_have_been_acknowledged(members)))
    )


def check_election(ballot, votes, rules):
    result = elected(ballot, votes, rules)
    assert result.won is should_win(ballot, votes, rules), (votes, result.reason)
    assert result.reason
    if result.outranked_by:
        more = {name: votes[name].rank for name in those_who_count(ballot, votes, rules) if votes[name].joined}
        assert more[result.outranked_by] == max(more.values()) > more[ballot.candidate]
    if result.won:
        assert result[2:] == (Quorum((ballot.timeline, 0), ballot.quorum.out), None, False)
    return result


def elections(ballot, rules, *choices):
    """What comes of each combination of answers, by their places in the choices."""
    names = rules.nodes + rules.witnesses
    found = {}
    for places in product(*(range(len(choice)) for choice in choices)):
        given = {
            name: choice[place]
            for name, choice, place in zip(names, choices, places, strict=True)
            if choice[place] is not None
        }
        found[places] = check_election(ballot, given, rules)
    return found


def check_what_is_over(found, *choices):
    """What is over cannot be won by who has not answered yet, and names one that has more only where one has."""
    over = 0
    for places, result in found.items():
        if not result.over:
            continue
        over += 1
        missing = [number for number, place in enumerate(places) if choices[number][place] is None]
        for number in missing:
            for place in range(len(choices[number])):
                assert not found[(*places[:number], place, *places[number + 1 :])].won
    return over


def few_answers():
    """One voter's answers without what differs only for those who may be elected."""
    return [
        None,
        a_vote(),
        a_vote(MORE[1]),
        a_vote(MORE[1], final=False),
        a_vote(MORE[1], joined=False),
        a_vote(promise=None),
        a_vote(granted=False),
        a_vote(granted=False, quorum=LATER),
        a_vote(quorum=LATER),
    ]


def test_three_nodes_elect_nobody_who_may_lack_an_acknowledged_commit():
    choices = [answers()] * 3
    found = elections(BALLOT, RULES, *choices)
    assert len(found) == 45**3
    assert (sum(result.won for result in found.values()), check_what_is_over(found, *choices)) == (675, 18115)


def test_two_nodes_and_a_witness_elect_nobody_who_may_lack_an_acknowledged_commit():
    choices = [answers(), answers(), few_answers()]
    found = elections(BALLOT, WITNESSED, *choices)
    assert len(found) == 45 * 45 * 9
    assert (sum(result.won for result in found.values()), check_what_is_over(found, *choices)) == (322, 3538)


def test_who_is_out_of_the_quorum_elects_nobody_and_is_met_by_nobody():
    count = won = 0
    for out in (("db3",), ("db1", "db3"), ("db2",)):
        ballot = BALLOT._replace(quorum=Quorum((5, 0), out))
        few = (*out, *(RULES.nodes if "db2" in out else ()))
        choices = [few_answers() if name in few else answers() for name in RULES.nodes]
        found = elections(ballot, RULES, *choices)
        winners = sum(result.won for result in found.values())
        assert winners == 0 or "db2" not in out
        count, won = count + len(found), won + winners
    assert (count, won) == (45 * 45 * 9 + 45 * 9 * 9 + 9**3, 490)


# Votes and elections together: two that ask the same voters.


def answered(name, start, ballots, rules):
    """What a voter with this promise has answered in the end to each ballot, asked in this order: it keeps what it says."""
    me = state(name, "witness" if name in rules.witnesses else "standby", promise=start)
    said_to = {}
    for ballot in ballots:
        found = vote(ballot, me, {}, rules)
        me = me._replace(promise=found.promise or me.promise)
        said_to[ballot.candidate] = found.granted
        assert not found.granted or me.promise == (ballot.timeline, ballot.candidate)
    return said_to.get("db1"), said_to.get("db2")


# What a voter has when it answers: less, as much, more, more than it knows, or nothing that counts.
HAS = [*(a_vote(rank) for rank in (LESS[0], HERE, MORE[1])), a_vote(final=False), a_vote(MORE[1], joined=False)]


def at_least(one):
    """What a node may have: of one that does not know, anything."""
    if not one.joined:
        return Rank(0, 0)
    return one.rank if one.rank_final else Rank(9, 0)


def ways(name, mine, theirs, rules):
    """Every pair of answers that one voter can have given to two ballots, whatever it promised before and in which order they came."""
    orders = [(), (mine,), (theirs,), (mine, theirs), (theirs, mine), (mine, theirs, mine), (theirs, mine, theirs)]
    return sorted({answered(name, start, order, rules) for start, order in product(PROMISES, orders)}, key=repr)


def outcome(ballot, rules):
    """Whether a ballot wins with these answers, each with what the voter has; each is counted once."""
    known = {}

    def won(words, has):
        if (words, has) not in known:
            votes = {
                name: HAS[number]._replace(granted=word, promise=Promise(ballot.timeline, ballot.candidate))
                for name, word, number in zip(rules.nodes + rules.witnesses, words, has, strict=True)
                if word is not None
            }
            known[words, has] = elected(ballot, votes, rules).won
        return known[words, has]

    return won


def contests(rules, timeline):
    """Who of two wins, over all that three voters may have promised, may have, and may answer: db1 stands for 6, db2 for this timeline."""
    mine, theirs = Ballot("db1", 6, HERE), Ballot("db2", timeline, HERE)
    won_mine, won_theirs = outcome(mine, rules), outcome(theirs, rules)
    names = rules.nodes + rules.witnesses
    has = [(4,) if name in rules.witnesses else tuple(range(len(HAS))) for name in names]
    for pairs, places in product(product(*(ways(name, mine, theirs, rules) for name in names)), product(*has)):
        first, second = zip(*pairs, strict=True)
        yield won_mine(first, places), won_theirs(second, places), places


def test_whatever_was_promised_and_in_whichever_order_two_ask_no_timeline_is_given_twice_and_nothing_is_lost():
    counts = []
    for rules, timeline in product((RULES, WITNESSED), (6, 7)):
        count = [0, 0, 0, 0]
        for mine, theirs, places in contests(rules, timeline):
            count[2 * mine + theirs] += 1
            assert not (mine and theirs and timeline == 6)
            # A commit is acknowledged by two of the data nodes, so the second most of them has it.
            most = sorted((at_least(HAS[place]) for place in places[: len(rules.nodes)]), reverse=True)
            assert not mine or HAS[places[0]].rank >= most[1]
            assert not theirs or HAS[places[1]].rank >= most[1]
        counts.append(count)
    assert [sum(count) for count in counts] == [8**3 * 5**3] * 2 + [8**3 * 5**2] * 2
    # Neither wins, db2 does, db1 does, and, of two timelines, first the one and then the other.
    assert counts == [
        [60464, 1768, 1768, 0],
        [58631, 3601, 1562, 206],
        [11456, 672, 672, 0],
        [10808, 1320, 588, 84],
    ]
