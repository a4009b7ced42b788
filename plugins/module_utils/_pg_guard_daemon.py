# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's own round: look at all nodes, ask the rules, act, and say why."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import traceback
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Heard,
    InForce,
    NodeState,
    Upstream,
    begins_with,
    change_quorum,
    fence,
    joins,
    newest_quorum,
    roomier,
    stand,
    synchronous_names,
    upstream,
    vacancy,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_acts import Acts, Failures
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_ballots import Ballots
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_gate import judge
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_node import ERROR, WARNING, Node

# A start that fails is tried again, and not in a hurry.
_START_AGAIN_SECONDS = 3.0
# An act that failed is left alone for so long.
_PAUSE_SECONDS = 1.0
# A copy costs its source much.
_COPY_PAUSE_SECONDS = 10.0
# A standby that the primary has and that does not stream for so long cannot: its WAL is gone, or its data is not what it seems.
_COPY_AFTER_SECONDS = 30.0
_HANDOVER_SECONDS = 15.0
_HAND_OVER = "hand over"
_HANDOVER_AGAIN_SECONDS = 60.0
_CATALOGUE_AGAIN_SECONDS = 5.0
_SLOTS_AGAIN_SECONDS = 3.0
_WAIT_AGAIN_SECONDS = 3.0
_TELL_AGAIN_SECONDS = 30.0
# A standby that starts has replayed what it has in less, as a rule; where it takes longer, following does no harm.
_STUCK_SECONDS = 5.0
# A vote that came to nothing has taken its upstream away again.
_LEAD_AGAIN_SECONDS = 10.0
_CHECKPOINT_SECONDS = 60.0

Heards = t.Mapping[str, Heard]


