# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From backups and WAL to a data directory that recovers by itself: to the archive's end, to a time, a named point or a position."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_base import Backups, Record, segment_bytes_of
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import PGBACKREST, Config
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_pgbackrest import PgBackRestBackups, PgBackRestWal
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import CHUNK_BYTES, BackupError
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_wal import StoredWal, Wal
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import (
    history_timeline,
    lsn_text,
    parse_history,
    parse_lsn,
)
from ansible_collections.escala.ha.plugins.module_utils._wal_archive import (
    Archive,
    Reach,
    is_archived,
    partial_of,
    segment_of,
)

RECEIVED = "received"
_SAID = 400


class Target(t.NamedTuple):
    """Up to where to recover; the end of the archive where all are None. A time is in seconds since 1970."""

    time: t.Optional[float] = None
    point: t.Optional[str] = None
    lsn: t.Optional[int] = None

    def __str__(self) -> str:
        if self.time is not None:
            return moment(self.time)
        if self.point is not None:
            return f"the point {self.point}"
        return "the end of the archive" if self.lsn is None else lsn_text(self.lsn)


def moment(seconds: float) -> str:
    """A time as PostgreSQL and people read it, in UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f+00")


def target_of(text: str) -> Target:
    """What `--to` says: `latest`, a time of ISO 8601 with its zone, `lsn:0/5000000`, or `point:NAME`. Raises ValueError in words."""
    kind, _colon, rest = text.partition(":")
    if text == "latest":
        return Target()
    if kind == "lsn":
        return Target(lsn=parse_lsn(rest))
    if kind == "point" and rest:
        return Target(point=rest)
    try:
        when = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise ValueError(
            f"{text!r} is neither 'latest', nor a time with its zone such as '2026-11-27 14:05:00+00:00', nor lsn:0/5000000, nor point:NAME"
        )
    return Target(time=when.timestamp())


def recovery_settings(target: Target, restore_command: str, timeline: int) -> t.Dict[str, str]:
    """PostgreSQL's settings for a recovery that ends there and then goes on as a server of its own.

    The timeline by its number: for `latest` it asks for one history after the other and stops at a number that was skipped.
    """
    settings = {"restore_command": restore_command, "recovery_target_timeline": str(timeline)}
    if target.time is not None:
        settings["recovery_target_time"] = moment(target.time)
    elif target.point is not None:
        settings["recovery_target_name"] = target.point
    elif target.lsn is not None:
        settings["recovery_target_lsn"] = lsn_text(target.lsn)
    if target != Target():
        settings["recovery_target_action"] = "promote"
    return settings


class Plan(t.NamedTuple):
    """What a restore would take, and what it would reach."""

    chain: t.List[Record]
    reach: Reach
    timeline: int
    # Up to when, at least, all that was committed is there; seconds since 1970.
    until_time: float
    # What is not in the archive yet, and is taken from what is being received.
    received: t.List[str]


class Restore:
    """What is in the store, and a way from there."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.backups: t.Union[Backups, PgBackRestBackups] = Backups(config)
        self.wal: Wal = StoredWal(config.store, config.seal, config.work_directory)
        if config.engine == PGBACKREST:
            self.backups, self.wal = PgBackRestBackups(config), PgBackRestWal(config)

    def archive(self) -> t.Tuple[Archive, t.Dict[str, Record], t.Dict[str, float], t.List[str]]:
        """What there is, the records, when each segment was written, and what is wrong."""
        records, faults = self.backups.records()
        listing = self.wal.listing()
        histories = self.wal.histories()
        segment_bytes = segment_bytes_of(records)
        names = {name: entry.written_at for name, entry in listing.items()}
        received = self._received(names)
        for name in received:
            timeline = history_timeline(name)
            if timeline is not None:
                with open(self._config.work(RECEIVED, name), encoding="utf-8") as text:
                    history = parse_history(text.read())
                if history:
                    histories.setdefault(timeline, history)
        names.update(received)
        segments = [one for one in (segment_of(name, segment_bytes) for name in names) if one]
        backups = [record.backup() for record in records.values()]
        return Archive(segments, histories, backups, segment_bytes), records, names, faults

    def _received(self, known: t.Container[str]) -> t.Dict[str, float]:
        folder = self._config.work(RECEIVED)
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            return {
                entry.name: entry.stat().st_mtime
                for entry in entries
                if is_archived(entry.name) and entry.name not in known
            }
        return {}

    def plan(self, target: Target) -> Plan:
        """What would be taken; raises BackupError that says why nothing can be, or why that target cannot be reached."""
        archive, records, written, faults = self.archive()
        try:
            backup, reach = archive.best(before=target.time)
            chain = [records[one.name] for one in archive.chain(backup)]
        except ValueError as error:
            raise BackupError("; ".join([str(error), *faults])) from error
        if target.lsn is not None and not backup.stop_lsn <= target.lsn <= reach.until_lsn:
            raise BackupError(
                f"{lsn_text(target.lsn)} cannot be reached: backup {backup.name} reaches from {lsn_text(backup.stop_lsn)}"
                f" to {lsn_text(reach.until_lsn)}, where {reach.why}"
            )
        names = [
            one.name(archive.segment_bytes)
            for one in archive.segments
            if one.number * archive.segment_bytes < reach.until_lsn
        ]
        until = max([backup.stopped_at, *(written[name] for name in names)])
        tail = [
            name
            for name in written
            for one in [partial_of(name, archive.segment_bytes)]
            if one
            and one.number == reach.until_lsn // archive.segment_bytes
            and one.timeline == archive.newest_timeline
        ]
        until = max([until, *(written[name] for name in tail)])
        if target.time is not None and target.time > until:
            raise BackupError(
                f"{moment(target.time)} cannot be reached: what is there ends at {moment(until)}, where {reach.why}; `latest` reaches that"
            )
        return Plan(chain, reach, archive.newest_timeline, until, tail)

    def unpack(self, plan: Plan, directory: str) -> None:
        """The backup's files, put together and verified, into a directory that must not be there."""
        if os.path.exists(directory):
            raise BackupError(f"{directory} is there already; move it away")
        draft = f"{directory}.unpacking"
        shutil.rmtree(draft, ignore_errors=True)
        os.makedirs(draft, 0o700)
        try:
            whole = self.backups.restore(plan.chain, draft)
            os.rename(whole, directory)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        # They are the source's, and would have this one follow its primary.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, "standby.signal"))
        with open(os.path.join(directory, "postgresql.auto.conf"), "w", encoding="utf-8"):
            pass

    def fetch(self, name: str, out: t.IO[bytes]) -> bool:
        """A file of WAL for a recovery: from the archive, or as far as it has been received; False where there is none."""
        if not is_archived(name):
            raise BackupError(f"{name!r} is no file of WAL")
        if self.wal.get(name, out):
            return True
        for received in (name, f"{name}.partial"):
            with contextlib.suppress(FileNotFoundError), open(self._config.work(RECEIVED, received), "rb") as content:
                shutil.copyfileobj(content, out, CHUNK_BYTES)
                return True
        return False
