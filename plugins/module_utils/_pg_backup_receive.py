# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL as it is written: pg_receivewal beside the archive has what no segment is complete for yet, so that a lost cluster loses a second and not a minute.

It is never one of the synchronous names: a commit that only the archive acknowledged would be lost at a failover. So it may be ahead of the standby that
becomes primary; what it has more is put aside then.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_restore import RECEIVED, Restore
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import CHUNK_BYTES, BackupError
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_wal import chunks_of
from ansible_collections.escala.ha.plugins.module_utils._wal_archive import Segment, segment_of

# How pg_receivewal says that it has what the new primary never had, or is to go on where that has nothing any more.
_AHEAD = (
    "is ahead of the WAL flush position",
    "is not in this server's history",
    "requested timeline",
    "has already been removed",
)
_TEND_EVERY_SECONDS = 10.0
_ASIDE_KEPT = 3
_SAID = 400


def surplus(complete: t.Mapping[str, Segment], archived: t.Container[str]) -> t.List[str]:
    """Received segments that may go: archived ones, but for the newest of all, by which pg_receivewal knows where to go on."""
    newest = max(complete, key=lambda name: (complete[name].number, complete[name].timeline), default=None)
    return sorted(name for name in complete if name in archived and name != newest)


def is_ahead(said: str) -> bool:
    """Whether pg_receivewal ended because it has WAL that is not its primary's."""
    return any(words in said for words in _AHEAD)


class Receiver:
    """One connection to the primary, and what it brought."""

    def __init__(self, config: Config) -> None:
        if not config.receiver_slot:
            raise BackupError("receiver_slot names no slot; set postgresql_backup_receive to true")
        self._config = config
        self._wal = Restore(config).wal
        self._folder = config.work(RECEIVED)

    def run(self) -> int:
        """Receive until the connection ends; the unit begins again. Returns pg_receivewal's own exit status."""
        os.makedirs(self._folder, 0o700, exist_ok=True)
        entry = f"{self._config.conninfo} target_session_attrs=read-write application_name=escala_receiver"
        command = [self._config.program("pg_receivewal"), "--dbname", entry, "--no-password"]
        slot = f"--slot={self._config.receiver_slot}"
        # The guard makes it where it rules; a cluster without one has none yet.
        made = subprocess.run(
            [*command, slot, "--create-slot", "--if-not-exists"],
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if made.returncode:
            raise BackupError(f"no primary lets this host receive: {_last(made.stderr)}")
        receive = [*command, slot, "--directory", self._folder, "--synchronous", "--no-loop", "--status-interval=1"]
        with subprocess.Popen(receive, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
            # Together they go: the unit's stop is meant for it.
            signal.signal(signal.SIGTERM, lambda _number, _frame: running.terminate())
            while running.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.wait(_TEND_EVERY_SECONDS)
                with contextlib.suppress(BackupError):
                    self.tend()
            said = t.cast(t.IO[bytes], running.stderr).read()
        sys.stderr.write(f"pg_receivewal ended ({running.returncode}): {_last(said)}\n")
        if is_ahead(said.decode("utf-8", "replace")):
            if os.listdir(self._folder):
                self.put_aside()
            else:
                # The slot itself stands where the primary has nothing any more. What was missed meanwhile the nodes archive.
                dropped = subprocess.run(
                    [*command, slot, "--drop-slot"], capture_output=True, check=False, stdin=subprocess.DEVNULL
                )
                sys.stderr.write(
                    f"the slot stands where the primary has no WAL, and is made anew ({dropped.returncode})\n"
                )
        return running.returncode

    def tend(self) -> None:
        """Bring into the archive what no node brought, and let go what is there."""
        complete = {}
        for name in os.listdir(self._folder):
            size = os.path.getsize(os.path.join(self._folder, name))
            segment = segment_of(name, size) if size >= CHUNK_BYTES and not size & (size - 1) else None
            if segment:
                complete[name] = segment
        now = time.time()
        archived = set()
        for name in sorted(complete):
            file = os.path.join(self._folder, name)
            written_at = os.path.getmtime(file)
            if self._wal.has(name):
                archived.add(name)
            elif now - written_at > _TEND_EVERY_SECONDS:
                # Its primary died before it had archived it, or cannot.
                with open(file, "rb") as content:
                    self._wal.put(name, chunks_of(content), written_at)
                archived.add(name)
        for name in surplus(complete, archived):
            os.unlink(os.path.join(self._folder, name))

    def put_aside(self) -> None:
        """What it has more than the primary is no part of any history that goes on; the last few times are kept to look at."""
        aside = f"{self._folder}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        os.rename(self._folder, aside)
        sys.stderr.write(f"what was received is not the primary's, and is put aside: {aside}\n")
        older = sorted(name for name in os.listdir(self._config.work_directory) if name.startswith(f"{RECEIVED}-"))
        for name in older[:-_ASIDE_KEPT]:
            shutil.rmtree(self._config.work(name))


def _last(said: bytes) -> str:
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][-_SAID:] if lines else "it said nothing"
