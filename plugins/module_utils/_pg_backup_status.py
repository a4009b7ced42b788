# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How backups stand: what is judged, and what Prometheus is told."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_instance import ask_primary
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_restore import Restore
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import BackupError
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import lsn_text, parse_lsn

REPORT = "drill.json"
_ARCHIVER = (
    "SELECT pg_current_wal_lsn(), coalesce(last_failed_wal, ''), extract(epoch FROM now() - last_failed_time),"
    " extract(epoch FROM now() - last_archived_time) FROM pg_stat_archiver"
)
_CLUSTER = "SELECT system_identifier FROM pg_control_system()"
_RECEIVING = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'escala_receiver'"

# What WAL of some minutes takes. Where the disk is full nobody can say what a backup takes, since to look at one takes room too.
_LEAST_FREE_BYTES = 64 << 20


class Archiver(t.NamedTuple):
    """What the primary says of its archiving. Ages are in seconds, None for never."""

    written_lsn: int
    failed_age: t.Optional[float]
    archived_age: t.Optional[float]
    last_failed: str

    @property
    def failing(self) -> bool:
        """Whether its last try failed."""
        return self.failed_age is not None and (self.archived_age is None or self.failed_age < self.archived_age)


class Standing(t.NamedTuple):
    """What is known at one moment. Ages are in seconds, None where there is none."""

    backup_age: t.Optional[float]
    # Of the last drill that passed.
    drill_age: t.Optional[float]
    drill_passed: t.Optional[bool]
    drill_why: str
    archiver: t.Optional[Archiver]
    archiver_why: str
    # All WAL before this position is in the archive, and how long ago its last segment was written.
    archived_lsn: t.Optional[int]
    archived_age: t.Optional[float]
    gaps: t.Sequence[str]
    faults: t.Sequence[str]
    free_bytes: t.Optional[int]
    # What the last backup takes.
    needed_bytes: int
    receiving: t.Optional[bool]


class Limits(t.NamedTuple):
    """In seconds."""

    backup_age: float
    drill_age: float
    archive_lag: float


def problems(seen: Standing, limits: Limits, segment_bytes: int) -> t.List[str]:
    """What is wrong, in words that say what to do; empty where a restore would go well."""
    found = [*seen.faults]
    if seen.backup_age is None:
        found.append(
            "there is no backup that can be restored; run `systemctl start escala-pg-backup` on the backup host"
        )
    elif seen.backup_age > limits.backup_age:
        found.append(
            f"the last good backup is {_hours(seen.backup_age)} old, and may be {_hours(limits.backup_age)}; see `journalctl -u escala-pg-backup`"
        )
    if seen.gaps:
        found.append(
            f"WAL is missing between segments that are there: {', '.join(list(seen.gaps)[:3])}; make a full backup, for none before reaches past it"
        )
    found += _archiving(seen, limits, segment_bytes)
    if seen.drill_passed is False:
        found.append(f"the last drill failed: {seen.drill_why}")
    elif seen.drill_age is None:
        found.append("no backup has been restored yet; run playbooks/drill_restore.yml")
    if seen.drill_age is not None and seen.drill_age > limits.drill_age:
        found.append(
            f"the last drill that passed is {_hours(seen.drill_age)} ago, and may be {_hours(limits.drill_age)}; run playbooks/drill_restore.yml"
        )
    if seen.free_bytes is not None and seen.free_bytes < max(2 * seen.needed_bytes, _LEAST_FREE_BYTES):
        found.append(
            f"{seen.free_bytes >> 20} MiB are free where backups are kept, and one takes {seen.needed_bytes >> 20} MiB; make room or keep fewer"
        )
    if seen.receiving is False:
        found.append("WAL is not being received; see `journalctl -u escala-pg-receive`")
    return found


def _archiving(seen: Standing, limits: Limits, segment_bytes: int) -> t.List[str]:
    archiver = seen.archiver
    if archiver is None:
        return [f"the primary cannot be asked how far it has written: {seen.archiver_why}"]
    found = []
    if archiver.failing:
        found.append(
            f"the primary cannot archive {archiver.last_failed}; its log says why, and its disk fills until then"
        )
    if seen.archived_lsn is not None:
        behind = archiver.written_lsn - seen.archived_lsn
        if behind > segment_bytes and (seen.archived_age or 0.0) > limits.archive_lag:
            found.append(
                f"the archive is {behind >> 20} MiB and {seen.archived_age:.0f} s behind the primary, and may be {limits.archive_lag:.0f} s"
            )
    return found


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h"


