# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL on its way into the store and out of it. A name stands for one content: what differs from what is there is refused.

All nodes archive all segments, so that a primary that dies takes none with it, and most come three times. The SHA-256 of a segment is part of its
name in the store: so the second is known without a look into the first, and what is read back is known to be what was written.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import struct
import tempfile
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import (
    CHUNK_BYTES,
    BackupError,
    Entry,
    Seal,
    Store,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import (
    History,
    history_timeline,
    lsn_text,
    parse_history,
)
from ansible_collections.escala.ha.plugins.module_utils._wal_archive import Segment, is_archived, partial_of, segment_of

FOLDER = "wal"
_HISTORIES = "histories"
_OWNER = "cluster.json"
_DIGEST_DIGITS = 40
_STORED = re.compile(r"(.+)-([0-9a-f]{40})\.zst(\.age)?")
# The long header with which each segment begins: magic, flags, timeline, position, and at 24 the cluster and the sizes.
_HEADER = struct.Struct("<HHIQI4xQII")
_LONG_HEADER = 0x0002
_PART_OF_NAME = 16


class Head(t.NamedTuple):
    """What a segment says of itself."""

    lsn: int
    system_identifier: int
    segment_bytes: int


def head_of(content: bytes) -> Head:
    """By the first bytes of a segment; raises BackupError for what is none."""
    if len(content) < _HEADER.size:
        raise BackupError(f"it has {len(content)} bytes, which is no WAL")
    _magic, flags, _timeline, lsn, _remaining, system, segment_bytes, _block = _HEADER.unpack_from(content)
    if not flags & _LONG_HEADER or segment_bytes < CHUNK_BYTES or segment_bytes & (segment_bytes - 1):
        raise BackupError("it does not begin as a segment of WAL does")
    return Head(lsn, system, segment_bytes)


def refuse_wal(name: str, head: Head, size_bytes: int, system_identifier: int) -> None:
    """Raise BackupError where a segment is not what its name says, or of another cluster than the archive's."""
    segment = segment_of(name, head.segment_bytes) or partial_of(name, head.segment_bytes)
    if segment is None:
        raise BackupError(f"{name} is no name of a segment of {head.segment_bytes} bytes")
    if size_bytes != head.segment_bytes:
        raise BackupError(f"{name} has {size_bytes} bytes and not {head.segment_bytes}: the rest did not arrive")
    if head.lsn != segment.number * head.segment_bytes:
        raise BackupError(f"{name} begins at {lsn_text(head.lsn)}, which is another segment's beginning")
    if head.system_identifier != system_identifier:
        raise BackupError(
            f"{name} is of cluster {head.system_identifier}, and this archive is of cluster {system_identifier};"
            " give a new cluster an archive of its own"
        )


def folder_of(name: str) -> str:
    """The folder in which a file of WAL is kept: at most 256 segments of 16 MiB in each."""
    return f"{FOLDER}/{_HISTORIES if history_timeline(name) is not None else name[:_PART_OF_NAME]}"


def stored(names: t.Mapping[str, Entry]) -> t.Dict[str, t.Dict[str, str]]:
    """What a folder has: for each name that PostgreSQL gave, the digests with the names in the store."""
    found: t.Dict[str, t.Dict[str, str]] = {}
    for name in names:
        parts = _STORED.fullmatch(name)
        if parts and is_archived(parts[1]):
            found.setdefault(parts[1], {})[parts[2]] = name
    return found


class Wal:
    """The WAL in a store."""

    def __init__(self, store: Store, seal: Seal, work_directory: str) -> None:
        self._store = store
        self._seal = seal
        self._work = work_directory

    def put(self, name: str, content: t.Iterable[bytes], written_at: t.Optional[float] = None) -> str:
        """Take a file over; returns `kept`, `known` where it had been, or `stub`. Raises BackupError for what must not come in.

        The first segment decides whose archive this is.
        """
        if not is_archived(name):
            raise BackupError(f"{name!r} is no file that PostgreSQL archives")
        with tempfile.TemporaryDirectory(dir=self._work, prefix="wal-") as work:
            plain = os.path.join(work, "plain")
            digest = _spool(content, plain)
            if history_timeline(name) is not None and os.path.getsize(plain) == 0:
                # The guard's, so that a promotion takes the number that was voted on; another node may have the true history of it.
                return "stub"
            if segment_of(name, CHUNK_BYTES) or partial_of(name, CHUNK_BYTES):
                with open(plain, "rb") as file:
                    head = head_of(file.read(_HEADER.size))
                refuse_wal(name, head, os.path.getsize(plain), self._owner(head, work))
            there = stored(self._store.names(folder_of(name))).get(name, {})
            if digest in there:
                return "known"
            if there and self._same_where_it_counts(name, plain):
                return "known"
            if there:
                raise BackupError(
                    f"{name} is in the archive with another content ({', '.join(there)}, not {digest}): two servers wrote the same timeline;"
                    " see who is primary before anything else"
                )
            sealed = os.path.join(work, f"{name}-{digest}{self._seal.ending}")
            self._seal.close(_chunks(plain), sealed)
            if written_at is not None:
                os.utime(sealed, (written_at, written_at))
            self._store.put(f"{folder_of(name)}/{os.path.basename(sealed)}", sealed)
        return "kept"

    def _same_where_it_counts(self, name: str, plain: str) -> bool:
        """Whether a segment differs only after the end of its timeline.

        With archive_mode = always a standby archives the segment in which it left a timeline under its full name, and behind the end is whatever was there.
        """
        size = os.path.getsize(plain)
        segment = segment_of(name, size) or partial_of(name, size)
        if segment is None:
            return False
        left = (place for history in self.histories().values() for place in history)
        ends = [left_at for parent, left_at in left if Segment(parent, left_at // size) == segment]
        if not ends:
            return False
        counts = max(ends) % size
        kept = io.BytesIO()
        self.get(name, kept)
        with open(plain, "rb") as content:
            return content.read(counts) == kept.getvalue()[:counts]

    def histories(self) -> t.Dict[int, History]:
        """What the archived histories say, by timeline; raises BackupError and ValueError for one that is damaged."""
        found = {}
        for name in stored(self._store.names(f"{FOLDER}/{_HISTORIES}")):
            timeline = history_timeline(name)
            out = io.BytesIO()
            self.get(name, out)
            history = parse_history(out.getvalue().decode("utf-8", "replace"))
            # An empty one is a stub, and no timeline.
            if timeline is not None and history:
                found[timeline] = history
        return found

    def _owner(self, head: Head, work: str) -> int:
        """The cluster that this archive is of: the first one that brought a segment."""
        file = os.path.join(work, _OWNER)
        owner = self.owner()
        if owner is not None:
            return owner
        with open(file, "w", encoding="utf-8") as text:
            json.dump({"system_identifier": head.system_identifier}, text)
        self._store.put(_OWNER, file)
        return head.system_identifier

    def owner(self) -> t.Optional[int]:
        """The cluster that this archive is of; None while it is empty."""
        if _OWNER not in self._store.names(""):
            return None
        with tempfile.TemporaryDirectory(dir=self._work, prefix="owner-") as work:
            file = os.path.join(work, _OWNER)
            self._store.get(_OWNER, file)
            with open(file, encoding="utf-8") as text:
                return int(json.load(text)["system_identifier"])

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return is_archived(name) and name in stored(self._store.names(folder_of(name)))

    def get(self, name: str, out: t.IO[bytes]) -> bool:
        """Write a file's content out; False where there is none. Raises BackupError, after it wrote, where it is damaged."""
        there = stored(self._store.names(folder_of(name))).get(name, {}) if is_archived(name) else {}
        if not there:
            return False
        if len(there) > 1:
            raise BackupError(
                f"{name} is in the archive with {len(there)} contents; keep the right one of {', '.join(there.values())}"
            )
        [(digest, kept_as)] = there.items()
        with tempfile.TemporaryDirectory(dir=self._work, prefix="get-") as work:
            sealed = os.path.join(work, kept_as)
            self._store.get(f"{folder_of(name)}/{kept_as}", sealed)
            seen = hashlib.sha256()
            with self._seal.open(sealed) as content:
                for chunk in iter(lambda: content.read(CHUNK_BYTES), b""):
                    seen.update(chunk)
                    out.write(chunk)
        if seen.hexdigest()[:_DIGEST_DIGITS] != digest:
            raise BackupError(f"{name} is damaged: its content is not what was archived under {kept_as}")
        return True

    def listing(self) -> t.Dict[str, t.Tuple[str, Entry]]:
        """All that is there: by the name that PostgreSQL gave, the key and what the store says of it."""
        found = {}
        for folder in self._store.folders(FOLDER):
            entries = self._store.names(f"{FOLDER}/{folder}")
            for name, kept in stored(entries).items():
                for kept_as in kept.values():
                    found[name] = (f"{FOLDER}/{folder}/{kept_as}", entries[kept_as])
        return found


def _spool(content: t.Iterable[bytes], file: str) -> str:
    digest = hashlib.sha256()
    with open(file, "xb") as out:
        for chunk in content:
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()[:_DIGEST_DIGITS]


def _chunks(file: str) -> t.Iterator[bytes]:
    with open(file, "rb") as content:
        yield from iter(lambda: content.read(CHUNK_BYTES), b"")


def chunks_of(stream: t.IO[bytes]) -> t.Iterator[bytes]:
    """A stream's content in pieces."""
    with contextlib.closing(stream):
        yield from iter(lambda: stream.read(CHUNK_BYTES), b"")
