# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizes of the database cluster: who votes, how many are enough, and how many standbys confirm a commit.

Why it holds for every size is in docs/postgresql-guard-rules.md.
"""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_state import Heard, NodeState, Quorum, lately

# Nodes that are powered off may have taken timelines that nobody else heard of; no two may be of one number.
DEGRADED_GAP = 50


class Sizes(t.NamedTuple):
    """What follows from a number of data nodes and witnesses."""

    data: int
    witnesses: int
    votes_needed: int
    data_votes_needed: int
    synchronous: int
    automatic: bool
    reason: str

    @property
    def voters(self) -> int:
        return self.data + self.witnesses

    @property
    def seen_needed(self) -> int:
        """A primary that sees fewer voters than these, itself included, cannot know that no other was elected."""
        return self.voters - self.votes_needed + 1


class Rules(t.NamedTuple):
    """The configuration that all nodes share: data nodes in their order, witnesses, and times in seconds."""

    nodes: t.Tuple[str, ...]
    witnesses: t.Tuple[str, ...] = ()
    automatic: bool = True
    # A state older than this says nothing of now.
    fresh_seconds: float = 2.0
    # A primary that has been silent for so long is given up.
    silent_seconds: float = 2.5
    # A primary that sees too few voters for so long stops itself.
    alone_seconds: float = 4.0
    # A primary that opens no session and flushes nothing for so long is killed.
    hung_seconds: float = 3.0
    # How much later than the one before it the next in rank stands.
    stand_delay_seconds: float = 1.0
    # How long a candidate that was promised a timeline is given to become primary.
    patience_seconds: float = 4.0
    # How long the others leave a planned handover to the node that it is meant for.
    handover_seconds: float = 5.0
    # A primary whose disk has less room than this gives way to a standby that has more than that.
    disk_full_bytes: int = 48 * 2**20
    disk_roomy_bytes: int = 192 * 2**20
    # How long a node that was rewound or cloned may take to begin to stream before it is cloned again.
    rejoin_seconds: float = 60.0

    @property
    def settled_seconds(self) -> float:
        """By then a primary that sees too few has stopped itself, and a candidate that was promised a timeline is primary or given up."""
        return self.alone_seconds + self.patience_seconds

    def members(self, quorum: Quorum) -> t.Tuple[str, ...]:
        """The data nodes that are in the quorum, in their order."""
        return tuple(node for node in self.nodes if node not in quorum.out)

    def voting(self, quorum: Quorum) -> t.Tuple[str, ...]:
        """All who vote: members and the witnesses that are in."""
        return self.members(quorum) + tuple(node for node in self.witnesses if node not in quorum.out)

    def sizes(self, quorum: Quorum) -> Sizes:
        members = self.members(quorum)
        return sizes(len(members), len(self.voting(quorum)) - len(members), False)


def sizes(data: int, witnesses: int, automatic_wanted: bool) -> Sizes:
    """The one table of sizes: k standbys confirm a commit, and data - k data nodes elect, so that each election meets each commit.

    Raises ValueError for a cluster without data nodes, and where automatic failover is asked for and cannot be given.
    """
    if data < 1 or witnesses < 0:
        raise ValueError(f"{data} data nodes and {witnesses} witnesses are no cluster: at least one data node it takes")
    votes = (data + witnesses) // 2 + 1
    synchronous = data // 2
    # Whether the loss of one data node leaves enough votes of both kinds.
    automatic = data == 1 or (data + witnesses - 1 >= votes and data - 1 >= data - synchronous)
    if automatic_wanted and not automatic:
        raise ValueError(
            f"{data} data nodes and {witnesses} witnesses cannot fail over by themselves: a promotion takes {votes} of"
            f" {data + witnesses} votes, and the loss of one leaves {data + witnesses - 1}; add a witness or a third data node, or"
            " turn automatic failover off"
        )
    named = f"{data} data node{'s' if data > 1 else ''}" + (
        f" and {witnesses} witness{'es' if witnesses > 1 else ''}" if witnesses else ""
    )
    reason = (
        f"{named}: a commit waits for {synchronous} of the standbys, a promotion takes {votes} of {data + witnesses} votes,"
        f" {max(data - synchronous, 1)} of them of data nodes"
    )
    return Sizes(data, witnesses, votes, data - synchronous, synchronous, automatic, reason)


def synchronous_names(rules: Rules, quorum: Quorum) -> str:
    """PostgreSQL's synchronous_standby_names for the members of a quorum, the same on every node; empty for one member."""
    members = rules.members(quorum)
    count = rules.sizes(quorum).synchronous
    return f"ANY {count} ({', '.join(_quoted(name) for name in members)})" if count else ""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def newest_quorum(me: NodeState, heard: t.Mapping[str, Heard]) -> Quorum:
    """The quorum that this node is to store: its own, or a later one that it heard of."""
    known = [me.quorum] + [one.state.quorum for one in heard.values() if one.state]
    return max(known, key=lambda quorum: quorum.version)


