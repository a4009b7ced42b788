# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who becomes primary and who ceases to be: votes, candidates, elections and fences, as pure functions.

The timeline is the term of the Raft protocol, the position on it the length of the log. Why the rules are safe is in
docs/postgresql-guard-rules.md. `heard` is what the other nodes last said; the node that decides is always passed apart, as `me`.
"""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_quorum import Rules, newest_quorum
from ansible_collections.escala.ha.plugins.module_utils._pg_state import Ballot, Heard, NodeState, Promise, Quorum, Vote
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import Rank

Heards = t.Mapping[str, Heard]


class Answer(t.NamedTuple):
    """What a voter does with a ballot.

    With a promise, in this order: store promise and quorum and fsync them, then stop the receiver (`fence` instead where this node is a
    primary), wait until it has stopped, measure the rank, answer.
    """

    granted: bool
    reason: str
    promise: t.Optional[Promise] = None
    quorum: Quorum = Quorum()
    fence: bool = False


class Vacancy(t.NamedTuple):
    """Whether the cluster has no primary that this node may follow, as far as it hears."""

    vacant: bool
    reason: str


class Stand(t.NamedTuple):
    """Whether this node asks for votes now, with the ballot to ask with."""

    now: bool
    reason: str
    ballot: t.Optional[Ballot] = None


class Elected(t.NamedTuple):
    """Whether the votes make the candidate primary of the ballot's timeline, and the quorum that it then stores before it promotes.

    `over` says that it cannot be won any more, whatever else is answered; `outranked_by` names a voter that has more and will stand itself.
    """

    won: bool
    reason: str
    quorum: Quorum = Quorum()
    outranked_by: t.Optional[str] = None
    over: bool = False


class Fence(t.NamedTuple):
    """Whether this node's PostgreSQL must be killed and started as a standby: kind is superseded, alone or hung."""

    fence: bool
    kind: str
    reason: str


def writer_heard(heard: Heards, rules: Rules, floor: int, within_seconds: float) -> t.Optional[NodeState]:
    """The writable primary of the highest timeline that was heard within this time and is of timeline `floor` or later."""
    found = [
        one.state
        for name, one in heard.items()
        if name in rules.nodes
        and one.state
        and one.age_seconds < within_seconds
        and one.state.is_writer
        and one.state.timeline >= floor
    ]
    return max(found, key=lambda state: state.timeline, default=None)


def vacancy(me: NodeState, heard: Heards, rules: Rules, running_seconds: float) -> Vacancy:
    """Whether somebody should stand. A primary that says itself that it writes no more is given up at once, a silent one after a while.

    `running_seconds` is for how long this guard has been listening.
    """
    if me.is_writer:
        return Vacancy(False, f"{me.node} is the primary of timeline {me.timeline}")
    floor = me.promise.timeline if me.promise else 0
    writer = writer_heard(heard, rules, floor, rules.silent_seconds)
    if writer:
        return Vacancy(
            False,
            f"{writer.node} is the primary of timeline {writer.timeline},"
            f" heard {heard[writer.node].age_seconds:.1f} s ago",
        )
    unheard = [name for name in rules.nodes if name != me.node and not (name in heard and heard[name].state)]
    if unheard and running_seconds < rules.silent_seconds:
        return Vacancy(False, f"{', '.join(unheard)} may yet answer, this guard listens for {running_seconds:.1f} s")
    return Vacancy(True, _why_vacant(me, heard, rules, floor))


def _why_vacant(me: NodeState, heard: Heards, rules: Rules, floor: int) -> str:
    for name in rules.nodes:
        one = heard.get(name)
        if not one or not one.state or name == me.node or one.state.role not in ("primary", "hung", "stopped"):
            continue
        if one.state.is_writer and one.state.timeline < floor:
            return f"{name} is primary of timeline {one.state.timeline}, but {me.node} promised {me.promise}"
        if one.age_seconds >= rules.silent_seconds:
            return f"{name}, then {one.state.role}, has been silent for {one.age_seconds:.1f} s"
        return f"{name} is {one.state.role} and takes no writes: {one.state.reason or 'it does not say why'}"
    return "no node says that it is a writable primary"


def next_timeline(me: NodeState, heard: Heards, votes: t.Iterable[Vote] = ()) -> int:
    """The timeline to stand for: above every timeline and promise that was ever heard of, also in answers to a ballot."""
    known = [me.floor] + [one.state.floor for one in heard.values() if one.state]
    # An operator's quorum has a timeline far above, since those who were taken out may have gone on without this node's knowledge.
    known.append(newest_quorum(me, heard).version[0] - 1)
    known += [max(vote.timeline, vote.promise.timeline if vote.promise else 0) for vote in votes]
    return max(*known, 1) + 1


