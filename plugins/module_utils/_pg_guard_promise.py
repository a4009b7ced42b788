# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guard must still know after a power failure: its promise, who is out of the quorum, and that its node has had data."""

from __future__ import annotations

import json
import os
import threading
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_state import (
    Promise,
    Quorum,
    promise_from,
    promise_json,
    quorum_from,
    quorum_json,
)


class Memory:
    """Files below a directory, each replaced whole and on the disk before the call returns.

    Raises OSError where that fails, ValueError for a file that is damaged: a guard that has forgotten what it promised must not vote.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._promise = promise_from(self._read("promise.json"))
        self._quorum = quorum_from(self._read("quorum.json"))
        self._joined: t.Optional[str] = self._read("joined.json")
        self._elected: t.Optional[int] = self._read("elected.json")
        if not isinstance(self._elected, (int, type(None))) or not isinstance(self._joined, (str, type(None))):
            raise ValueError(f"elected.json or joined.json in {directory} is damaged")

    @property
    def promise(self) -> t.Optional[Promise]:
        return self._promise

    @property
    def quorum(self) -> Quorum:
        return self._quorum

    @property
    def joined(self) -> t.Optional[str]:
        """The system identifier of the cluster whose data this node has had, None where it never had any."""
        return self._joined

    @property
    def elected(self) -> t.Optional[int]:
        """The timeline for which this node was last elected, None where it never was."""
        return self._elected

    def won(self, timeline: int) -> None:
        """Keep that this node was elected for a timeline; to be called before it is promoted to it."""
        with self._lock:
            if self._elected != timeline:
                self._write("elected.json", timeline)
                self._elected = timeline

    def promised(self, promise: Promise) -> None:
        """Keep a promise; raises ValueError for one that goes back behind an earlier one."""
        with self._lock:
            old = self._promise
            if old == promise:
                return
            if old and promise.timeline <= old.timeline:
                raise ValueError(f"{promise} goes back behind {old}")
            self._write("promise.json", promise_json(promise))
            self._promise = promise

    def learned(self, quorum: Quorum) -> None:
        """Keep who is out of the quorum; an older decision is left aside."""
        with self._lock:
            if quorum.version > self._quorum.version:
                self._write("quorum.json", quorum_json(quorum))
                self._quorum = quorum

    def has_joined(self, system_identifier: str) -> None:
        """Keep for ever that this node has had the data of this cluster."""
        with self._lock:
            if self._joined is None:
                self._write("joined.json", system_identifier)
                self._joined = system_identifier

    def forgets_joined(self) -> None:
        """From now on this node does not count as one with data; to be called before its data is taken away."""
        with self._lock:
            if self._joined is not None:
                os.unlink(self._path("joined.json"))
                sync_directory(self._directory)
                self._joined = None

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _read(self, name: str) -> t.Any:
        try:
            with open(self._path(name), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return None

    def _write(self, name: str, value: t.Any) -> None:
        replace(self._path(name), json.dumps(value) + "\n", 0o600)


def replace(path: str, content: str, mode: int, owner: t.Optional[t.Tuple[int, int]] = None) -> None:
    """Write a file whole and have it on the disk, its name as well, before returning."""
    draft = f"{path}.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with open(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)
        if owner:
            os.fchown(descriptor, *owner)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.replace(draft, path)
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Have a directory's names on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