class InForce(t.NamedTuple):
    """The synchronous_standby_names that every session of the primary obeys, and its position when they began to."""

    names: str
    since_lsn: int


class Change(t.NamedTuple):
    """What the primary does about its quorum, durably and in this order: `synchronous` into force, then store and publish `quorum`.

    None leaves either as it is.
    """

    synchronous: t.Optional[str]
    quorum: t.Optional[Quorum]
    reason: str


def change_quorum(
    me: NodeState,
    heard: t.Mapping[str, Heard],
    rules: Rules,
    in_force: t.Optional[InForce],
    alone_continues: bool = False,
) -> Change:
    """What the writable primary does to let nodes back into its quorum, or, with `alone_continues` and a witness, to go on alone.

    One node a time, and only when enough voters know the present quorum: of two such quorums any two majorities meet.
    `in_force` is None while it is not known, as after a restart of the guard.
    """
    if not me.is_writer or me.quorum.version[0] != me.timeline:
        return Change(None, None, f"{me.node} is no writable primary with a quorum of its own timeline")
    needed = rules.sizes(me.quorum).votes_needed
    know = [
        name
        for name in rules.voting(me.quorum)
        if name == me.node or _knows(heard.get(name), me.quorum, rules.fresh_seconds)
    ]
    if len(know) < needed:
        # Commits go on waiting as before: an election by those who do not know this quorum yet must meet them.
        return Change(
            None, None, f"{len(know)} of {needed} voters know the quorum of version {me.quorum.version} so far"
        )
    present = synchronous_names(rules, me.quorum)
    coming = _coming_back(me, heard, rules)
    if coming:
        wanted = _next(me.quorum, tuple(name for name in me.quorum.out if name != coming))
        strict = synchronous_names(rules, wanted)
        waits = in_force is not None and in_force.names == strict
        if coming in rules.nodes and not (in_force and waits and _flushed(me, coming) >= in_force.since_lsn):
            return Change(strict, None, f"commits wait for {strict or 'nobody'} before {coming} may vote")
        return Change(strict, wanted, f"{coming} has all that was committed without it, so it votes again")
    gone = _gone(me, heard, rules) if alone_continues else None
    if gone:
        wanted = _next(me.quorum, tuple(sorted({*me.quorum.out, gone})))
        return Change(None, wanted, f"{gone} is gone and a witness is there, so {me.node} goes on without it")
    return Change(present, None, f"the quorum is {', '.join(rules.voting(me.quorum))}")


def other_writer(me: NodeState, heard: t.Mapping[str, Heard], rules: Rules) -> t.Optional[str]:
    """Another node that says now that it takes writes; of two the one of the later timeline."""
    timelines = {
        name: one.state.timeline
        for name, one in heard.items()
        if name != me.node and one.state and one.state.is_writer and one.age_seconds < rules.fresh_seconds
    }
    return max(timelines, key=lambda name: timelines[name], default=None)


def degraded(me: NodeState, heard: t.Mapping[str, Heard], rules: Rules, out: t.Sequence[str]) -> Quorum:
    """The quorum after an operator took nodes out of it, who knows that they are powered off.

    Raises ValueError for a node that is not in the configuration, for this node itself, for one that was seen to live a moment ago, where this
    node could not become primary, and where another one is or may be: a primary changes a quorum of its own timeline only, and would be left with
    this one for good.
    """
    refused = _not_here(me, heard, rules, out) or next(
        filter(None, (_lives(name, me, heard, rules) for name in out)), ""
    )
    if refused:
        raise ValueError(refused)
    if me.is_writer:
        return _next(me.quorum, tuple(sorted({*me.quorum.out, *out})))
    newest = newest_quorum(me, heard)
    if set(out) <= set(newest.out) and me.node not in newest.out:
        # Another node that is left was asked before, and may just be elected by this one: the timeline of a later one would be nobody's.
        return newest
    refused = _led_by_another(me, heard, rules, out)
    if refused:
        raise ValueError(refused)
    known = [state.floor for state in (me, *(one.state for one in heard.values() if one.state))]
    # One that is out itself is chosen by an operator who accepts what it lacks, and is in again by that.
    return Quorum((max(known) + DEGRADED_GAP, 0), tuple(sorted({*newest.out, *out} - {me.node})))


def _not_here(me: NodeState, heard: t.Mapping[str, Heard], rules: Rules, out: t.Sequence[str]) -> str:
    """Why this is not the node to ask, empty where it may be."""
    writer = other_writer(me, heard, rules)
    # One that is to be taken out is refused for that.
    if writer and writer not in out:
        told = f"heard {heard[writer].age_seconds:.1f} s ago"
        if me.is_writer:
            return f"{writer} is a primary too, {told}: ask again when one of the two is fenced"
        return f"{writer} is the primary, {told}, and alone may change its quorum: ask on {writer}"
    if not me.is_writer and not (me.role == "standby" and me.joined and me.rank_final):
        return (
            f"{me.node} cannot go on without others: it is {me.role}, and"
            f" {'its WAL is not known to its end' if me.joined else 'has no data that counts'}; take the node with the newest data"
        )
    return ""