def stand(
    me: NodeState, heard: Heards, rules: Rules, vacant_seconds: float, promised_seconds: t.Optional[float] = None
) -> Stand:
    """Whether this node, which found a vacancy, asks for votes now, and for which timeline.

    `vacant_seconds` is since when the vacancy lasts, `promised_seconds` since when this node's promise is given (None: not by this guard).
    """
    unfit = _unfit(me, heard, rules) or _wait_for_other(me, heard, rules, vacant_seconds, promised_seconds)
    if unfit:
        return Stand(False, unfit)
    for_me = _handed_to(me, heard, rules)
    before = [] if for_me else _before(me, heard, rules)
    delay = len(before) * rules.stand_delay_seconds
    if vacant_seconds < delay:
        return Stand(
            False,
            f"{before[0]} stands before {me.node}, which waits {delay:.1f} s and has waited {vacant_seconds:.1f} s",
        )
    ballot = Ballot(
        me.node,
        next_timeline(me, heard),
        me.rank,
        pre=True,
        handover=for_me,
        quorum=newest_quorum(me, heard),
        system_identifier=me.system_identifier,
    )
    first = "the primary hands over to it" if for_me else f"it has {me.rank}"
    return Stand(True, f"{me.node} stands for timeline {ballot.timeline}: {first}", ballot)


def _unfit(me: NodeState, heard: Heards, rules: Rules) -> t.Optional[str]:
    """Why this node cannot be elected now, whoever else stands."""
    quorum = newest_quorum(me, heard)
    if me.node not in rules.members(quorum):
        return f"{me.node} is out of the quorum until it has rejoined"
    if me.role != "standby" or not me.joined:
        return (
            f"{me.node} is {me.role}{'' if me.joined else ' and has no data that counts'}, only a standby is promoted"
        )
    if not me.rank_final:
        return f"{me.node} does not know yet how far its own WAL goes"
    needed = rules.sizes(quorum).votes_needed
    seen = [name for name in rules.voting(quorum) if name == me.node or _fresh(heard.get(name), rules)]
    if len(seen) < needed:
        return f"{me.node} sees {len(seen)} of {len(rules.voting(quorum))} voters, a promotion takes {needed}"
    return None


def _wait_for_other(
    me: NodeState, heard: Heards, rules: Rules, vacant_seconds: float, promised_seconds: t.Optional[float]
) -> t.Optional[str]:
    """Why another node is left to become primary for now."""
    for name, one in heard.items():
        target = one.state.handing_over_to if one.state and _fresh(one, rules) else None
        if target and target != me.node and vacant_seconds < rules.handover_seconds:
            return f"{name} hands over to {target}"
    promise = me.promise
    if not promise or promise.candidate == me.node or promised_seconds is None:
        return None
    candidate = heard.get(promise.candidate)
    if (
        promised_seconds >= rules.patience_seconds
        or not candidate
        or not candidate.state
        or not _fresh(candidate, rules)
    ):
        return None
    # What was heard before the promise was given lags behind what the candidate has: it may well win.
    lately = candidate.age_seconds < promised_seconds
    if lately and candidate.state.timeline < promise.timeline and candidate.state.rank < me.rank and me.rank_final:
        # It cannot win with this node's vote, so to wait for it would only take time.
        return None
    return f"{me.node} promised {promise} {promised_seconds:.1f} s ago"


def _handed_to(me: NodeState, heard: Heards, rules: Rules) -> bool:
    return any(one.state and _fresh(one, rules) and one.state.handing_over_to == me.node for one in heard.values())


def _before(me: NodeState, heard: Heards, rules: Rules) -> t.List[str]:
    """The nodes that stand before this one: those with more, and among equals the earlier in the list."""
    found = []
    for name in rules.members(newest_quorum(me, heard)):
        one = heard.get(name)
        if name == me.node or not one or not one.state or not _fresh(one, rules):
            continue
        state = one.state
        if state.role == "standby" and state.joined and stands_before(name, state.rank, me.node, me.rank, rules):
            found.append(name)
    return found


def vote(ballot: Ballot, me: NodeState, heard: Heards, rules: Rules) -> Answer:
    """What this voter does with a ballot; a witness passes itself with role `witness`.

    A pre-vote changes nothing. For a vote the answer to the candidate also takes the rank that is measured afterwards.
    """
    refusal = _refusal(ballot, me, heard, rules)
    if refusal is None and ballot.pre:
        refusal = _pre_refusal(ballot, me, heard, rules)
    if refusal:
        return Answer(False, refusal, quorum=me.quorum)
    if ballot.pre:
        return Answer(
            True, f"{me.node} would promise timeline {ballot.timeline} to {ballot.candidate}", quorum=me.quorum
        )
    return Answer(
        True,
        f"{me.node} promises timeline {ballot.timeline} to {ballot.candidate}",
        Promise(ballot.timeline, ballot.candidate),
        max(me.quorum, ballot.quorum, key=lambda quorum: quorum.version),
        fence=me.role in ("primary", "hung"),
    )