class Guard:
    """One guard. `run` never returns; everything else may be called from any thread."""

    def __init__(self, config: Config, directory: str) -> None:
        self._wake_descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.node = Node(config, self.wake, directory)
        self.acts = Acts(self.node)
        self.ballots = Ballots(self.node, self.acts)
        self._job: t.Optional[threading.Thread] = None
        self._pause_until = 0.0
        self._vacant_since: t.Optional[float] = None
        self._promise: t.Any = self.node.memory.promise
        self._promised_at: t.Optional[float] = None
        self._was_running = False
        # Since when it is left alone, because somebody else stopped it in order.
        self._left_alone_since: t.Optional[float] = None
        self._unserved_since: t.Optional[float] = None
        self._in_force: t.Optional[InForce] = None
        # Commits began to wait for somebody, and the checkpointer has not shown yet that it knows.
        self._checkpoint_due = False
        self._wait_again_at = 0.0
        # What a standby was last told of whom commits would wait for, and until when it is not told again.
        self._told: t.Tuple[str, float] = ("", 0.0)
        self._handing_since = self._slots_at = float("-inf")
        self._led_to: t.Optional[str] = None
        self._lead_again_at = 0.0
        # The timeline on which repmgr's catalogue was last brought up to date, and when it is tried again.
        self._catalogued = 0
        self._catalogue_at = time.monotonic() + _CATALOGUE_AGAIN_SECONDS
        self.stands_back_until = 0.0

    def wake(self) -> None:
        """Have the next round at once."""
        os.eventfd_write(self._wake_descriptor, 1)

    def run(self, alive: t.Callable[[str], None]) -> None:
        """Go round for ever; `alive` is told the reason of the moment in each round."""
        node = self.node
        node.peers.start()
        if node.postgres:
            threading.Thread(target=node.postgres.observer.run, name="observer", daemon=True).start()
            with contextlib.suppress(TimeoutError):
                node.postgres.observer.after(node.started_at, node.config.timings.hung_seconds)
        while True:
            self._drain()
            try:
                self.round()
            except (*Failures, ValueError) as error:
                # What cannot be written cannot be promised; the next round tries again, and fences first.
                node.reason = f"a round ended early: {error}"
                node.say("round", node.reason, ERROR)
            node.publish()
            alive(node.reason)
            self._wait(node.config.timings.tick_seconds)

    def round(self) -> None:
        """One look and at most one act."""
        node = self.node
        me, heard = node.me(), node.peers.heard()
        if node.postgres:
            node.postgres.data.hold_archiving(self._hands_over(heard))
        if node.postgres and self._fence(me, heard):
            return
        quorum = newest_quorum(me, heard)
        if quorum.version > me.quorum.version:
            node.memory.learned(quorum)
            me = node.me()
        self._note_promise()
        if node.postgres is None:
            node.reason = "a witness that votes and has no data"
            return
        if self.busy():
            return
        self._join(me, heard)
        # One that refuses sessions may be one that an earlier guard is stopping, or a start that fails: neither was running.
        if me.role in ("primary", "standby"):
            self._was_running, self._left_alone_since = True, None
        if me.role == "primary":
            self._lead(me, heard)
        elif me.role == "stopped":
            self._revive()
        elif me.role in ("standby", "starting", "empty"):
            self._serve(me, heard)

    def busy(self) -> bool:
        """Whether an act is under way, or one has just failed."""
        return time.monotonic() < self._pause_until or bool(self._job and self._job.is_alive())

    def begin(self, name: str, act: t.Callable[[], None], pause_seconds: float = _PAUSE_SECONDS) -> None:
        """Do something that takes time, while the rounds go on; what fails is left alone for a pause."""
        # Whatever stops PostgreSQL during an act is the act, and no operator.
        self._was_running = False

        def work() -> None:
            try:
                act()
            except Failures as error:
                self._pause_until = time.monotonic() + pause_seconds
                self.node.say(name, f"Could not {name}, it is tried again: {error}", ERROR)
            except Exception as error:  # noqa: BLE001  a fault in one act must not end the guard, and must be seen
                self._pause_until = time.monotonic() + pause_seconds
                self.node.say(name, f"BUG in {name}: {error!r} {' '.join(traceback.format_exc().split())}", ERROR)
            finally:
                self.wake()

        self._job = threading.Thread(target=work, name=name, daemon=True)
        self._job.start()

    def hand_over(self, target: str) -> None:
        """Begin to hand over to another node, which is then elected like any other."""
        self._handing_since = time.monotonic()

        def give_way() -> None:
            self.node.here.data.hold_archiving(True)
            self.acts.hand_over(target)

        self.begin(_HAND_OVER, give_way)

    def _hands_over(self, heard: Heards) -> bool:
        """Whether a primary gives way in order just now, this one or another, so that nobody is to spend anything on the archive."""
        if self.node.handing_over_to or (self._job and self._job.is_alive() and self._job.name == _HAND_OVER):
            return True
        limit = self.node.rules.handover_seconds
        return any(one.state and one.state.handing_over_to and one.age_seconds < limit for one in heard.values())

    def _fence(self, me: NodeState, heard: Heards) -> bool:
        """Kill a primary that may be one no longer, or that nobody elected; whether it was done."""
        fork = self.acts.fork()
        if fork:
            self.acts.condemn(fork)
            return True
        observer = self.node.here.observer
        status = observer.look.status
        if not observer.lives() or status is None or status.in_recovery or observer.look.pid == self.node.fenced_pid:
            return False
        as_primary = me._replace(role="primary")
        verdict = fence(as_primary, heard, self.node.rules, observer.silent_seconds())
        reason = verdict.reason
        if not verdict.fence:
            # One whose data is of no use must not even be read.
            if me.role not in ("primary", "empty") or me.timeline or self.busy():
                return False
            if begins_with(me, self.node.memory.elected, self.node.rules):
                self.begin("take over", self.acts.take_over)
                return True
            reason = "somebody else promoted this PostgreSQL, nobody elected it"
        self.acts.kill(reason)
        # Somebody who is stopping it in order goes on with that.
        if not self._stopped_by_somebody() and not self.busy():
            self.begin("start", lambda: self.acts.start("it was fenced"))
        return True

    def _lead(self, me: NodeState, heard: Heards) -> None:
        node, acts = self.node, self.acts
        self._vacant_since = None
        node.reason = f"primary of timeline {me.timeline}"
        if node.handing_over_to and time.monotonic() - self._handing_since > _HANDOVER_SECONDS:
            node.handing_over_to = None
        if (acts.missing_slots() or acts.lost_slots()) and time.monotonic() >= self._slots_at:
            # What cannot be made, on a disk that is full, keeps nothing else from being done.
            self._slots_at = time.monotonic() + _SLOTS_AGAIN_SECONDS
            self.begin("tend the slots", acts.tend_primary)
            return
        status = node.here.observer.look.status
        if self._in_force and status and status.synchronous != self._in_force.names:
            self._in_force = None
        change = change_quorum(me, heard, node.rules, self._in_force, node.config.continue_alone)
        # Who comes back waits until it is known since when commits wait for it.
        unknown = self._checkpoint_due or (bool(me.quorum.out) and self._in_force is None)
        wanted = change.synchronous
        differs = wanted is not None and status is not None and (status.synchronous != wanted or unknown)
        if wanted is not None and differs and time.monotonic() >= self._wait_again_at:
            node.say("quorum", f"Commits wait for {wanted or 'no standby'}: {change.reason}", WARNING)
            self.begin("set whom commits wait for", lambda: self._make_wait(wanted))
        elif change.quorum is not None and not differs:
            node.memory.learned(change.quorum)
            node.say("quorum", change.reason, WARNING)
        else:
            self._look_after(me, heard)

    def _look_after(self, me: NodeState, heard: Heards) -> None:
        """What a primary in peace does: see that its disk has room, and that repmgr knows it."""
        node, now = self.node, time.monotonic()
        target = roomier(me, heard, node.rules)
        if target and node.rules.automatic and now - self._handing_since > _HANDOVER_AGAIN_SECONDS:
            free_mib = (me.disk_free_bytes or 0) // 2**20
            node.say("disk", f"The disk of the data has {free_mib} MiB left, so {target} takes over", ERROR)
            self.hand_over(target)
        elif node.config.catalogue_database and self._catalogued != me.timeline and now >= self._catalogue_at:
            self._catalogue_at = now + _CATALOGUE_AGAIN_SECONDS
            self.begin("bring repmgr's catalogue up to date", self._catalogue)

    def _catalogue(self) -> None:
        if self.acts.tend_catalogue():
            self._catalogued = self.node.me().timeline

    def _make_wait(self, names: str) -> None:
        node = self.node
        before = node.here.observer.look.status
        # A guard that has just started does not know whether the one before it came so far.
        unsaid = self._in_force is None or bool(before and not before.synchronous)
        self._checkpoint_due = bool(names) and (self._checkpoint_due or unsaid)
        node.here.server.set_synchronous(names, 3.0)
        if self._checkpoint_due:
            # One that fails keeps nothing else from being done, such as giving way because of the disk.
            self._wait_again_at = time.monotonic() + _WAIT_AGAIN_SECONDS
            # Whether commits wait at all is the checkpointer's to set, and it may be in the middle of a checkpoint: after another one it has.
            node.here.server.checkpoint(_CHECKPOINT_SECONDS)
            self._checkpoint_due, self._wait_again_at = False, 0.0
        # Every walsender has read the setting by the look after the next.
        look = node.here.observer.after(time.monotonic() + 0.5, 3.0)
        self._in_force = InForce(names, look.rank.lsn) if look.rank else None

    def _stopped_by_somebody(self) -> bool:
        """Whether it is at the end of a stop in order that no act of ours began."""
        control = self.node.here.observer.look.control
        return self._was_running and control is not None and control.shut_down

    def _revive(self) -> None:
        node, look = self.node, self.node.here.observer.look
        if look.pid is not None:
            # It is of before the end, and cannot say whether that was in order.
            node.here.observer.wake()
            return
        if self._stopped_by_somebody():
            self._was_running, self._left_alone_since = False, time.monotonic()
            node.say(
                "start",
                "PostgreSQL was stopped in order by somebody else, and is left alone until it is started",
                WARNING,
            )
        # What the guard itself killed after that had been started by somebody, who wants it to run.
        if self._left_alone_since is not None and self.acts.killed_at < self._left_alone_since:
            node.reason = "PostgreSQL was stopped in order; start its unit when it is to run again"
            return
        if time.monotonic() - self.acts.started_at < _START_AGAIN_SECONDS:
            return
        if look.control:
            verdict = judge(node.config, node.here.data, look.control, node.memory)
            if not verdict.allowed:
                node.reason = f"PostgreSQL does not start: {verdict.reason}"
                node.say("start", node.reason, ERROR)
                return
        node.reason = "PostgreSQL is not running"
        self.begin("start", lambda: self.acts.start("it is not running"))

    def _serve(self, me: NodeState, heard: Heards) -> None:
        """A node that is no primary: follow one, or stand where there is none."""
        node = self.node
        empty = vacancy(me, heard, node.rules, time.monotonic() - node.started_at)
        if not empty.vacant:
            self._vacant_since = None
            self._follow(me, heard)
            return
        if self._vacant_since is None:
            self._vacant_since = time.monotonic()
            node.say("vacancy", f"There is no primary to follow: {empty.reason}", WARNING)
        self._unserved_since = None
        wanted = any(
            one.state and one.state.handing_over_to == me.node and one.age_seconds < node.rules.handover_seconds
            for one in heard.values()
        )
        # Alone in its quorum it is by an operator's word, who wants it to go on.
        if not node.rules.automatic and not wanted and node.rules.members(me.quorum) != (me.node,):
            node.reason = "automatic failover is off; promote by a handover or switch it on"
            return
        if time.monotonic() < self.stands_back_until:
            node.reason = "an operator has fenced this node, so it leaves the election to others for a minute"
            return
        now = time.monotonic()
        verdict = stand(me, heard, node.rules, now - self._vacant_since, self._promised_seconds())
        node.reason = verdict.reason
        if verdict.now and verdict.ballot:
            ballot = verdict.ballot
            self.begin("be elected", lambda: self.ballots.stand(ballot))
        elif not verdict.now:
            node.say("stand", f"Not standing: {verdict.reason}")

    def _follow(self, me: NodeState, heard: Heards) -> None:
        node, acts = self.node, self.acts
        node.handing_over_to = None
        verdict = self._way(me, heard)
        node.reason = verdict.reason
        unserved = self._unserved(verdict.action, me)
        if verdict.action == "refuse":
            node.say("role", verdict.reason, ERROR)
        elif verdict.action == "none":
            self._settle(me, verdict)
        elif verdict.action == "follow" and me.upstream == verdict.source and not verdict.drop_timelines:
            if unserved > _COPY_AFTER_SECONDS:
                node.say(
                    "role",
                    f"Nothing has come from {verdict.source} for {unserved:.0f} s, so a fresh copy is taken",
                    WARNING,
                )
                self.begin("copy", lambda: acts.clone(verdict), _COPY_PAUSE_SECONDS)
        elif verdict.action == "follow":
            self.begin("follow", lambda: acts.follow(verdict))
        elif verdict.action == "rewind" and me.role == "standby":
            self.begin("rewind", lambda: acts.rewind(verdict))
        elif verdict.action == "clone":
            self.begin("copy", lambda: acts.clone(verdict), _COPY_PAUSE_SECONDS)

    def _way(self, me: NodeState, heard: Heards) -> Upstream:
        """What this node does to be a standby of the primary, also where it cannot find the end of its WAL without one.

        Killed just after it had begun to receive a new timeline, it has that one's first segment in part, reads no other, and waits for the rest.
        What its data needs to be consistent says then whom it may follow. Others hear nothing of that: a vote counts what a node has.
        """
        node, look, rewind_failed = self.node, self.node.here.observer.look, self.acts.rewind_failed
        needs = look.control.consistent_at if look.control else None
        if me.role != "starting" or not me.joined or needs is None or me.since_seconds < _STUCK_SECONDS:
            return upstream(me, heard, node.rules, look.timelines, rewind_failed)
        wants = me._replace(joined=False, timeline=needs.timeline, lsn=needs.lsn)
        verdict, now = upstream(wants, heard, node.rules, look.timelines, rewind_failed), time.monotonic()
        if verdict.action == "clone" or (verdict.source == self._led_to and now < self._lead_again_at):
            # It may only replay for long, and its data counts: to give it up takes a person.
            return verdict._replace(action="wait")
        self._led_to, self._lead_again_at = verdict.source, now + _LEAD_AGAIN_SECONDS
        return verdict

    def _settle(self, me: NodeState, verdict: Upstream) -> None:
        """What a standby does that is where it should be."""
        acts = self.acts
        if verdict.promise:
            acts.promise(verdict)
        status, names = self.node.here.observer.look.status, synchronous_names(self.node.rules, me.quorum)
        if acts.orphan_slots():
            self.begin("tend the slots", acts.tend_standby)
        elif me.streaming and not self.node.here.control.in_unit():
            self.begin("restart in its unit", acts.restart_in_unit)
        elif status and status.synchronous != names and (names != self._told[0] or time.monotonic() >= self._told[1]):
            # Its copy has what the primary had at that time. Whom commits wait for once it is primary, its checkpointer is to know long before.
            self._told = (names, time.monotonic() + _TELL_AGAIN_SECONDS)
            self.begin("set whom commits would wait for", lambda: acts.would_wait_for(names))

    def _unserved(self, action: str, me: NodeState) -> float:
        """For how long a standby that should stream has not."""
        if action != "follow" or me.streaming or me.role != "standby":
            self._unserved_since = None
            return 0.0
        self._unserved_since = self._unserved_since or time.monotonic()
        return time.monotonic() - self._unserved_since

    def _join(self, me: NodeState, heard: Heards) -> None:
        # What was copied or rewound counts once it is whole: a server that is not consistent yet serves nobody.
        if me.system_identifier and joins(me, heard, self.node.rules):
            self.node.memory.has_joined(me.system_identifier)

    def _note_promise(self) -> None:
        promise = self.node.memory.promise
        if promise != self._promise:
            self._promise, self._promised_at = promise, time.monotonic()

    def _promised_seconds(self) -> t.Optional[float]:
        return None if self._promised_at is None else time.monotonic() - self._promised_at

    def _wait(self, seconds: float) -> None:
        postgres = self.node.postgres
        if postgres:
            postgres.observer.process.wait_end(self._wake_descriptor, seconds)
        else:
            time.sleep(seconds)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_descriptor)
