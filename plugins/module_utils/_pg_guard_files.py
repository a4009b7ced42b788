# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL's data directory says without a server: who it belongs to, its timelines, its settings for replication."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import threading
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_guard_promise import replace, sync_directory
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import (
    History,
    Rank,
    history_name,
    history_timeline,
    parse_history,
    rank_of,
    stubs_left,
    stubs_needed,
)

# pg_control has the system identifier, the cluster's state, the timeline of its last checkpoint, and the position and timeline before which the
# data is not consistent.
_CONTROL = struct.Struct("=Q8xI28xI84xQI")
_SHUT_DOWN = (1, 2)
# Shut down, shutting down, in production: what a server says of itself that was last out of recovery.
_OUT_OF_RECOVERY = (1, 3, 6)
_OF_TIMELINE = re.compile(r"([0-9A-F]{8})(?:[0-9A-F]{16}(?:\.partial)?|\.history)")
_UPSTREAM = ("primary_conninfo", "primary_slot_name")
_SETTING = re.compile(rf"\s*({'|'.join(_UPSTREAM)})\s*=\s*'(.*)'\s*")


class Control(t.NamedTuple):
    """What pg_control says of a data directory.

    `written_on` is the timeline on which its own server was out of recovery when it last ran, None where it was a standby.
    """

    system_identifier: str
    shut_down: bool
    consistent_at: t.Optional[Rank]
    written_on: t.Optional[int] = None


