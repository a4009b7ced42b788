# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch the node's own PostgreSQL from a thread that may hang with it, so that the one who decides never does."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import Control, DataDirectory
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_sql import Server, Status
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import History, Rank

# While something changes, the server is asked more often than it is in peace.
_BUSY_SECONDS = 0.1


class Look(t.NamedTuple):
    """What was last known of the server; `at` is when it was asked, by the monotonic clock.

    `status` is what it last answered since this process started, None before its first answer; `error` why there is no newer one.
    `timelines` have a history file in pg_wal, `history` is the one of the rank's timeline.
    """

    at: float = 0.0
    control: t.Optional[Control] = None
    pid: t.Optional[int] = None
    status: t.Optional[Status] = None
    rank: t.Optional[Rank] = None
    rank_final: bool = False
    history: History = ()
    timelines: t.Tuple[int, ...] = ()
    error: str = ""
    free_bytes: t.Optional[int] = None


def judge_final(status: Status, before: t.Optional[Look], pid: int) -> bool:
    """Whether the position counts all that this disk has: what lies in pg_wal and was not yet replayed is not in it."""
    if not status.in_recovery or status.received_lsn is not None:
        return True
    last = before.status if before and before.pid == pid else None
    return bool(last and status.waits_for_wal and last.waits_for_wal and last.replayed_lsn == status.replayed_lsn)


class Observer:
    """The last look, whether the process still lives, and for how long it has not answered. `seen` is called after each look."""

    def __init__(
        self,
        data: DataDirectory,
        server: Server,
        interval_seconds: float,
        hung_seconds: float,
        seen: t.Callable[[], None],
    ) -> None:
        self._data = data
        self._server = server
        self._interval_seconds = interval_seconds
        self._hung_seconds = hung_seconds
        self._seen = seen
        self._look = Look()
        self._asked_since: t.Optional[float] = None
        self._again = threading.Event()
        self._looked = threading.Condition()
        self._busy_until = 0.0
        self._histories: t.Dict[int, History] = {}
        self.process = Process()

    @property
    def look(self) -> Look:
        return self._look

    def lives(self) -> bool:
        """Whether the server's process, as it was last seen, still lives; asks the kernel and nothing else."""
        return self.process.lives(self._look.pid)

    def silent_seconds(self) -> float:
        """For how long the server has been asked without an answer; 0 while it answers, and while there is none."""
        asked_since = self._asked_since
        return time.monotonic() - asked_since if asked_since is not None and self.lives() else 0.0

    def wake(self, busy_seconds: float = 0.0) -> None:
        """Look again now, and often for a while when something is about to change."""
        self._busy_until = max(self._busy_until, time.monotonic() + busy_seconds)
        self._again.set()

    def after(self, moment: float, limit_seconds: float) -> Look:
        """The first look that was begun after a moment; raises TimeoutError when none comes within the limit."""
        self.wake(limit_seconds)
        with self._looked:
            if not self._looked.wait_for(lambda: self._look.at >= moment, limit_seconds):
                raise TimeoutError("the server was not seen in time")
            return self._look

    def run(self) -> None:
        """Look for ever."""
        while True:
            self._again.clear()
            try:
                found = self.look_once()
            except (OSError, ValueError, KeyError) as error:
                # A disk that cannot be read, or a file that makes no sense, says nothing of what is there.
                found = self._look._replace(at=time.monotonic(), rank_final=False, error=str(error))
            with self._looked:
                self._look = found
                self._looked.notify_all()
            self._seen()
            busy = time.monotonic() < self._busy_until
            self._again.wait(_BUSY_SECONDS if busy else self._interval_seconds)

    def look_once(self) -> Look:
        """Ask files and server, and return what they say; remembers since when the server has not answered."""
        before, at = self._look, time.monotonic()
        # From the first file on: a disk that hangs stops whoever reads, and must not look like a server that was not asked.
        if self._asked_since is None and self.lives():
            self._asked_since = at
        control, pid = self._data.control(), self._data.postmaster()
        if pid is None:
            self._asked_since = None
            self.process.watch(None)
            return Look(at, control)
        self.process.watch(pid)
        if self._asked_since is None:
            self._asked_since = at
        try:
            status = self._server.status(self._hung_seconds)
        except SessionError as error:
            # An error is an answer: a server that hangs says nothing at all.
            if error.kind != "limit":
                self._asked_since = None
            known = before if before.pid == pid else Look()
            return known._replace(at=at, control=control, pid=pid, rank_final=False, error=str(error))
        rank = self._rank(status)
        final = rank is not None and judge_final(status, before, pid)
        found = Look(
            at,
            control,
            pid,
            status,
            rank,
            final,
            self._history(rank),
            self._data.timelines(),
            free_bytes=self._data.free_bytes(),
        )
        self._asked_since = None
        return found

    def _rank(self, status: Status) -> t.Optional[Rank]:
        if status.lsn is None:
            return None
        if status.written_timeline is not None:
            return Rank(status.written_timeline, status.lsn)
        with contextlib.suppress(ValueError):
            return self._data.rank_at(status.lsn)
        return None

    def _history(self, rank: t.Optional[Rank]) -> History:
        if rank is None:
            return ()
        if rank.timeline not in self._histories:
            self._histories = {rank.timeline: self._data.history(rank.timeline)}
        return self._histories[rank.timeline]


class Process:
    """The server's process by a descriptor of the kernel's, which cannot be mistaken for another that got its number."""

    def __init__(self) -> None:
        self._pid: t.Optional[int] = None
        self._descriptor: t.Optional[int] = None
        self._lock = threading.Lock()

    def watch(self, pid: t.Optional[int]) -> None:
        """Watch this process from now on, or none."""
        with self._lock:
            if pid == self._pid:
                return
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._pid, self._descriptor = pid, None
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._descriptor = os.pidfd_open(pid)

    def lives(self, pid: t.Optional[int]) -> bool:
        """Whether it lives; any other process than the watched one does not."""
        with self._lock:
            if pid is None or pid != self._pid or self._descriptor is None:
                return False
            return not select.select([self._descriptor], [], [], 0)[0]

    def wait_end(self, also: int, limit_seconds: float) -> None:
        """Return when it ends, when the descriptor `also` has something to read, or when the limit is over."""
        with self._lock:
            descriptor = os.dup(self._descriptor) if self._descriptor is not None else None
        # One that has ended stays readable, and would have the caller turn without a pause.
        wanted = [also] if descriptor is None or select.select([descriptor], [], [], 0)[0] else [also, descriptor]
        try:
            select.select(wanted, [], [], limit_seconds)
        finally:
            if descriptor is not None:
                os.close(descriptor)
