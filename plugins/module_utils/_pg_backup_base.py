# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Base backups: made from a standby where there is one, verified before they are kept, and kept with a record that comes last."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import CHUNK_BYTES, BackupError, size_of
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_wal import chunks_of, stored
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import history_timeline
from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import controlled
from ansible_collections.escala.ha.plugins.module_utils._wal_archive import (
    Archive,
    Backup,
    Kept,
    backup_of,
    retention,
    segment_of,
)

FOLDER = "backups"
RECORD = "backup.json"
_MANIFEST = "backup_manifest"
_BASE = "base.tar"
_SAID = 400
# How PostgreSQL says that it does not know what changed since the parent, or that a standby would begin before that had ended, for little was written since.
_NOT_INCREMENTAL = ("WAL summaries are required", "manifest requires WAL from final timeline")


class Record(t.NamedTuple):
    """What is remembered of a backup, beside its manifest."""

    name: str
    parent: t.Optional[str]
    started_at: float
    stopped_at: float
    system_identifier: int
    version: int
    segment_bytes: int
    # PostgreSQL's own list of the WAL that it needs.
    wal_ranges: t.List[t.Dict[str, t.Any]]
    # What it takes as it is kept, and as files.
    stored_bytes: int
    plain_bytes: int
    # Its files in our own engine's store.
    base: str = ""
    base_sha256: str = ""
    manifest: str = ""

    def backup(self) -> Backup:
        return backup_of(self.name, {"WAL-Ranges": self.wal_ranges}, self.stopped_at, self.parent)


