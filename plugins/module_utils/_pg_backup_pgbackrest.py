# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgBackRest as the engine: its repository has the base backups and the WAL, and all that is decided of them is decided as for our own.

WAL comes in by the same gate as for our own engine, so that a node may add and nothing else. To take it over, pgBackRest asks the server's control file
which cluster it is of; here is a copy of that file, and no server.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_base import Record, control_of, kept_of, parent_of
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_instance import ask_primary
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import BackupError, Entry, Seal
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_wal import Head, Wal, archived_as
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import history_timeline
from ansible_collections.escala.ha.plugins.module_utils._wal_archive import Kept, is_archived

STANZA = "main"
CONTROL = "control"
_SAID = 400
# How `info` says that nothing was ever kept: no stanza, none with backups, none with its data.
_EMPTY = (1, 2, 3)
_STANDBYS = (
    "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name NOT LIKE 'escala_%'"
)

# The cluster, and the versions of its control file and catalogue: all that never changes while the cluster is the same.
_SAME_BYTES = 16
_CONTROL_BYTES = 8192

Json = t.Mapping[str, t.Any]


def keep_control(config: Config, content: bytes) -> bool:
    """Have this be the copy of the cluster's control file; returns whether it is another cluster's, or of another version, than before.

    Raises BackupError for what is none.
    """
    if len(content) != _CONTROL_BYTES:
        raise BackupError(f"a control file has {_CONTROL_BYTES} bytes, and this has {len(content)}")
    folder = config.work(CONTROL, "global")
    file = os.path.join(folder, "pg_control")
    with contextlib.suppress(FileNotFoundError), open(file, "rb") as before:
        if before.read(_SAME_BYTES) == content[:_SAME_BYTES]:
            return False
    os.makedirs(folder, 0o700, exist_ok=True)
    with open(f"{file}.new", "wb") as out:
        out.write(content)
    os.replace(f"{file}.new", file)
    return True


class Home(t.NamedTuple):
    """Of which cluster the repository is, and where it has that cluster's WAL."""

    cluster: int
    wal: str


class Program:
    """The program and what its repository says."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._home: t.Optional[Home] = None

    def run(self, command: str, *options: str, of: str = "") -> bytes:
        """What a command, of a file where it takes one, writes out; raises BackupError with its words."""
        words = [
            "pgbackrest",
            f"--config={self.config.pgbackrest_config_file}",
            f"--stanza={STANZA}",
            *options,
            command,
        ]
        done = subprocess.run(
            [*words, *([of] if of else [])], capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            said = (done.stderr or done.stdout).decode("utf-8", "replace")
            told = [line.partition("ERROR: ")[2] for line in said.splitlines() if "ERROR: " in line]
            raise BackupError(f"pgbackrest {command} failed: {' '.join(told or [said.strip()])[-_SAID:]}")
        return done.stdout

    @property
    def in_place_of_a_server(self) -> str:
        """The option that has a copy of the control file be the server; raises BackupError where there is none."""
        path = self.config.work(CONTROL)
        if not os.path.exists(os.path.join(path, "global", "pg_control")):
            raise BackupError(f"{path} has no copy of the cluster's control file; run playbooks/etapa_3_postgresql.yml")
        return f"--pg1-path={path}"

    def home(self) -> t.Optional[Home]:
        """None while the repository is of no cluster. Once it is of one it stays so, and is not asked again."""
        if self._home is None:
            known = self.info()["db"]
            if known:
                newest = max(known, key=lambda one: int(one["id"]))
                self._home = Home(int(newest["system-id"]), f"archive/{STANZA}/{newest['version']}-{newest['id']}")
        return self._home

    def begin(self) -> Home:
        """Have the repository be of the cluster whose control file is here, unless it is of one already."""
        if self.home() is None:
            self.run("stanza-create", "--no-online", self.in_place_of_a_server)
        home = self.home()
        if home is None:
            raise BackupError("pgbackrest stanza-create ended well, and its repository is of no cluster")
        return home

    def info(self) -> Json:
        """What the repository has of the cluster; raises BackupError where it cannot be read."""
        # What it cannot decrypt it repeats as it is, and that is neither text nor JSON.
        [found] = json.loads(self.run("info", "--output=json").decode("utf-8", "replace"), strict=False)
        code = found["status"]["code"]
        if code and code not in _EMPTY:
            message = str(found["status"]["message"]).splitlines()[0]
            raise BackupError(
                f"pgBackRest cannot read its repository: {message} see `pgbackrest info`, and whether it was made with another secret_postgresql_backup_key"
            )
        return t.cast(Json, found)

    def names(self, path: str, *, within: bool = False) -> t.Dict[str, Entry]:
        """The files in a folder of the repository, with `within` also in its folders; empty for one that is not there."""
        listed = json.loads(self.run("repo-ls", "--output=json", *(["--recurse"] if within else []), of=path))
        return {
            name: Entry(one["size"], float(one["time"])) for name, one in listed.items() if one.get("type") == "file"
        }


def records_of(info: Json, segment_bytes: int) -> t.Tuple[t.Dict[str, Record], t.List[str]]:
    """The whole backups by name, and what is wrong with others, in words."""
    found, faults = {}, []
    identifiers = {one["id"]: int(one["system-id"]) for one in info["db"]}
    versions = {one["id"]: int(str(one["version"]).split(".", maxsplit=1)[0]) for one in info["db"]}
    for one in info["backup"]:
        name, database = one["label"], one["database"]["id"]
        if one.get("error"):
            faults.append(
                f"backup {name} has pages whose checksum is wrong, as they were on the server that it was made from"
            )
            continue
        wal = {
            "Timeline": int(one["archive"]["stop"][:8], 16),
            "Start-LSN": one["lsn"]["start"],
            "End-LSN": one["lsn"]["stop"],
        }
        found[name] = Record(
            name=name,
            parent=one["prior"],
            started_at=float(one["timestamp"]["start"]),
            stopped_at=float(one["timestamp"]["stop"]),
            system_identifier=identifiers[database],
            version=versions[database],
            segment_bytes=segment_bytes,
            wal_ranges=[wal],
            stored_bytes=one["info"]["repository"]["size"],
            plain_bytes=one["info"]["size"],
        )
    return found, faults


class PgBackRestBackups:
    """The backups in its repository."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._program = Program(config)

    def records(self) -> t.Tuple[t.Dict[str, Record], t.List[str]]:
        """The whole ones by name, and what is wrong with others, in words."""
        info = self._program.info()
        if not info["backup"]:
            return {}, []
        control = control_of(self._config, self._config.work(CONTROL))
        return records_of(info, int(control["Bytes per WAL segment"]))

    def make(self, _now: float, full: bool = False) -> Record:
        """Make one, from a standby where one streams; raises BackupError, and leaves nothing that could be taken for a backup."""
        # The first WAL may be on its way still.
        self._program.begin()
        before, _faults = self.records()
        kind = "full" if full or parent_of(before, self._config.incrementals) is None else "incr"
        standby = "--backup-standby" if int(ask_primary(self._config, _STANDBYS)) else "--no-backup-standby"
        servers = [
            option
            for number, server in enumerate(self._config.servers, start=1)
            for option in (
                f"--pg{number}-host={server}",
                f"--pg{number}-host-user=postgres",
                f"--pg{number}-path={self._config.data_directory}",
                f"--pg{number}-port={self._config.server_port}",
                f"--pg{number}-user=postgres",
            )
        ]
        # What goes is decided as for our own engine.
        self._program.run("backup", f"--type={kind}", standby, "--no-expire-auto", *servers)
        made = [record for name, record in self.records()[0].items() if name not in before]
        if not made:
            raise BackupError("pgbackrest backup ended well, and its repository has no new backup that is whole")
        return max(made, key=lambda record: record.stopped_at)

    def restore(self, chain: t.Sequence[Record], draft: str) -> str:
        """The files of the last of a chain, in a directory below the draft. pgBackRest looks at the checksum of each."""
        whole = os.path.join(draft, "whole")
        os.mkdir(whole, 0o700)
        self._program.run("restore", f"--set={chain[-1].name}", f"--pg1-path={whole}", "--type=none")
        return whole

    def expire(self, now: float) -> Kept:
        """Remove what the retention lets go, and the WAL that no backup needs any more."""
        records, _faults = self.records()
        kept = kept_of(records, now, self._config)
        full = [name for name in kept.backups if records[name].parent is None]
        if full:
            self._program.run("expire", f"--repo1-retention-full={len(full)}")
        return kept


