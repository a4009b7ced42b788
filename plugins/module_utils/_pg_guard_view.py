# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guard knows: what it says of its own node, and what it last heard of the others."""

from __future__ import annotations

import re
import threading
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Heard, NodeState, state_from
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_local import Look
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_promise import Memory
from ansible_collections.escala.ha.plugins.module_utils._pg_peers import Peer
from ansible_collections.escala.ha.plugins.module_utils._pg_state import PATRONI
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import Rank

_HOST = re.compile(r"(?:^|\s)host='?([^'\s]+)")

# A change of one of these is told to all who listen at once; positions and ages are not.
_SIGNIFICANT = (
    "role",
    "writable",
    "timeline",
    "joined",
    "rank_final",
    "upstream",
    "streaming",
    "promise",
    "quorum",
    "handing_over_to",
)


class Situation(t.NamedTuple):
    """What the guard itself adds to what it sees of its server."""

    hung: bool = False
    lives: bool = False
    fenced: bool = False
    handing_over_to: t.Optional[str] = None
    reason: str = ""


def role_of(look: Look, situation: Situation) -> str:
    """The role of a data node in one word."""
    if not look.at:
        return "starting"
    if look.control is None:
        return "empty"
    if not situation.lives:
        return "stopped"
    if situation.hung:
        return "hung"
    if look.status is None:
        return "starting"
    return "standby" if look.status.in_recovery else "primary"


def elected_here(node: str, look: Look, memory: Memory) -> bool:
    """Whether this node was elected for the timeline that it is on; a server that somebody else promoted was not."""
    promise = memory.promise
    # A vote for somebody else since then ends it.
    return bool(
        promise and look.rank and promise.candidate == node and promise.timeline == look.rank.timeline == memory.elected
    )


def describe(
    node: str, look: Look, memory: Memory, situation: Situation, sees: t.Mapping[str, t.Optional[float]]
) -> NodeState:
    """The state of a data node, as its guard publishes it."""
    rank = look.rank
    elected = elected_here(node, look, memory)
    if rank is None and memory.joined is None and look.control:
        # Copied or rewound, and not consistent yet: this is how far it has to get.
        rank = look.control.consistent_at
    # A timeline that nobody was elected for is a fork, and no claim to be made to others.
    writes = look.status is not None and not look.status.in_recovery
    seen = _seen(node, look, situation, sees, rank if rank and (elected or not writes) else None)
    return seen._replace(
        writable=seen.writable and elected,
        joined=memory.joined is not None,
        promise=memory.promise,
        quorum=memory.quorum,
    )


def describe_watched(
    look: Look, config: Config, situation: Situation, sees: t.Mapping[str, t.Optional[float]]
) -> NodeState:
    """The state of a data node that Patroni starts and promotes: out of recovery it is by Patroni's word, and its data counts once it is consistent."""
    seen = _seen(config.node, look, situation, sees, look.rank)
    # Patroni names hosts by their addresses.
    named = {address: name for name, address in config.data_nodes.items()}
    return seen._replace(
        joined=look.status is not None,
        upstream=named.get(seen.upstream or "", seen.upstream),
        decided_by=PATRONI,
    )


def _seen(
    node: str,
    look: Look,
    situation: Situation,
    sees: t.Mapping[str, t.Optional[float]],
    known: t.Optional[Rank],
) -> NodeState:
    """What the server itself shows; `known` is the rank that counts."""
    role, status = role_of(look, situation), look.status
    streams_from = upstream_in(status.conninfo) if status and status.in_recovery else None
    # One that waits for a receiver that hangs, at the end of its stop, has written its last.
    stopping = look.control is not None and look.control.shut_down
    return NodeState(
        node=node,
        role=role,
        writable=role == "primary" and not situation.fenced and not stopping,
        timeline=known.timeline if known else 0,
        lsn=known.lsn if known else 0,
        replay_lsn=status.replayed_lsn if status else None,
        rank_final=look.rank_final and role in ("primary", "standby"),
        system_identifier=look.control.system_identifier if look.control else None,
        upstream=streams_from,
        streaming=bool(role == "standby" and streams_from and status and status.receiver_status == "streaming"),
        history=look.history,
        replay_lag_seconds=status.replay_lag_seconds if status else None,
        outside=status.outside if status else None,
        sees=sees,
        standbys=status.standbys if status else (),
        handing_over_to=situation.handing_over_to,
        postgresql_version=status.version if status else None,
        disk_free_bytes=look.free_bytes,
        reason=situation.reason,
    )


def upstream_in(conninfo: str) -> t.Optional[str]:
    """The node that a conninfo of ours names, None for an empty one."""
    found = _HOST.search(conninfo)
    return found[1] if found else None


def significant(state: NodeState) -> t.Tuple[t.Any, ...]:
    """What others are told of at once when it changes."""
    return tuple(getattr(state, name) for name in _SIGNIFICANT)


class Peers:
    """Ask every other guard for its state, each from a thread of its own; `heard` is called when something of weight has changed."""

    def __init__(self, config: Config, heard: t.Callable[[], None]) -> None:
        self._config = config
        self._notify = heard
        self._lock = threading.Lock()
        self._started_at = time.monotonic()
        self._last: t.Dict[str, t.Tuple[NodeState, float]] = {}

    def start(self) -> None:
        for name in self._config.peers:
            threading.Thread(target=self._poll, args=(self.peer(name),), name=f"poll-{name}", daemon=True).start()

    def peer(self, name: str) -> Peer:
        """A connection to another guard, for one thread."""
        config = self._config
        return Peer(name, config.peers[name], config.port, config.identity, config.timings.request_timeout_seconds)

    def heard(self) -> t.Dict[str, Heard]:
        """What all others last said; one that never did is silent since this guard began to listen."""
        now = time.monotonic()
        with self._lock:
            last = dict(self._last)
        found = {name: Heard(None, now - self._started_at) for name in self._config.peers}
        found.update((name, Heard(state, now - at)) for name, (state, at) in last.items())
        return found

    def sees(self) -> t.Dict[str, t.Optional[float]]:
        """For how many seconds each other has been silent, None for one that never answered."""
        return {name: round(one.age_seconds, 2) if one.state else None for name, one in self.heard().items()}

    def _poll(self, peer: Peer) -> None:
        wait_seconds = 0.0
        while True:
            asked_at = time.monotonic()
            try:
                state = state_from(peer.state(wait_seconds))
                if state.node != peer.name:
                    raise ValueError(f"{state.node} answers for {peer.name}")
            except (OSError, ValueError, OverflowError):
                wait_seconds = 0.0
                time.sleep(max(0.05, self._config.timings.heartbeat_seconds - (time.monotonic() - asked_at)))
                continue
            # What it said held when it answered, which may be as late as now and was not before it was asked.
            answered_at = time.monotonic()
            with self._lock:
                before = self._last.get(peer.name)
                self._last[peer.name] = (state, answered_at)
            if before is None or significant(before[0]) != significant(state):
                self._notify()
            wait_seconds = self._config.timings.heartbeat_seconds