class Backups:
    """The backups in a store."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._store = config.store
        self._seal = config.seal

    def records(self) -> t.Tuple[t.Dict[str, Record], t.List[str]]:
        """The whole ones by name, and what is wrong with others, in words."""
        found, faults = {}, []
        for name in self._store.folders(FOLDER):
            record = self._record(name)
            if isinstance(record, str):
                faults.append(record)
            else:
                found[name] = record
        return found, faults

    def _record(self, name: str) -> t.Union[Record, str]:
        entries = self._store.names(f"{FOLDER}/{name}")
        if RECORD not in entries:
            return f"backup {name} was not finished, and the next one removes it"
        try:
            with self.fetched(f"{FOLDER}/{name}/{RECORD}") as file, open(file, encoding="utf-8") as text:
                record = Record(**json.load(text))
            record.backup()
        except (BackupError, OSError, TypeError, ValueError) as error:
            return f"backup {name} has no usable record: {error}"
        kept = entries.get(record.base)
        if kept is None or record.manifest not in entries:
            return f"backup {name} lacks {record.base if kept is None else record.manifest}"
        if kept.size_bytes != record.stored_bytes:
            return f"backup {name} is cut off: {record.base} has {kept.size_bytes} bytes and not {record.stored_bytes}"
        return record

    @contextlib.contextmanager
    def fetched(self, key: str) -> t.Iterator[str]:
        """An object as a file, for as long as it is needed."""
        with tempfile.TemporaryDirectory(dir=self._config.work_directory, prefix="fetch-") as work:
            file = os.path.join(work, os.path.basename(key))
            self._store.get(key, file)
            yield file

    def make(self, now: float, full: bool = False) -> Record:
        """Make one, verify it and keep it; raises BackupError, and leaves nothing that could be taken for a backup."""
        records, _faults = self.records()
        parent = None if full else parent_of(records, self._config.incrementals)
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        if name in records:
            raise BackupError(f"backup {name} is there already; a second later there is another name")
        try:
            return self._make(name, records[parent] if parent else None, now)
        except BackupError as error:
            if parent is None or not any(words in str(error) for words in _NOT_INCREMENTAL):
                raise
            # A node that was cloned or restored since has no summaries of before that: whatever changed, a full one has it.
            return self._make(name, None, now)

    def _make(self, name: str, parent: t.Optional[Record], now: float) -> Record:
        with tempfile.TemporaryDirectory(dir=self._config.work_directory, prefix="base-") as work:
            data = os.path.join(work, "data")
            more = []
            if parent is not None:
                file = os.path.join(work, _MANIFEST)
                self._open_to_file(f"{FOLDER}/{parent.name}/{parent.manifest}", file)
                more = [f"--incremental={file}"]
            self._copy(data, more)
            run_program(self._config, ["pg_verifybackup", "--quiet", data])
            with open(os.path.join(data, _MANIFEST), encoding="utf-8") as text:
                manifest = json.load(text)
            return self._keep(name, parent and parent.name, now, data, manifest, control_of(self._config, data), work)

    def _copy(self, data: str, more: t.Sequence[str]) -> None:
        config = self._config
        rate = [f"--max-rate={config.max_rate_kib}"] if config.max_rate_kib else []
        from_standby = f"{config.conninfo} target_session_attrs=prefer-standby application_name=escala_backup"
        what = ["--pgdata", data, "--format=plain", "--wal-method=stream", "--checkpoint=fast", "--no-password"]
        run_program(self._config, ["pg_basebackup", "--dbname", from_standby, *what, *rate, *more])

    def _keep(
        self,
        name: str,
        parent: t.Optional[str],
        started_at: float,
        data: str,
        manifest: t.Mapping[str, t.Any],
        control: t.Mapping[str, str],
        work: str,
    ) -> Record:
        ending = self._seal.ending
        base, listed = f"{_BASE}{ending}", f"{_MANIFEST}{ending}"
        with open(os.path.join(data, _MANIFEST), "rb") as content:
            self._seal.close(chunks_of(content), os.path.join(work, listed))
        tar = ["tar", "--create", "--file=-", "--directory", data, "."]
        with subprocess.Popen(tar, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            digest = self._seal.close(chunks_of(t.cast(t.IO[bytes], running.stdout)), os.path.join(work, base))
            said = t.cast(t.IO[bytes], running.stderr).read().decode("utf-8", "replace")
        if running.returncode:
            raise BackupError(f"backup {name} could not be packed: {said.strip()[-_SAID:]}")
        record = Record(
            name=name,
            parent=parent,
            started_at=started_at,
            stopped_at=time.time(),
            system_identifier=int(control["Database system identifier"]),
            version=self._config.version,
            segment_bytes=int(control["Bytes per WAL segment"]),
            wal_ranges=list(manifest["WAL-Ranges"]),
            stored_bytes=os.path.getsize(os.path.join(work, base)),
            plain_bytes=size_of(data),
            base=base,
            base_sha256=digest,
            manifest=listed,
        )
        with open(os.path.join(work, RECORD), "w", encoding="utf-8") as text:
            json.dump(record._asdict(), text, indent=1)
        # Last comes what makes it a backup.
        for file in (base, listed, RECORD):
            self._store.put(f"{FOLDER}/{name}/{file}", os.path.join(work, file))
        return record

    def restore(self, chain: t.Sequence[Record], draft: str) -> str:
        """The files of the last of a chain, put together and verified, in a directory below the draft; raises BackupError where they are not what was kept."""
        parts = [os.path.join(draft, record.name) for record in chain]
        for record, part in zip(chain, parts):
            self._unpack(record, part)
        whole = parts[0]
        if len(parts) > 1:
            whole = os.path.join(draft, "whole")
            run_program(self._config, ["pg_combinebackup", "--output", whole, *parts])
        # Files and the WAL that makes them consistent; a damaged one is named.
        run_program(self._config, ["pg_verifybackup", "--quiet", whole])
        return whole

    def _unpack(self, record: Record, directory: str) -> None:
        os.mkdir(directory, 0o700)
        digest = hashlib.sha256()
        with self.fetched(f"{FOLDER}/{record.name}/{record.base}") as file, self._seal.open(file) as content:
            tar = ["tar", "--extract", "--file=-", "--directory", directory, "--same-permissions"]
            with subprocess.Popen(tar, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:
                with contextlib.suppress(BrokenPipeError):
                    for chunk in iter(lambda: content.read(CHUNK_BYTES), b""):
                        digest.update(chunk)
                        t.cast(t.IO[bytes], running.stdin).write(chunk)
                with contextlib.suppress(BrokenPipeError):
                    t.cast(t.IO[bytes], running.stdin).close()
                said = t.cast(t.IO[bytes], running.stderr).read().decode("utf-8", "replace")
        if running.returncode:
            raise BackupError(f"backup {record.name} cannot be unpacked: {said.strip()[-_SAID:]}")
        if digest.hexdigest() != record.base_sha256:
            raise BackupError(f"backup {record.name} is damaged: {record.base} is not what was kept")

    def expire(self, now: float) -> Kept:
        """Remove what the retention lets go, backups first and then the WAL that no backup needs any more."""
        records, _faults = self.records()
        kept = kept_of(records, now, self._config)
        for name in self._store.folders(FOLDER):
            unfinished = name not in records and any(other > name for other in records)
            if name in kept.expired or unfinished:
                # Without its record it is none, should this be broken off.
                self._store.remove(f"{FOLDER}/{name}/{RECORD}")
                self._store.remove(f"{FOLDER}/{name}")
        if kept.first_segment is not None:
            self._expire_wal(kept.first_segment, segment_bytes_of(records))
        return kept

    def _expire_wal(self, first_segment: int, segment_bytes: int) -> None:
        for folder in self._store.folders("wal"):
            for name, kept in stored(self._store.names(f"wal/{folder}")).items():
                segment = segment_of(name.split(".", maxsplit=1)[0], segment_bytes)
                if history_timeline(name) is None and segment and segment.number < first_segment:
                    for kept_as in kept.values():
                        self._store.remove(f"wal/{folder}/{kept_as}")

    def _open_to_file(self, key: str, file: str) -> None:
        with self.fetched(key) as kept, self._seal.open(kept) as content, open(file, "xb") as out:
            shutil.copyfileobj(content, out, CHUNK_BYTES)


def kept_of(records: t.Mapping[str, Record], now: float, config: Config) -> Kept:
    """What the retention keeps and lets go, of whichever engine."""
    archive = Archive([], {}, [record.backup() for record in records.values()], segment_bytes_of(records))
    return retention(archive, set(records), now, config.keep_full, config.keep_seconds)


def segment_bytes_of(records: t.Mapping[str, Record]) -> int:
    """The size of a segment of WAL, PostgreSQL's usual one while there is no backup."""
    return max((record.segment_bytes for record in records.values()), default=1 << 24)


def parent_of(records: t.Mapping[str, Record], incrementals: int) -> t.Optional[str]:
    """The newest backup, for one that builds on it, unless a full one is due."""
    if not records or not incrementals:
        return None
    archive = Archive([], {}, [record.backup() for record in records.values()])
    newest = max(records.values(), key=lambda one: one.stopped_at)
    try:
        chain = archive.chain(archive.backups[newest.name])
    except ValueError:
        return None
    return newest.name if len(chain) <= incrementals else None


def run_program(config: Config, command: t.Sequence[str]) -> None:
    """Run one of PostgreSQL's own programs; raises BackupError with its words."""
    done = subprocess.run(
        [config.program(command[0]), *command[1:]], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise BackupError(f"{command[0]} failed ({done.returncode}): {said[-_SAID:] or 'it said nothing'}")


def control_of(config: Config, data: str) -> t.Dict[str, str]:
    """What pg_controldata says of a data directory."""
    done = subprocess.run(
        [config.program("pg_controldata"), data],
        capture_output=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    if done.returncode:
        raise BackupError(f"{data} has no usable control data: {done.stderr.decode('utf-8', 'replace').strip()}")
    return controlled(done.stdout.decode("utf-8", "replace"))