class PgBackRestWal(Wal):
    """The WAL in its repository. Segments have their SHA-1 in their names there, as pgBackRest gives it; other files have none."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.work_directory)
        self._program = Program(config)

    def owner(self) -> t.Optional[int]:
        home = self._program.home()
        return home.cluster if home else None

    def _belongs_to(self, _head: Head) -> int:
        return self._program.begin().cluster

    def listing(self) -> t.Dict[str, Entry]:
        home = self._program.home()
        kept = self._program.names(home.wal, within=True) if home else {}
        names = {archived_as(os.path.basename(key))[0]: entry for key, entry in kept.items()}
        return {name: entry for name, entry in names.items() if is_archived(name)}

    def _has(self, name: str) -> t.Dict[str, str]:
        home = self._program.home()
        if home is None:
            return {}
        folder = home.wal if history_timeline(name) is not None else f"{home.wal}/{name[:16]}"
        found = {}
        for kept_as in self._program.names(folder):
            archived, digest = archived_as(kept_as)
            if archived == name:
                key = f"{folder}/{kept_as}"
                found[digest or self._digest(self._program.run("repo-get", of=key)).hexdigest()] = key
        return found

    def _history_names(self) -> t.Iterable[str]:
        home = self._program.home()
        return [name for name in (self._program.names(home.wal) if home else ()) if history_timeline(name) is not None]

    def _digest(self, content: bytes = b"") -> t.Any:
        return hashlib.sha1(content, usedforsecurity=False)

    @contextlib.contextmanager
    def _open(self, key: str) -> t.Iterator[t.IO[bytes]]:
        with tempfile.TemporaryDirectory(dir=self._work, prefix="get-") as work:
            file = os.path.join(work, os.path.basename(key))
            with open(file, "wb") as out:
                out.write(self._program.run("repo-get", of=key))
            with Seal().open(file) if key.endswith(".zst") else open(file, "rb") as content:
                yield content

    def _add(self, _name: str, plain: str, _digest: str, _written_at: t.Optional[float]) -> None:
        # A history that is there it would replace without a word; what is there was looked at before.
        self._program.begin()
        self._program.run("archive-push", self._program.in_place_of_a_server, of=plain)