def _refusal(ballot: Ballot, me: NodeState, heard: Heards, rules: Rules) -> t.Optional[str]:
    quorum = max(me.quorum, ballot.quorum, key=lambda one: one.version)
    if ballot.candidate not in rules.nodes:
        return f"{ballot.candidate} is no data node of this cluster"
    if ballot.candidate not in rules.members(quorum):
        return f"{ballot.candidate} is out of the quorum of version {quorum.version} until it has rejoined"
    if ballot.timeline <= me.timeline:
        return f"{me.node} is on timeline {me.timeline} already, {ballot.timeline} is no later one"
    if me.promise and (
        ballot.timeline < me.promise.timeline
        or (ballot.timeline == me.promise.timeline and ballot.candidate != me.promise.candidate)
    ):
        return f"{me.node} promised {me.promise}"
    one = heard.get(ballot.candidate)
    for theirs in (ballot.system_identifier, one.state.system_identifier if one and one.state else None):
        if strangers(theirs, me.system_identifier):
            return f"{ballot.candidate} has system identifier {theirs}, {me.node} has {me.system_identifier}: another cluster"
    return None


def stands_before(candidate: str, rank: Rank, other: str, other_rank: Rank, rules: Rules) -> bool:
    """Whether of two that stand at once this candidate goes first: with more, and among equals as the earlier in the list."""
    return rank > other_rank or (rank == other_rank and rules.nodes.index(candidate) < rules.nodes.index(other))


def _pre_refusal(ballot: Ballot, me: NodeState, heard: Heards, rules: Rules) -> t.Optional[str]:
    floor = me.promise.timeline if me.promise else 0
    # A candidate that was heard as a primary a moment ago asks because it is one no more.
    others = {name: one for name, one in heard.items() if name != ballot.candidate}
    writer = me if me.is_writer else writer_heard(others, rules, floor, rules.fresh_seconds)
    if writer and writer.handing_over_to != ballot.candidate:
        ago = "" if writer.node == me.node else f", heard {heard[writer.node].age_seconds:.1f} s ago"
        return f"{writer.node} is the healthy primary of timeline {writer.timeline}{ago}"
    # While the voter still receives it may always be a little ahead of the ballot; the vote stops both.
    if me.joined and me.rank_final and not me.streaming and me.rank > ballot.rank:
        return f"{me.node} has more than {ballot.candidate}: {me.rank}, against {ballot.rank}"
    return None


def elected(ballot: Ballot, votes: t.Mapping[str, Vote], rules: Rules) -> Elected:
    """Count the answers to a ballot, the candidate's own among them, given by the same steps as any other voter's.

    The candidate's rank is the one in its own vote. Not won is no end: answers may still come, and may be asked for again.
    """
    sizes = rules.sizes(ballot.quorum)
    granted = {
        name: one
        for name, one in votes.items()
        if name in rules.voting(ballot.quorum) and _counts(ballot, one, name, rules)
    }
    own = granted.get(ballot.candidate)
    if own is None or not own.joined:
        return Elected(False, f"{ballot.candidate} has no vote of its own that counts")
    later = max((one.quorum for one in votes.values()), key=lambda quorum: quorum.version)
    if later.version > ballot.quorum.version:
        return Elected(
            False, f"a voter knows a later quorum, of version {later.version}: stand by that one", later, over=True
        )
    ahead = [name for name, one in sorted(granted.items()) if one.joined and one.rank > own.rank]
    if ahead:
        first = max(ahead, key=lambda name: granted[name].rank)
        return Elected(
            False,
            f"{first} has more: {granted[first].rank}, against {own.rank} of {ballot.candidate}",
            outranked_by=first,
            over=True,
        )
    refused = [name for name in rules.voting(ballot.quorum) if name in votes and not votes[name].granted]
    if len(refused) > sizes.voters - sizes.votes_needed:
        return Elected(False, f"{', '.join(f'{name}: {votes[name].reason}' for name in refused)}", over=True)
    if len(granted) < sizes.votes_needed:
        return Elected(
            False, f"{ballot.candidate} has {len(granted)} of {sizes.voters} votes, {sizes.votes_needed} are needed"
        )
    members = rules.members(ballot.quorum)
    full = [name for name in members if name in granted and granted[name].joined]
    # Where all members answered there is no other data: so a first node starts, and one whose standbys were all being cloned.
    if len(full) < sizes.data_votes_needed and not all(name in granted for name in members):
        return Elected(
            False,
            f"{ballot.candidate} has votes of {len(full)} data nodes with data, {sizes.data_votes_needed} of {sizes.data}"
            " are needed, or an answer of every one",
        )
    return Elected(
        True,
        f"{ballot.candidate} is elected for timeline {ballot.timeline} by {', '.join(sorted(granted))} with {own.rank}",
        Quorum((ballot.timeline, 0), ballot.quorum.out),
    )


