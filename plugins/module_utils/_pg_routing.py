# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a node follows, how it may start, and where PgBouncer sends its clients, as pure functions."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_election import Heards, strangers, writer_heard
from ansible_collections.escala.ha.plugins.module_utils._pg_quorum import Rules
from ansible_collections.escala.ha.plugins.module_utils._pg_state import NodeState, Promise, lately
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import Rank, lsn_text, on_history, stubs_left


class Upstream(t.NamedTuple):
    """What a node that is not primary does: follow, rewind, clone, wait, refuse or none.

    `promise` is stored first where it is not None. `drop_timelines` are branches that nobody follows, whose history and WAL files leave
    pg_wal while PostgreSQL is stopped: with them it would go on asking for a timeline that the primary lacks.
    """

    action: str
    reason: str
    source: t.Optional[str] = None
    promise: t.Optional[Promise] = None
    drop_timelines: t.Tuple[int, ...] = ()


class Gate(t.NamedTuple):
    """Whether PostgreSQL may start, and what is put right before."""

    allowed: bool
    reason: str
    put_standby_signal: bool = False
    remove_histories: t.Tuple[str, ...] = ()
    clear_upstream: bool = False


class Route(t.NamedTuple):
    """Where PgBouncer sends writes and reads; `readers` in the order of the node list, `why` names each node that gets nothing."""

    writer: t.Optional[str]
    readers: t.Tuple[str, ...]
    reason: str
    why: t.Mapping[str, str]


def upstream(
    me: NodeState,
    heard: Heards,
    rules: Rules,
    local_timelines: t.Iterable[int] = (),
    rewind_failed: bool = False,
) -> Upstream:
    """What this node does to be a standby of the primary. `local_timelines` are those with a history file in its pg_wal."""
    if me.role in ("primary", "witness"):
        return Upstream("none", f"{me.node} is {me.role} and follows nobody")
    writer = writer_heard(heard, rules, me.floor, rules.fresh_seconds)
    if writer is None or writer.node == me.node:
        return Upstream("wait", f"no primary of timeline {me.floor} or later is heard")
    if strangers(me.system_identifier, writer.system_identifier):
        return Upstream(
            "refuse",
            f"{me.node} has system identifier {me.system_identifier}, {writer.node} has {writer.system_identifier}: this data"
            " belongs to another cluster and is left alone; move it away by hand",
        )
    promise = None
    if me.promise is None or me.promise.timeline < writer.timeline:
        promise = Promise(writer.timeline, writer.node)
    if me.role == "empty":
        return Upstream("clone", f"{me.node} has no data, {writer.node} has", writer.node, promise)
    if me.upstream == writer.node and me.streaming and me.timeline == writer.timeline:
        return Upstream("none", f"{me.node} streams from {writer.node}", writer.node, promise)
    return _towards(me, writer, promise, local_timelines, rewind_failed, rules)


def _towards(
    me: NodeState,
    writer: NodeState,
    promise: t.Optional[Promise],
    local_timelines: t.Iterable[int],
    rewind_failed: bool,
    rules: Rules,
) -> Upstream:
    its = {timeline for timeline, _left_at in writer.history} | {writer.timeline, 1}
    dead = tuple(sorted(set(local_timelines) - its))
    if rewind_failed:
        return Upstream("clone", f"pg_rewind from {writer.node} failed", writer.node, promise)
    if not me.rank_final and not me.streaming:
        return _unfinished(me, writer, promise, dead, rules)
    # What was received beyond the last replayed record is no whole record once the receiver has stopped.
    position = me.lsn if me.replay_lsn is None else me.replay_lsn
    if on_history(me.timeline, position, writer.history, writer.timeline):
        at = Rank(me.timeline, position)
        return Upstream("follow", f"{me.node} at {at} is on the history of {writer.node}", writer.node, promise, dead)
    left_at = dict(writer.history).get(me.timeline)
    why = (
        f"which {writer.node} left at {lsn_text(left_at)}"
        if left_at is not None
        else f"which {writer.node} never was on"
    )
    return Upstream(
        "rewind",
        f"{me.node} is at {Rank(me.timeline, position)}, {why} for timeline {writer.timeline}",
        writer.node,
        promise,
        dead,
    )


def _unfinished(
    me: NodeState, writer: NodeState, promise: t.Optional[Promise], dead: t.Tuple[int, ...], rules: Rules
) -> Upstream:
    """A node that has not found the end of its WAL: it starts, or it lacks what its rewind or clone was to be completed with.

    The latter says with `lsn` up to where it must come before it is consistent, and it is not joined, so nothing of it can be lost.
    """
    if me.joined or not me.lsn:
        return Upstream("wait", f"{me.node} does not know yet how far its own WAL goes")
    if not on_history(me.timeline, me.lsn, writer.history, writer.timeline):
        return Upstream(
            "clone",
            f"{me.node} needs {me.rank} to be consistent, which {writer.node} does not have",
            writer.node,
            promise,
        )
    if me.upstream != writer.node:
        return Upstream("follow", f"{me.node} needs {me.rank} to be consistent", writer.node, promise, dead)
    if me.since_seconds >= rules.rejoin_seconds:
        return Upstream(
            "clone", f"{me.node} has not become consistent within {me.since_seconds:.0f} s", writer.node, promise
        )
    return Upstream("wait", f"{me.node} connects to {writer.node} for {me.rank}", writer.node, promise)