def exposition(seen: Standing, found: t.Sequence[str]) -> str:
    """For Prometheus; what is not known has no line."""
    behind = (
        max(0, seen.archiver.written_lsn - seen.archived_lsn)
        if seen.archiver and seen.archived_lsn is not None
        else None
    )
    values: t.List[t.Tuple[str, str, t.Optional[float]]] = [
        ("backup_age_seconds", "Age of the last backup that can be restored.", seen.backup_age),
        ("backup_drill_age_seconds", "Time since a restored backup last passed its drill.", seen.drill_age),
        ("backup_drill_passed", "Whether the last drill passed.", _number(seen.drill_passed)),
        ("backup_archive_behind_bytes", "WAL that is written and not in the archive.", behind),
        ("backup_archive_age_seconds", "Time since the archive's last segment was written.", seen.archived_age),
        ("backup_archive_gaps", "Segments that are missing between others.", float(len(seen.gaps))),
        (
            "backup_archive_failing",
            "Whether the primary's last try to archive failed.",
            _number(seen.archiver.failing if seen.archiver else None),
        ),
        ("backup_free_bytes", "What is free where backups are kept.", seen.free_bytes),
        ("backup_stored_bytes", "What the last backup takes as it is kept.", float(seen.needed_bytes)),
        ("backup_receiving", "Whether WAL is received as it is written.", _number(seen.receiving)),
        ("backup_problems", "How much is wrong with the backups.", float(len(found))),
    ]
    lines = []
    for name, help_text, value in values:
        if value is not None:
            lines += [f"# HELP escala_{name} {help_text}", f"# TYPE escala_{name} gauge", f"escala_{name} {value:g}"]
    return "\n".join(lines) + "\n"


def _number(value: t.Optional[bool]) -> t.Optional[float]:
    return None if value is None else float(value)


def look(config: Config, now: float) -> t.Tuple[Standing, int]:
    """What is known at this moment, and the size of a segment in bytes. What cannot be known is said, and nothing is raised."""
    archiver, archiver_why, receiving, cluster = None, "", None, None
    try:
        lsn, failed, failed_age, archived_age = ask_primary(config, _ARCHIVER).split("|")
        archiver = Archiver(parse_lsn(lsn), _age(failed_age), _age(archived_age), failed)
        cluster = int(ask_primary(config, _CLUSTER))
        receiving = ask_primary(config, _RECEIVING) != "0" if config.receiver_slot else None
    except (BackupError, ValueError) as error:
        archiver_why = str(error)
    backup_age = archived_lsn = segment_age = None
    gaps: t.List[str] = []
    needed_bytes, segment_bytes = 0, 1 << 24
    try:
        restore = Restore(config)
        archive, records, written, faults = restore.archive()
        faults += strangers(cluster, restore.wal.owner())
        segment_bytes = archive.segment_bytes
        needed_bytes = max((record.stored_bytes for record in records.values()), default=0)
        gaps = [one.name(segment_bytes) for one in archive.gaps()]
        best, reach = archive.best()
        backup_age, archived_lsn = now - best.stopped_at, reach.until_lsn
        segments = [one.name(segment_bytes) for one in archive.segments if one.number * segment_bytes < reach.until_lsn]
        segment_age = now - max((written[name] for name in segments), default=best.stopped_at)
    except (BackupError, OSError, ValueError) as error:
        faults = [str(error)]
    drill = _drill(config)
    seen = Standing(
        backup_age=backup_age,
        drill_age=now - drill["passed_at"] if drill.get("passed_at") else None,
        drill_passed=drill.get("passed"),
        drill_why=str(drill.get("why", "")),
        archiver=archiver,
        archiver_why=archiver_why,
        archived_lsn=archived_lsn,
        archived_age=segment_age,
        gaps=gaps,
        faults=faults,
        free_bytes=_free(config),
        needed_bytes=needed_bytes,
        receiving=receiving,
    )
    return seen, segment_bytes


def strangers(cluster: t.Optional[int], owner: t.Optional[int]) -> t.List[str]:
    """Whether the archive is another cluster's than the one that runs: nothing of what it has is of any use to that."""
    if cluster is None or owner is None or cluster == owner:
        return []
    why = f"the archive is of cluster {owner}, and the one that runs is {cluster}: nothing of that is kept"
    return [
        f"{why}; give it a directory of its own (postgresql_backup_directory), and keep the old one for as long as it is needed"
    ]


def told(seen: Standing, found: t.Sequence[str]) -> t.Dict[str, t.Any]:
    """What `status` prints."""
    return {
        "problems": list(found),
        "backup_age_seconds": seen.backup_age,
        "drill_age_seconds": seen.drill_age,
        "drill_passed": seen.drill_passed,
        "archived_lsn": None if seen.archived_lsn is None else lsn_text(seen.archived_lsn),
        "written_lsn": None if seen.archiver is None else lsn_text(seen.archiver.written_lsn),
        "archive_age_seconds": seen.archived_age,
        "gaps": list(seen.gaps),
        "free_bytes": seen.free_bytes,
        "stored_bytes": seen.needed_bytes,
        "receiving": seen.receiving,
    }


def write_metrics(file: str, text: str) -> None:
    """Have the file be the new one at once, as the node exporter asks for."""
    draft = f"{file}.{os.getpid()}"
    with open(draft, "w", encoding="utf-8") as out:
        out.write(text)
    os.chmod(draft, 0o644)
    os.replace(draft, file)


def _drill(config: Config) -> t.Dict[str, t.Any]:
    try:
        with open(config.work(REPORT), encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return {}


def _free(config: Config) -> t.Optional[int]:
    try:
        space = os.statvfs(str(config.directory or config.work_directory))
    except OSError:
        return None
    return space.f_bavail * space.f_frsize


def _age(text: str) -> t.Optional[float]:
    return float(text) if text else None
