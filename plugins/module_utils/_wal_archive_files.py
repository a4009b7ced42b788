# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive of WAL and its base backups in a directory, and what is said of them.

The directory has `wal`, with files as PostgreSQL names them or as the backup host keeps them, and `backups`, with a directory for each that has a record,
`backup.json`, and PostgreSQL's `backup_manifest` where the record does not say which WAL the backup needs.
"""

from __future__ import annotations

import json
import os
import re
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import BackupError, Seal
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import (
    History,
    history_timeline,
    lsn_text,
    parse_history,
    parse_lsn,
)
from ansible_collections.escala.ha.plugins.module_utils._wal_archive import (
    Archive,
    Backup,
    Segment,
    backup_of,
    on_line,
    partial_of,
    segment_of,
)

_KEPT_AS = re.compile(r"(?:-[0-9a-f]{40})?(?:\.zst|\.lz4|\.gz)(?:\.age)?\Z")
_SEGMENT_BYTES = [2**power for power in range(20, 31)]


class File(t.NamedTuple):
    """One file of the archive, by the name that PostgreSQL gave it."""

    stored_as: str
    size_bytes: int
    # When its last byte was written, in seconds since 1970: what was committed before that is in it or in an earlier one.
    written_at: float
    path: str


class WalFiles(t.NamedTuple):
    """What is in `wal`."""

    files: t.Dict[str, File]
    histories: t.Dict[int, History]
    segment_bytes: int
    # What is not as PostgreSQL writes it, in words.
    faults: t.List[str]


def original(name: str) -> str:
    """A file's name as PostgreSQL gave it: without digest, compression and encryption."""
    return _KEPT_AS.sub("", name)


def read_wal(directory: str, identity_file: t.Optional[str] = None) -> WalFiles:
    """What is there, in the directory and in those below it; raises OSError for a directory that cannot be read."""
    files: t.Dict[str, File] = {}
    faults = []
    for folder in [directory, *(entry.path for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False))]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                    name, seen = original(entry.name), entry.stat(follow_symlinks=False)
                    if name in files:
                        faults.append(f"{name} is there twice, as {files[name].stored_as} and {entry.name}")
                    files[name] = File(entry.name, seen.st_size, seen.st_mtime, entry.path)
    histories, unusable = _histories(files, identity_file)
    faults += unusable
    segment_bytes = _segment_bytes(files)
    for name, file in sorted(files.items()):
        if segment_of(name, segment_bytes) and file.stored_as == name and file.size_bytes != segment_bytes:
            faults.append(f"{name} has {file.size_bytes} bytes and not {segment_bytes}: it is damaged or half written")
    return WalFiles(files, histories, segment_bytes, faults)


def _histories(
    files: t.Mapping[str, File], identity_file: t.Optional[str]
) -> t.Tuple[t.Dict[int, History], t.List[str]]:
    found, faults = {}, []
    for name, timeline in ((name, history_timeline(name)) for name in files):
        if timeline is not None:
            try:
                history = parse_history(_text(files[name], identity_file))
            except (BackupError, OSError, ValueError) as error:
                faults.append(f"{name} cannot be used: {error}")
            else:
                # An empty one is a stub of the guard's, and no timeline.
                found.update({timeline: history} if history else {})
    return found, faults


def _text(file: File, identity_file: t.Optional[str]) -> str:
    if file.stored_as == original(file.stored_as):
        with open(file.path, encoding="utf-8") as stream:
            return stream.read()
    with Seal(None, identity_file).open(file.path) as content:
        return content.read().decode("utf-8")


def _segment_bytes(files: t.Mapping[str, File]) -> int:
    """The size of a segment, by most of those that are not compressed; 16 MiB, PostgreSQL's own, where there are none."""
    sizes = [file.size_bytes for name, file in files.items() if file.stored_as == name and segment_of(name, 2**20)]
    known = [size for size in sizes if size in _SEGMENT_BYTES]
    return max(set(known), key=known.count) if known else 2**24


def read_backups(directory: str) -> t.Tuple[t.List[Backup], t.List[str]]:
    """The backups, and what is wrong with others, in words. A directory that is not there has none."""
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    read = [_read_backup(os.path.join(directory, name), name) for name in names]
    return [one for one in read if isinstance(one, Backup)], [one for one in read if isinstance(one, str)]