def _lives(name: str, me: NodeState, heard: t.Mapping[str, Heard], rules: Rules) -> str:
    """Why a node cannot be said to be powered off, empty where nothing speaks against it.

    What others heard of it counts too: it may be cut off from this node alone. Silence counts only when it has lasted for so long that whoever was
    primary, or about to be, is so for good or no more.
    """
    if name not in rules.nodes + rules.witnesses or name == me.node:
        return f"{name} cannot be taken out of the quorum of {me.node}: it is this node or none of the cluster"
    until = f"power it off before it is taken out, and ask when nothing was heard of it for {rules.settled_seconds:g} s"
    own = heard.get(name)
    if own and own.age_seconds < rules.settled_seconds:
        if own.state is None:
            return f"{me.node} has listened to {name} for {own.age_seconds:.1f} s only: {until}"
        return f"{name} was heard {own.age_seconds:.1f} s ago: {until}"
    for other, state in {me.node: me, **lately(heard, rules.fresh_seconds)}.items():
        if state.streaming and state.upstream == name:
            return f"{other} streams from {name}: {until}"
        seen = state.sees.get(name)
        if other != me.node and seen is not None and seen + heard[other].age_seconds < rules.settled_seconds:
            return f"{other} heard {name} {seen + heard[other].age_seconds:.1f} s ago: {until}"
    return ""


def _led_by_another(me: NodeState, heard: t.Mapping[str, Heard], rules: Rules, out: t.Sequence[str]) -> str:
    """Why another node of those that are left may be primary, or become it without being asked; empty where none can.

    Silence is no proof of anything: a primary's guard may be dead, or its words late. So each data node that may be elected is heard now and no
    primary, or named by the operator; and those that are heard are too few to elect one meanwhile.
    """
    quorum, fresh = newest_quorum(me, heard), lately(heard, rules.fresh_seconds)
    for name in rules.members(quorum):
        if name == me.node or name in out:
            continue
        if name not in fresh:
            return f"{name} is not heard now and may be primary: ask on {name} if it runs, and name it with those that are powered off if it does not"
        if fresh[name].role in ("primary", "hung"):
            return (
                f"{name} is {fresh[name].role} and may take writes in a moment: ask again when it does, or is a standby"
            )
    answer = {me.node: me, **fresh}
    if _enough(answer, rules, quorum):
        names = ", ".join(name for name in rules.voting(quorum) if name in answer)
        how = "ask there when one is" if rules.automatic else "switch automatic failover on, and ask there when one is"
        return f"{names} are enough to elect a primary, which alone may change its quorum: {how}"
    return ""


def _enough(answer: t.Mapping[str, NodeState], rules: Rules, quorum: Quorum) -> bool:
    """Whether these can elect one of themselves, those included that do not know their WAL to its end yet."""
    sizes, members = rules.sizes(quorum), rules.members(quorum)
    full = [name for name in members if name in answer and answer[name].joined]
    votes = [name for name in rules.voting(quorum) if name in answer]
    every = all(name in answer for name in members)
    return bool(full) and len(votes) >= sizes.votes_needed and (len(full) >= sizes.data_votes_needed or every)


def _next(quorum: Quorum, out: t.Tuple[str, ...]) -> Quorum:
    return Quorum((quorum.version[0], quorum.version[1] + 1), out)


def _knows(one: t.Optional[Heard], quorum: Quorum, fresh_seconds: float) -> bool:
    return bool(one and one.state and one.age_seconds < fresh_seconds and one.state.quorum.version >= quorum.version)


def _coming_back(me: NodeState, heard: t.Mapping[str, Heard], rules: Rules) -> t.Optional[str]:
    for name in me.quorum.out:
        one = heard.get(name)
        if not one or not one.state or one.age_seconds >= rules.fresh_seconds or one.state.floor > me.timeline:
            continue
        # What it knows must be this very quorum: its old one would let it elect with others that are still out.
        if not _knows(one, me.quorum, rules.fresh_seconds):
            continue
        if name in rules.witnesses or (
            one.state.joined and one.state.timeline == me.timeline and _flushed(me, name) > 0
        ):
            return name
    return None


def _gone(me: NodeState, heard: t.Mapping[str, Heard], rules: Rules) -> t.Optional[str]:
    members = rules.members(me.quorum)
    witnessed = any(
        one.state and one.age_seconds < rules.fresh_seconds
        for name, one in heard.items()
        if name in rules.voting(me.quorum) and name not in members
    )
    others = [name for name in members if name != me.node]
    if len(others) != 1 or not witnessed:
        return None
    one = heard.get(others[0])
    silent = one is None or one.age_seconds >= rules.alone_seconds
    return others[0] if silent and all(standby.name != others[0] for standby in me.standbys) else None


def _flushed(me: NodeState, name: str) -> int:
    return max((one.flush_lsn for one in me.standbys if one.name == name and one.state == "streaming"), default=0)