def forked(timeline: int, elected: t.Optional[int], joined: bool, alone: bool) -> bool:
    """Whether data that its own server wrote on this timeline, out of recovery, is a fork: its node was not elected for just this one.

    A timeline counts for more than any position, so a fork that counted would win over what was acknowledged meanwhile; and a number that
    others were promised, or that an election was lost for, makes it no less one. `alone` in its quorum a node has nobody to fork from, the
    first timeline is the one on which every cluster begins, and what never `joined` under a guard was elected by other means.
    """
    return joined and not alone and timeline > 1 and timeline != elected


def gate(
    promise: t.Optional[Promise],
    history_sizes: t.Mapping[str, int],
    standby_signal: bool,
    upstream_timeline: t.Optional[int],
    system_identifier: t.Optional[str],
    expected_identifier: t.Optional[str],
) -> Gate:
    """Whether this node's PostgreSQL may start, from what is on its disk only.

    `history_sizes` has the size of each file in pg_wal; `upstream_timeline` is the primary's timeline when primary_conninfo was set, 0
    where that is not known and None where it is empty; `expected_identifier` was stored when the node joined.
    """
    if strangers(expected_identifier, system_identifier):
        return Gate(
            False,
            f"the data directory has system identifier {system_identifier}, this node joined {expected_identifier}: it belongs to"
            " another cluster; put the right one back, or move it away so that the guard clones",
        )
    stubs = tuple(stubs_left(history_sizes))
    forbidden = upstream_timeline is not None and upstream_timeline < (promise.timeline if promise else 1)
    done = [] if standby_signal else ["standby.signal is put back"]
    if stubs:
        done.append(f"{', '.join(stubs)} of a promotion that did not happen are removed")
    if forbidden:
        done.append(f"primary_conninfo is emptied: it is of timeline {upstream_timeline}, promised was {promise}")
    return Gate(True, "; ".join(done) or "it starts as a standby", not standby_signal, stubs, forbidden)


def route(heard: Heards, rules: Rules, lag_limit_seconds: float) -> Route:
    """Where PgBouncer sends its clients, from what all data nodes say.

    The writer is the writable primary of the highest timeline, confirmed by a standby that streams from it on that timeline; alone in its
    quorum it confirms itself. Without a writer the standbys go on to be read from. Data of another cluster keeps nobody from writing, and is
    not read from: it is what the writer's is not, or without a writer what most nodes' is not.
    """
    heard_lately = lately(heard, rules.silent_seconds)
    fresh = {name: heard_lately[name] for name in rules.nodes if name in heard_lately}
    why = {name: "it does not answer" for name in rules.nodes if name not in fresh}
    writer, reason = _writer(fresh, rules)
    identifier = _identifier(fresh)
    readers = []
    for name, state in fresh.items():
        fault = _unreadable(state, writer, identifier, lag_limit_seconds)
        if fault and state is not writer:
            why[name] = fault
        elif not fault:
            readers.append(name)
    if not readers and writer:
        readers = [writer.node]
    return Route(writer.node if writer else None, tuple(readers), reason, why)


def _writer(fresh: t.Mapping[str, NodeState], rules: Rules) -> t.Tuple[t.Optional[NodeState], str]:
    claims = [state for state in fresh.values() if state.is_writer]
    if not claims:
        return None, "no node says that it is a writable primary"
    timeline = max(state.timeline for state in claims)
    newest = [state for state in claims if state.timeline == timeline]
    if len(newest) > 1:
        return None, f"{' and '.join(state.node for state in newest)} both claim timeline {timeline}: none gets writes"
    writer = newest[0]
    ours = [state for state in fresh.values() if not strangers(state.system_identifier, writer.system_identifier)]
    ahead = [state.node for state in ours if state.timeline > timeline]
    if ahead:
        return None, f"{ahead[0]} has timeline {fresh[ahead[0]].timeline}, {writer.node} is primary of {timeline} only"
    if rules.members(writer.quorum) == (writer.node,):
        return writer, f"{writer.node} is the primary of timeline {timeline} and alone in its quorum"
    confirming = [
        state.node
        for state in fresh.values()
        if state.upstream == writer.node and state.streaming and state.timeline == timeline
    ]
    if not confirming:
        return None, f"{writer.node} says that it is the primary of timeline {timeline}, and no standby confirms it yet"
    return writer, f"{writer.node} is the primary of timeline {timeline}, confirmed by {', '.join(confirming)}"


def _identifier(fresh: t.Mapping[str, NodeState]) -> t.Optional[str]:
    """The system identifier that most nodes with data have, None where none is known, or as many have another."""
    counts = collections.Counter(
        state.system_identifier for state in fresh.values() if state.joined and state.system_identifier
    )
    most = [identifier for identifier, count in counts.items() if count == max(counts.values())]
    return most[0] if len(most) == 1 else None


def _unreadable(
    state: NodeState, writer: t.Optional[NodeState], identifier: t.Optional[str], lag_limit_seconds: float
) -> t.Optional[str]:
    if state.role != "standby" or not state.joined:
        return f"it is {state.role}{'' if state.joined else ' and has no data that counts'}: {state.reason or 'no reason given'}"
    if writer is None:
        if state.system_identifier and state.system_identifier != identifier:
            return f"it has system identifier {state.system_identifier}, and as many nodes or more have another"
        return None
    if not state.streaming or state.upstream != writer.node or state.timeline != writer.timeline:
        return f"it does not stream from {writer.node} on timeline {writer.timeline}"
    if state.replay_lag_seconds is None or state.replay_lag_seconds > lag_limit_seconds:
        lag = "unknown" if state.replay_lag_seconds is None else f"{state.replay_lag_seconds:.1f} s"
        return f"its lag is {lag}, limit is {lag_limit_seconds:g} s"
    return None