def _read_backup(directory: str, name: str) -> t.Union[Backup, str]:
    try:
        with open(os.path.join(directory, "backup.json"), encoding="utf-8") as stream:
            record = json.load(stream)
        if "wal_ranges" in record:
            manifest = {"WAL-Ranges": record["wal_ranges"]}
        else:
            with open(os.path.join(directory, "backup_manifest"), encoding="utf-8") as stream:
                manifest = json.load(stream)
        return backup_of(name, manifest, float(record["stopped_at"]), record.get("parent"))
    except (OSError, TypeError, KeyError, ValueError, AttributeError) as error:
        # One that is being made has no record yet; it is told all the same.
        return f"backup {name} cannot be used: {type(error).__name__} {error}"


def archive_of(wal: WalFiles, backups: t.Iterable[Backup]) -> Archive:
    """The archive that decisions are made on: without what is damaged."""
    damaged = {fault.split(" ", 1)[0] for fault in wal.faults}
    found = (segment_of(name, wal.segment_bytes) for name in wal.files if name not in damaged)
    return Archive([one for one in found if one], wal.histories, backups, wal.segment_bytes)


def account(
    wal: WalFiles,
    backups: t.Sequence[Backup],
    faults: t.Sequence[str],
    timeline: t.Optional[int],
    written_lsn: t.Optional[str],
) -> t.Dict[str, t.Any]:
    """What the module says; `written_lsn` is up to where the primary has written, `timeline` is meant for the newest unless said."""
    archive = archive_of(wal, backups)
    faults = [*wal.faults, *faults]
    said: t.Dict[str, t.Any] = {
        "segment_bytes": wal.segment_bytes,
        "segments": len(archive.segments),
        "size_bytes": sum(file.size_bytes for file in wal.files.values()),
        "timelines": _timelines(archive, wal),
        "timeline": archive.newest_timeline if timeline is None else timeline,
        "gaps": [],
        "stale": [],
        "backups": [],
        "lag_bytes": None,
    }
    try:
        line = archive.line(said["timeline"])
        said["gaps"] = [one.name(wal.segment_bytes) for one in archive.gaps()]
        said["stale"] = [one.name(wal.segment_bytes) for one in archive.stale()]
        said["backups"] = [
            _backup(archive, wal, one, said["timeline"])
            for one in sorted(backups, key=lambda one: one.stopped_at, reverse=True)
        ]
        on_way = [one.number for one in archive.segments if on_line(one.number, line) == one]
        if written_lsn is not None and on_way:
            said["lag_bytes"] = max(0, parse_lsn(written_lsn) - (max(on_way) + 1) * wal.segment_bytes)
    except ValueError as error:
        faults.append(str(error))
    said["faults"] = faults
    restorable = [one for one in said["backups"] if one["restorable"]]
    said["from_time"] = min((one["from_time"] for one in restorable), default=None)
    said["until_time"] = max((one["until_time"] for one in restorable), default=None)
    return said


def _timelines(archive: Archive, wal: WalFiles) -> t.List[t.Dict[str, t.Any]]:
    said = []
    for timeline in sorted({one.timeline for one in archive.segments} | set(archive.histories)):
        numbers = [one.number for one in archive.segments if one.timeline == timeline]
        history = archive.histories.get(timeline)
        said.append(
            {
                "timeline": timeline,
                "begins_at": lsn_text(history[-1][1]) if history else None,
                "first": Segment(timeline, min(numbers)).name(wal.segment_bytes) if numbers else None,
                "last": Segment(timeline, max(numbers)).name(wal.segment_bytes) if numbers else None,
                "segments": len(numbers),
                "partial": sorted(
                    name
                    for name in wal.files
                    for one in [partial_of(name, wal.segment_bytes)]
                    if one and one.timeline == timeline
                ),
            }
        )
    return said


def _backup(archive: Archive, wal: WalFiles, backup: Backup, timeline: int) -> t.Dict[str, t.Any]:
    reach = archive.reach(backup, timeline)
    why = reach.why
    try:
        archive.chain(backup)
        whole = True
    except ValueError as error:
        whole, why = False, str(error)
    last = on_line(max(reach.until_lsn // wal.segment_bytes - 1, 0), archive.line(timeline))
    written_at = wal.files[last.name(wal.segment_bytes)].written_at if last in archive.segments else 0.0
    restorable = whole and reach.possible
    return {
        "name": backup.name,
        "parent": backup.parent,
        "timeline": backup.timeline,
        "start_lsn": lsn_text(backup.start_lsn),
        "stop_lsn": lsn_text(backup.stop_lsn),
        "restorable": restorable,
        "until_lsn": lsn_text(reach.until_lsn),
        "from_time": backup.stopped_at if restorable else None,
        "until_time": max(written_at, backup.stopped_at) if restorable else None,
        "missing": reach.gap.name(wal.segment_bytes) if reach.gap else None,
        "why": why,
    }
