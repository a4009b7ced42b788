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
    for kept_as in names:
        name, digest = archived_as(kept_as)
        if digest and is_archived(name):
            found.setdefault(name, {})[digest] = kept_as
    return found


def archived_as(kept_as: str) -> t.Tuple[str, str]:
    """The name that PostgreSQL gave to what is kept, and the digest that was added; for a file without one its own name and nothing."""
    parts = _STORED.fullmatch(kept_as)
    return (parts[1], parts[2]) if parts else (kept_as, "")


class Wal:
    """The WAL in a repository of some engine's; each says how it adds a file, and what it has of it."""

    def __init__(self, work_directory: str) -> None:
        self._work = work_directory

    def owner(self) -> t.Optional[int]:
        """The cluster that this archive is of; None while it is empty."""
        raise NotImplementedError

    def listing(self) -> t.Dict[str, Entry]:
        """All that is there, by the name that PostgreSQL gave."""
        raise NotImplementedError

    def _has(self, name: str) -> t.Dict[str, str]:
        """What is there of a file: for each content, by its digest, the key in the repository."""
        raise NotImplementedError

    def _history_names(self) -> t.Iterable[str]:
        raise NotImplementedError

    def _open(self, key: str) -> t.ContextManager[t.IO[bytes]]:
        """The content under a key; raises BackupError at its end where it is damaged."""
        raise NotImplementedError

    def _digest(self) -> t.Any:
        """As hashlib makes it; its first 40 digits tell contents apart."""
        raise NotImplementedError

    def _belongs_to(self, head: Head) -> int:
        """The cluster that this archive is of, which may be this segment's from now on."""
        raise NotImplementedError

    def _add(self, name: str, plain: str, digest: str, written_at: t.Optional[float]) -> None:
        """Take over a file, of which nothing is there, so that it lasts as soon as this returns."""
        raise NotImplementedError

    def put(self, name: str, content: t.Iterable[bytes], written_at: t.Optional[float] = None) -> str:
        """Take a file over; returns `kept`, `known` where it had been, or `stub`. Raises BackupError for what must not come in.

        The first segment decides whose archive this is.
        """
        if not is_archived(name):
            raise BackupError(f"{name!r} is no file that PostgreSQL archives")
        with tempfile.TemporaryDirectory(dir=self._work, prefix="wal-") as work:
            plain = os.path.join(work, name)
            digest = self._spool(content, plain)
            if history_timeline(name) is not None and os.path.getsize(plain) == 0:
                # The guard's, so that a promotion takes the number that was voted on; another node may have the true history of it.
                return "stub"
            if segment_of(name, CHUNK_BYTES) or partial_of(name, CHUNK_BYTES):
                with open(plain, "rb") as file:
                    head = head_of(file.read(_HEADER.size))
                refuse_wal(name, head, os.path.getsize(plain), self._belongs_to(head))
            there = self._has(name)
            if digest in there:
                return "known"
            if there and self._same_where_it_counts(name, plain):
                return "known"
            if there:
                raise BackupError(
                    f"{name} is in the archive with another content ({', '.join(there)}, not {digest}): two servers wrote the same timeline;"
                    " see who is primary before anything else"
                )
            self._add(name, plain, digest, written_at)
        return "kept"

    def _spool(self, content: t.Iterable[bytes], file: str) -> str:
        digest = self._digest()
        with open(file, "xb") as out:
            for chunk in content:
                digest.update(chunk)
                out.write(chunk)
        return str(digest.hexdigest())[:_DIGEST_DIGITS]

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
        for name in self._history_names():
            timeline = history_timeline(name)
            out = io.BytesIO()
            self.get(name, out)
            history = parse_history(out.getvalue().decode("utf-8", "replace"))
            # An empty one is a stub, and no timeline.
            if timeline is not None and history:
                found[timeline] = history
        return found

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return is_archived(name) and bool(self._has(name))

    def get(self, name: str, out: t.IO[bytes]) -> bool:
        """Write a file's content out; False where there is none. Raises BackupError, after it wrote, where it is damaged."""
        there = self._has(name) if is_archived(name) else {}
        if not there:
            return False
        if len(there) > 1:
            raise BackupError(
                f"{name} is in the archive with {len(there)} contents; keep the right one of {', '.join(there.values())}"
            )
        [(digest, key)] = there.items()
        seen = self._digest()
        with self._open(key) as content:
            for chunk in iter(lambda: content.read(CHUNK_BYTES), b""):
                seen.update(chunk)
                out.write(chunk)
        if seen.hexdigest()[:_DIGEST_DIGITS] != digest:
            raise BackupError(f"{name} is damaged: its content is not what was archived as {os.path.basename(key)}")
        return True


class StoredWal(Wal):
    """The WAL in a store of ours, each file sealed."""

    def __init__(self, store: Store, seal: Seal, work_directory: str) -> None:
        super().__init__(work_directory)
        self._store = store
        self._seal = seal

    def _digest(self) -> t.Any:
        return hashlib.sha256()

    def _has(self, name: str) -> t.Dict[str, str]:
        folder = folder_of(name)
        there = stored(self._store.names(folder)).get(name, {})
        return {digest: f"{folder}/{kept_as}" for digest, kept_as in there.items()}

    def _history_names(self) -> t.Iterable[str]:
        return stored(self._store.names(f"{FOLDER}/{_HISTORIES}"))

    @contextlib.contextmanager
    def _open(self, key: str) -> t.Iterator[t.IO[bytes]]:
        with tempfile.TemporaryDirectory(dir=self._work, prefix="get-") as work:
            sealed = os.path.join(work, os.path.basename(key))
            self._store.get(key, sealed)
            with self._seal.open(sealed) as content:
                yield content

    def _add(self, name: str, plain: str, digest: str, written_at: t.Optional[float]) -> None:
        sealed = f"{plain}-{digest}{self._seal.ending}"
        self._seal.close(_chunks(plain), sealed)
        if written_at is not None:
            os.utime(sealed, (written_at, written_at))
        self._store.put(f"{folder_of(name)}/{os.path.basename(sealed)}", sealed)

    def _belongs_to(self, head: Head) -> int:
        owner = self.owner()
        if owner is not None:
            return owner
        with tempfile.TemporaryDirectory(dir=self._work, prefix="owner-") as work:
            file = os.path.join(work, _OWNER)
            with open(file, "w", encoding="utf-8") as text:
                json.dump({"system_identifier": head.system_identifier}, text)
            self._store.put(_OWNER, file)
        return head.system_identifier

    def owner(self) -> t.Optional[int]:
        if _OWNER not in self._store.names(""):
            return None
        with tempfile.TemporaryDirectory(dir=self._work, prefix="owner-") as work:
            file = os.path.join(work, _OWNER)
            self._store.get(_OWNER, file)
            with open(file, encoding="utf-8") as text:
                return int(json.load(text)["system_identifier"])

    def listing(self) -> t.Dict[str, Entry]:
        found = {}
        for folder in self._store.folders(FOLDER):
            entries = self._store.names(f"{FOLDER}/{folder}")
            for name, kept in stored(entries).items():
                for kept_as in kept.values():
                    found[name] = entries[kept_as]
        return found


def _chunks(file: str) -> t.Iterator[bytes]:
    with open(file, "rb") as content:
        yield from iter(lambda: content.read(CHUNK_BYTES), b"")


def chunks_of(stream: t.IO[bytes]) -> t.Iterator[bytes]:
    """A stream's content in pieces."""
    with contextlib.closing(stream):
        yield from iter(lambda: stream.read(CHUNK_BYTES), b"")
