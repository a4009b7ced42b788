# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guard does to its PostgreSQL, step by step, each step safe to be the last before a power failure."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Upstream, synchronous_names
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import slot_name
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_control import ActError
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_gate import is_fork
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_node import ERROR, WARNING, Node
from ansible_collections.escala.ha.plugins.module_utils._pg_migration import NAME as MIGRATION_SLOT

_SQL_SECONDS = 3.0
_CHECKPOINT_SECONDS = 60.0
_BUSY_SECONDS = 3.0
_RELOADED_SECONDS = 0.5
_ABSENT_LOOKS = 4
_LOOK_SECONDS = 0.005


class Acts:
    """The acts of one data node. They raise SessionError, ActError, OSError and TimeoutError; the next round sees what is then, and goes on."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.rewind_failed = False
        # When PostgreSQL was last started, by the monotonic clock.
        self.started_at = float("-inf")
        # When the guard last killed it, by the same clock.
        self.killed_at = float("-inf")

    @property
    def _others(self) -> t.List[str]:
        return [name for name in self._node.config.data_nodes if name != self._node.config.node]

    def kill(self, reason: str, then: str = "it starts again as a standby") -> None:
        """Let no process of this PostgreSQL do anything more. What is started afterwards is a standby; `then` says so in the journal."""
        node, postgres = self._node, self._node.here
        self.killed_at = time.monotonic()
        # From here on it is no writer to anybody who asks, whatever becomes of the processes.
        node.fenced_pid = postgres.observer.look.pid
        node.reason = reason
        node.publish()
        node.say(
            "fence",
            f"Fenced: {reason}; every process of PostgreSQL is killed, and {then}",
            WARNING,
        )
        if not postgres.control.kill():
            node.say("fence", "Some processes are killed and wait for a disk; they end when it answers", ERROR)
        postgres.observer.wake(_BUSY_SECONDS)

    def fork(self) -> str:
        """Why what is here must never count: its server wrote on a timeline that it was not elected for. Empty where it did not."""
        config, look = self._node.config, self._node.here.observer.look
        at_rest = look.control.written_on if look.control else None
        # A server that answers knows better than what was on its disk at the last checkpoint.
        timeline = look.status.written_timeline if look.status else at_rest
        if not timeline or not is_fork(config, timeline, self._node.memory):
            return ""
        return f"somebody promoted it to timeline {timeline}, for which {config.node} was not elected"

    def condemn(self, reason: str) -> None:
        """Have data that is a fork never count again, whatever happens now; a fresh copy takes its place."""
        node, postgres = self._node, self._node.here
        try:
            # In this order: what has lost its mark and is remembered as part of the cluster is found out again.
            postgres.data.mark_rewind(True)
            node.memory.forgets_joined()
        finally:
            self.kill(f"{reason}; what it wrote there counts for nothing", "a fresh copy takes its place")

    def start(self, reason: str) -> None:
        """Start as a standby that follows nobody yet."""
        node, postgres = self._node, self._node.here
        node.say("start", f"Starting PostgreSQL as a standby: {reason}")
        self.started_at = time.monotonic()
        postgres.control.thaw()
        with contextlib.suppress(OSError):
            postgres.data.make_standby()
        postgres.control.start()
        postgres.observer.wake(_BUSY_SECONDS)

    def promote(self, timeline: int, limit_seconds: float) -> None:
        """Become primary of exactly this timeline; anything else that comes out is killed."""
        node, postgres = self._node, self._node.here
        look = postgres.observer.look
        if look.rank is None:
            raise ActError("this node does not know its own timeline")
        began = time.monotonic()
        try:
            stubs = postgres.data.write_stubs(look.rank.timeline, timeline)
        except ValueError as taken:
            raise ActError(str(taken)) from taken
        names = synchronous_names(node.rules, node.memory.quorum)
        postgres.server.set_synchronous(names, _SQL_SECONDS)
        if names and look.status and not look.status.synchronous:
            # A copy of a primary that went on alone: the checkpointer has to learn that commits wait before there are any.
            postgres.server.checkpoint(_CHECKPOINT_SECONDS)
        self._make_slots()
        # What was received is replayed first. That may take its time, and is waited for as long as it goes on.
        replayed: t.Optional[int] = None
        while True:
            promoted = postgres.server.promote(limit_seconds)
            status = postgres.server.status(_SQL_SECONDS)
            if promoted or not status.in_recovery or status.replayed_lsn == replayed:
                break
            replayed = status.replayed_lsn
        if not promoted or status.written_timeline != timeline:
            self.kill(f"the promotion to timeline {timeline} ended on {status.written_timeline or 'none'}")
            return
        postgres.data.make_standby()
        postgres.observer.wake(_BUSY_SECONDS)
        with contextlib.suppress(TimeoutError):
            postgres.observer.after(time.monotonic(), _SQL_SECONDS)
        skipped = f", {len(stubs)} skipped" if stubs else ""
        node.reason = f"elected primary of timeline {timeline}"
        node.say(
            "role",
            f"Primary of timeline {timeline}{skipped}; the promotion took {time.monotonic() - began:.2f} s",
            WARNING,
        )
        postgres.server.set_upstream("", "", _SQL_SECONDS)

    def follow(self, verdict: Upstream) -> None:
        """Stream from the primary, having promised not to go back behind it."""
        node, postgres = self._node, self._node.here
        source = self._source(verdict)
        if verdict.drop_timelines:
            self._stop(f"timelines {verdict.drop_timelines} are branches that nobody follows")
            postgres.data.drop_timelines(verdict.drop_timelines)
            self.start("it can follow without those branches")
            return
        with node.hand:
            if not self._still_allowed(verdict):
                return
            self._promise(verdict)
            self._set_upstream(postgres.control.conninfo_to(source), postgres.control.slot(), _SQL_SECONDS)
        node.say("role", f"Standby of {source}: {verdict.reason}")
        postgres.observer.wake(_BUSY_SECONDS)

    def promise(self, verdict: Upstream) -> None:
        """Keep what following a primary promises, unless a vote has promised more meanwhile."""
        with self._node.hand:
            if self._still_allowed(verdict):
                self._promise(verdict)

    def restart_in_unit(self) -> None:
        """Have a standby that was started by hand run in its unit, where systemd knows it and a shutdown stops it in order."""
        self._stop("it runs outside of its unit")
        self.start("it was started by hand, outside of its unit")

    def stop_receiving(self, deadline: float) -> None:
        """Have no process receive WAL, now and after a restart; raises TimeoutError when one still runs at the deadline (monotonic)."""
        self._set_upstream("", "", max(0.05, deadline - time.monotonic()))
        # A server that was just about to start a receiver does so once more, and ends it before it has connected.
        absent = 0
        while absent < _ABSENT_LOOKS:
            absent = 0 if self._node.here.control.receives() else absent + 1
            if time.monotonic() >= deadline:
                raise TimeoutError("the WAL receiver still runs")
            time.sleep(_LOOK_SECONDS)

    def rewind(self, verdict: Upstream) -> None:
        """Take back what the primary does not have; a fresh copy follows where that fails."""
        node, postgres = self._node, self._node.here
        source = self._source(verdict)
        node.say("role", f"Rewinding to {source}: {verdict.reason}", WARNING)
        self._stop(f"it is rewound to {source}")
        # Until it is whole again the node counts as one without data.
        node.memory.forgets_joined()
        try:
            postgres.control.rewind(source)
            postgres.data.drop_timelines(verdict.drop_timelines)
        except (ActError, OSError) as error:
            self.rewind_failed = True
            node.say("rewind", f"The rewind failed, a fresh copy follows: {error}", ERROR)
            return
        self.start(f"it was rewound to {source}")

    def clone(self, verdict: Upstream) -> None:
        """Take a fresh copy of the primary in the place of what is here."""
        node, postgres = self._node, self._node.here
        source = self._source(verdict)
        node.say("role", f"Copying all data of {source}: {verdict.reason}", WARNING)
        if postgres.data.control() is None:
            self._stop("its data is of no use")
        else:
            self._confirm_no_more()
        copied = postgres.control.copy(source)
        self._stop("its data is replaced")
        # Until the copy is whole the node counts as one without data: what it confirmed is gone with its old data.
        node.memory.forgets_joined()
        postgres.control.swap(copied)
        self.rewind_failed = False
        self.start(f"it is a copy of {source}")

    def _confirm_no_more(self) -> None:
        """Have what is here confirm nothing while it is copied over: the copy ends before its swap, and what came in between would be gone."""
        with self._node.hand:
            try:
                self.stop_receiving(time.monotonic() + _SQL_SECONDS)
            except (SessionError, OSError, TimeoutError):
                self._stop("it might go on confirming what its copy lacks")

    def take_over(self) -> None:
        """Stop in order a server that ran before there was a guard, and start it as every server is started from now on."""
        self._write_out()
        self._stop("it ran before its guard came")
        self.start("its guard has taken it over")

    def hand_over(self, target: str) -> None:
        """Stop in order, with all WAL at the standbys, and let the target be elected."""
        node, postgres = self._node, self._node.here
        self._write_out()
        node.say("role", f"Handing over to {target}", WARNING)
        node.handing_over_to = target
        node.publish()
        with contextlib.suppress(SessionError):
            postgres.server.dismiss(node.config.data_nodes, _SQL_SECONDS)
        self._stop(f"it hands over to {target}")
        self.start(f"it has handed over to {target}")

    def tend_primary(self) -> None:
        """What a primary must have for its standbys: a slot for each, and a history for each timeline that they may ask for."""
        node, postgres = self._node, self._node.here
        look = postgres.observer.look
        if look.rank:
            gaps = postgres.data.fill_gaps(look.rank.timeline)
            if gaps:
                node.say("gaps", f"Made empty histories of timelines {gaps}, which standbys ask for by number")
        for slot in self.missing_slots():
            postgres.server.create_slot(slot, _SQL_SECONDS)
        for slot in self.lost_slots():
            node.say(
                f"slot {slot}",
                f"Slot {slot} has lost its WAL and is made anew; a standby will be copied afresh, an archive may have a gap",
                WARNING,
            )
            postgres.server.drop_slot(slot, _SQL_SECONDS)
        postgres.observer.after(time.monotonic(), _SQL_SECONDS)

    def tend_catalogue(self) -> bool:
        """Bring repmgr's catalogue up to date with this node as primary; whether there is one."""
        config = self._node.config
        found = self._node.here.server.catalogue(config.catalogue_database or "", config.node, _SQL_SECONDS)
        if found:
            self._node.say("catalogue", f"repmgr's catalogue has {config.node} as primary")
        return found

    def would_wait_for(self, names: str) -> None:
        """Have a standby set whom commits wait for when it becomes primary."""
        postgres = self._node.here
        postgres.server.set_synchronous(names, _SQL_SECONDS)
        postgres.observer.after(time.monotonic() + _RELOADED_SECONDS, _SQL_SECONDS)

    def tend_standby(self) -> None:
        """A slot that nobody uses on a standby would keep WAL for ever."""
        for slot in self.orphan_slots():
            self._node.here.server.drop_slot(slot, _SQL_SECONDS)
            self._node.say("slots", f"Dropped slot {slot}: only a primary has slots")
        self._node.here.observer.after(time.monotonic(), _SQL_SECONDS)

    def missing_slots(self) -> t.List[str]:
        status = self._node.here.observer.look.status
        present = {slot.name for slot in status.slots} if status else set()
        return sorted(self._slots(self._others) - present) if status else []

    def lost_slots(self) -> t.List[str]:
        status = self._node.here.observer.look.status
        ours = self._slots(self._others)
        return (
            [slot.name for slot in status.slots if slot.lost and slot.name in ours and not slot.active]
            if status
            else []
        )

    def orphan_slots(self) -> t.List[str]:
        status = self._node.here.observer.look.status
        # A migration's was left by the primary that this node was: whoever followed from it finds it here no more, and it would keep WAL.
        ours = {*self._slots(self._node.config.data_nodes), MIGRATION_SLOT}
        return [slot.name for slot in status.slots if slot.name in ours and not slot.active] if status else []

    def _slots(self, nodes: t.Iterable[str]) -> t.Set[str]:
        return {slot_name(name) for name in nodes} | set(self._node.config.extra_slots)

    def _set_upstream(self, conninfo: str, slot: str, limit_seconds: float) -> None:
        postgres = self._node.here
        pid = postgres.data.postmaster()
        if postgres.observer.look.status is None or pid is None:
            # A server that is not consistent yet takes no sessions, and reads its files.
            postgres.data.write_upstream(conninfo, slot)
            if pid is not None:
                os.kill(pid, signal.SIGHUP)
            return
        postgres.server.set_upstream(conninfo, slot, limit_seconds)

    def _write_out(self) -> None:
        """Have a stop that follows take little time."""
        try:
            self._node.here.server.checkpoint(_CHECKPOINT_SECONDS)
        except SessionError as error:
            # A disk that is full may refuse it, and the stop tries once more.
            if error.kind != "refused":
                raise

    def _make_slots(self) -> None:
        # Before the promotion, since a standby that finds none waits before it tries again. On a new primary all begin anew.
        postgres = self._node.here
        with contextlib.suppress(TimeoutError):
            postgres.observer.after(time.monotonic(), _SQL_SECONDS)
        for slot in self.missing_slots():
            postgres.server.create_slot(slot, _SQL_SECONDS)

    def _stop(self, reason: str) -> None:
        node, postgres = self._node, self._node.here
        if postgres.observer.lives():
            node.say("stop", f"Stopping PostgreSQL: {reason}")
            postgres.control.stop()
        postgres.observer.wake(_BUSY_SECONDS)

    def _promise(self, verdict: Upstream) -> None:
        old = self._node.memory.promise
        if verdict.promise and (old is None or verdict.promise.timeline > old.timeline):
            self._node.memory.promised(verdict.promise)

    def _still_allowed(self, verdict: Upstream) -> bool:
        """Whether no promise was given since the verdict: under the lock, so that none is given until it has been carried out."""
        promise, heard = self._node.memory.promise, self._node.peers.heard()
        one = heard.get(verdict.source or "")
        return bool(
            one and one.state and one.state.is_writer and (promise is None or one.state.timeline >= promise.timeline)
        )

    def _source(self, verdict: Upstream) -> str:
        if verdict.source is None:
            raise ValueError(f"{verdict} names no source")
        return verdict.source


# What an act may end in without being a fault of the program.
Failures = (SessionError, ActError, OSError, TimeoutError)