def _counts(ballot: Ballot, one: Vote, name: str, rules: Rules) -> bool:
    if not one.granted or one.promise != Promise(ballot.timeline, ballot.candidate):
        return False
    return name in rules.witnesses or not one.joined or one.rank_final


def fence(me: NodeState, heard: Heards, rules: Rules, probe_seconds: float) -> Fence:
    """Whether this primary must stop: somebody promised or has a later timeline, it sees too few voters, or it hangs.

    `probe_seconds` is for how long no session opened and nothing was flushed; an SQL error is an answer and no hang. A voter that never
    answered is heard without a state, silent for as long as this guard has been listening.
    """
    if me.role != "primary":
        return Fence(False, "", f"{me.node} is no primary")
    if me.promise and me.promise.timeline > me.timeline:
        return Fence(True, "superseded", f"{me.node} of timeline {me.timeline} itself promised {me.promise}")
    for name in rules.nodes + rules.witnesses:
        state = heard[name].state if name in heard else None
        if name == me.node or not state or strangers(me.system_identifier, state.system_identifier):
            continue
        if state.timeline > me.timeline:
            return Fence(
                True, "superseded", f"{name} has timeline {state.timeline}, {me.node} is primary of {me.timeline}"
            )
        if state.promise and state.promise.timeline > me.timeline:
            return Fence(True, "superseded", f"{name} promised {state.promise}, {me.node} is primary of {me.timeline}")
    if probe_seconds >= rules.hung_seconds:
        return Fence(True, "hung", f"PostgreSQL has opened no session and flushed nothing for {probe_seconds:.1f} s")
    voting = rules.voting(me.quorum)
    seen = [
        name for name in voting if name == me.node or (name in heard and heard[name].age_seconds < rules.alone_seconds)
    ]
    needed = rules.sizes(me.quorum).seen_needed
    if len(seen) < needed:
        return Fence(
            True,
            "alone",
            f"{me.node} has seen {len(seen)} of {len(voting)} voters within {rules.alone_seconds:g} s, {needed} are needed",
        )
    return Fence(False, "", f"{me.node} sees {len(seen)} of {len(voting)} voters and none with a later timeline")


def begins_with(me: NodeState, elected: t.Optional[int], rules: Rules) -> bool:
    """Whether a server that nobody elected is what this cluster begins with: it ran before its guard came, and no other node can have data.

    `elected` is the timeline for which this node was last elected, None where it never was.
    """
    return rules.nodes == (me.node,) and not me.joined and me.promise is None and elected is None


def roomier(me: NodeState, heard: Heards, rules: Rules) -> t.Optional[str]:
    """The standby that this primary hands over to because its disk is full, None where it has room or no standby has more.

    What cannot grow serves no writes long before PostgreSQL itself stops. Where every disk is as full, a move would help nobody.
    """
    if not me.is_writer or me.disk_free_bytes is None or me.disk_free_bytes >= rules.disk_full_bytes:
        return None
    streaming = {standby.name for standby in me.standbys if standby.state == "streaming"}
    for name in rules.members(me.quorum):
        one = heard.get(name)
        if name not in streaming or one is None or not one.state or not _fresh(one, rules):
            continue
        if one.state.role == "standby" and (one.state.disk_free_bytes or 0) >= rules.disk_roomy_bytes:
            return name
    return None


def joins(me: NodeState, heard: Heards, rules: Rules) -> bool:
    """Whether the data of a node that has not joined counts from now on: it is known to its end, and is the cluster's as far as is heard.

    Where data counts already that was last heard to be another cluster's only, this node's never does: it neither stands nor elects.
    """
    counts = {
        one.state.system_identifier
        for name, one in heard.items()
        if name in rules.nodes and one.state and one.state.joined
    }
    counts -= {None}
    whole = me.role in ("standby", "primary") and me.rank_final and me.system_identifier is not None
    return whole and not me.joined and (not counts or me.system_identifier in counts)


def strangers(one: t.Optional[str], other: t.Optional[str]) -> bool:
    """Whether two system identifiers are known, and of different clusters."""
    return bool(one and other and one != other)


def _fresh(one: t.Optional[Heard], rules: Rules) -> bool:
    return bool(one and one.state and one.age_seconds < rules.fresh_seconds)