class DataDirectory:
    """A data directory, whether its server runs or not. What is written belongs to the directory's owner and is on the disk at return."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.wal = os.path.join(path, "pg_wal")
        self._hand = threading.Lock()
        self._held: t.Optional[t.IO[bytes]] = None
        # Beside the directory, since pg_rewind removes from it what the source does not have.
        self.rewind_mark = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.rewind")

    def control(self) -> t.Optional[Control]:
        """What pg_control says, None where there is no data, or none that can be used."""
        if os.path.exists(self.rewind_mark):
            return None
        try:
            with open(os.path.join(self.path, "global", "pg_control"), "rb") as file:
                identifier, state, checkpoint, lsn, timeline = _CONTROL.unpack(file.read(_CONTROL.size))
        except (FileNotFoundError, NotADirectoryError, struct.error):
            return None
        # What was copied says what its source was. A promotion has a history before it has a checkpoint.
        copied = os.path.exists(os.path.join(self.path, "backup_label"))
        wrote = state in _OUT_OF_RECOVERY and not copied
        return Control(
            str(identifier),
            state in _SHUT_DOWN,
            Rank(timeline, lsn) if lsn else None,
            max(checkpoint, *self.timelines(), 0) if wrote else None,
        )

    def hold_archiving(self, wanted: bool) -> None:
        """Have archive_command begin nothing, or go on: it asks whether somebody holds this file's lock.

        A server that stops waits for its archiver, and the one that takes over has better to do meanwhile. What is left to archive each has, and does
        so afterwards. The lock ends with the process that holds it, whatever happens; where it cannot be had at once there is none.
        """
        with self._hand:
            if wanted and self._held is None:
                with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
                    file = opened.enter_context(open(os.path.join(self.path, "PG_VERSION"), "rb"))
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._held = file
                    opened.pop_all()
            elif not wanted and self._held is not None:
                self._held.close()
                self._held = None

    def free_bytes(self) -> t.Optional[int]:
        """The room on the disk that PostgreSQL may use, of WAL or data whichever has less; None where there is no data."""
        try:
            disks = [os.statvfs(path) for path in (self.path, self.wal)]
        except (FileNotFoundError, NotADirectoryError):
            return None
        return min(disk.f_bavail * disk.f_frsize for disk in disks)

    def postmaster(self) -> t.Optional[int]:
        """The process that postmaster.pid names, where it lives."""
        try:
            with open(os.path.join(self.path, "postmaster.pid"), encoding="utf-8") as file:
                pid = int(file.readline())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        return pid if is_postgres(pid) else None

    def runs_in_unit(self, unit: str) -> bool:
        """Whether its server runs in this unit of systemd, and not in another one or on somebody's own account, as far as that can be known."""
        pid = self.postmaster()
        if pid is None:
            return True
        try:
            with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
                groups = [line.strip() for line in file if line.startswith("0::/")]
        except OSError:
            return True
        return not groups or any(group.endswith(f"/{unit}") for group in groups)

    def rank_at(self, lsn: int) -> Rank:
        """The rank of a node that is at this position; raises ValueError where no WAL file says the timeline."""
        names = self._names()
        histories = {number: self.history(number) for number in map(history_timeline, names) if number}
        return rank_of(names, lsn, histories)

    def history(self, timeline: int) -> History:
        """Where each timeline ended on the way to this one; empty for the first, and where its file is not there."""
        try:
            with open(os.path.join(self.wal, history_name(timeline)), encoding="utf-8") as file:
                return parse_history(file.read())
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def timelines(self) -> t.Tuple[int, ...]:
        """The timelines that have a history here, in order; the first never has one, and a stub is none."""
        sizes = self.history_sizes()
        return tuple(sorted(number for number in map(history_timeline, filter(sizes.get, sizes)) if number))

    def drop_timelines(self, timelines: t.Container[int]) -> t.List[str]:
        """Remove what belongs to branches that nobody follows; the server must be stopped."""
        doomed = [name for name in self._names() if file_timeline(name) in timelines]
        for name in doomed:
            os.unlink(os.path.join(self.wal, name))
        if doomed:
            sync_directory(self.wal)
        return sorted(doomed)

    def write_stubs(self, newest: int, timeline: int) -> t.List[int]:
        """Have a promotion take this timeline, and not one between it and the newest; raises ValueError where it cannot."""
        stubs = stubs_needed(newest, timeline, self._history_numbers())
        self._make(stubs)
        return stubs

    def fill_gaps(self, timeline: int) -> t.List[int]:
        """Make what standbys ask a primary for, one history for each timeline up to its own; a clone has only the last."""
        gaps = sorted(set(range(2, timeline)) - self._history_numbers())
        self._make(gaps)
        return gaps

    def remove_stubs(self) -> t.List[str]:
        """Remove stubs above the newest real history: PostgreSQL would look for its WAL on that timeline, for ever."""
        stubs = stubs_left(self.history_sizes())
        for name in stubs:
            os.unlink(os.path.join(self.wal, name))
        if stubs:
            sync_directory(self.wal)
        return stubs

    def mark_rewind(self, under_way: bool) -> None:
        """Between the two calls the data is neither the old nor the new, or a fork, and must not be started whatever happens."""
        if under_way:
            replace(self.rewind_mark, "", 0o600)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.rewind_mark)
            sync_directory(os.path.dirname(self.rewind_mark))

    def history_sizes(self) -> t.Dict[str, int]:
        """The history files in pg_wal and their sizes."""
        sizes = {}
        for name in self._names():
            if history_timeline(name):
                sizes[name] = os.stat(os.path.join(self.wal, name)).st_size
        return sizes

    def make_standby(self) -> bool:
        """See to it that the next start is one as standby; returns whether that was to be done."""
        path = os.path.join(self.path, "standby.signal")
        if os.path.exists(path):
            return False
        replace(path, "", 0o600, self._owner())
        return True

    def upstream_settings(self) -> t.Dict[str, str]:
        """The settings that say where the server streams from."""
        return {found[1]: found[2].replace("''", "'") for found in map(_SETTING.fullmatch, self._settings()) if found}

    def write_upstream(self, conninfo: str, slot: str) -> None:
        """Set where the next start streams from, with no server to do it."""
        kept = [line for line in self._settings() if not _SETTING.fullmatch(line)]
        for name, value in zip(_UPSTREAM, (conninfo, slot)):
            escaped = value.replace("'", "''")
            kept.append(f"{name} = '{escaped}'\n")
        replace(os.path.join(self.path, "postgresql.auto.conf"), "".join(kept), 0o600, self._owner())

    def _settings(self) -> t.List[str]:
        path = os.path.join(self.path, "postgresql.auto.conf")
        with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
            return [line if line.endswith("\n") else f"{line}\n" for line in file]
        return []

    def _names(self) -> t.List[str]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return os.listdir(self.wal)
        return []

    def _history_numbers(self) -> t.Set[int]:
        return {number for number in map(history_timeline, self._names()) if number}

    def _make(self, timelines: t.Iterable[int]) -> None:
        for timeline in timelines:
            replace(os.path.join(self.wal, history_name(timeline)), "", 0o600, self._owner())

    def _owner(self) -> t.Tuple[int, int]:
        found = os.stat(self.path)
        return found.st_uid, found.st_gid


def file_timeline(name: str) -> t.Optional[int]:
    """The timeline of a WAL segment or a history file, None for any other file."""
    found = _OF_TIMELINE.fullmatch(name)
    return int(found[1], 16) if found else None


def is_postgres(pid: int) -> bool:
    """Whether a process lives and is a server of PostgreSQL; its number may be another program's by now."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            name, _bracket, rest = file.read().rpartition(")")
    except OSError:
        return False
    return name.endswith("(postgres") and rest.split()[0] not in {"Z", "X"}
