# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role postgresql_backup wrote for the host that makes and keeps backups."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import DirectoryStore, RcloneStore, Seal, Store
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import known

BASEBACKUP, PGBACKREST = "basebackup", "pgbackrest"
PATH = "/etc/escala/pg-backup.json"


class Config(t.NamedTuple):
    """Everything that is told. Either `directory` or `remote` says where our own engine keeps backups; pgBackRest has a configuration of its own."""

    version: int
    binaries: str
    # How libpq enters a node; a full list of hosts, without target_session_attrs. The password is in a file.
    conninfo: str
    # Where spools, what is being received and drills are: on a disk with room for twice the database.
    work_directory: str
    keep_full: int
    keep_seconds: float
    engine: str = BASEBACKUP
    # So many incremental ones follow a full one, where the engine has them.
    incrementals: int = 0
    directory: t.Optional[str] = None
    remote: t.Optional[str] = None
    rclone_config_file: t.Optional[str] = None
    # A directory with certificates of authorities that rclone is to believe besides the host's own: of the platform's, whose MinIO may be the remote.
    authorities: t.Optional[str] = None
    recipient: t.Optional[str] = None
    identity_file: t.Optional[str] = None
    # Of pgBackRest: where its repository is, and the servers that it enters by ssh, all with the same data directory and port.
    pgbackrest_config_file: t.Optional[str] = None
    servers: t.Sequence[str] = ()
    data_directory: t.Optional[str] = None
    server_port: int = 5432
    # The slot over which WAL is received as it is written; none where it is not.
    receiver_slot: t.Optional[str] = None
    # How many KiB/s a backup may take of the network and of the node's disk; 0 for all.
    max_rate_kib: int = 0
    # A file for Prometheus's node exporter.
    metrics_file: t.Optional[str] = None
    # How old, in seconds, the last good backup and the last passed drill may be.
    backup_age_limit_seconds: float = 90_000.0
    drill_age_limit_seconds: float = 700_000.0
    # How long archived WAL may be behind what the primary has written.
    archive_lag_limit_seconds: float = 120.0
    # How the primary is asked where it is, and takes a drill's tokens: an account with a schema `escala_probe` of its own.
    probe_conninfo: t.Optional[str] = None
    # What a drill asks of the restored database: {name of a database: [questions that must answer with something]}.
    drill_queries: t.Mapping[str, t.Sequence[str]] = {}

    @property
    def store(self) -> Store:
        if self.remote is not None:
            return RcloneStore(self.remote, str(self.rclone_config_file), authorities=self.authorities)
        return DirectoryStore(str(self.directory))

    @property
    def seal(self) -> Seal:
        return Seal(self.recipient, self.identity_file)

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's own programs."""
        return os.path.join(self.binaries, name)

    def work(self, *parts: str) -> str:
        return os.path.join(self.work_directory, *parts)


def config_from(text: str) -> Config:
    """The configuration in JSON; raises ValueError that says what is wrong with it."""
    config = Config(**known(Config, "the configuration", json.loads(text)))
    if config.engine not in (BASEBACKUP, PGBACKREST):
        raise ValueError(f"engine is {config.engine!r}, and there are {BASEBACKUP} and {PGBACKREST}")
    if config.engine == PGBACKREST:
        missing = [
            name for name in ("pgbackrest_config_file", "servers", "data_directory") if not getattr(config, name)
        ]
        if missing:
            raise ValueError(f"engine is {PGBACKREST}, and {', '.join(missing)} is missing")
    elif (config.directory is None) == (config.remote is None):
        raise ValueError("either directory or remote says where backups are kept, and not both")
    if config.remote is not None and config.rclone_config_file is None:
        raise ValueError(f"remote is {config.remote}, and rclone_config_file, which says what that is, is missing")
    if config.keep_full < 1 or config.keep_seconds < 0 or config.incrementals < 0:
        raise ValueError(
            f"keep_full is {config.keep_full} and must be at least 1, keep_seconds is {config.keep_seconds:g} and incrementals {config.incrementals},"
            " and neither may be below 0"
        )
    if config.incrementals and config.version < 17 and config.engine == BASEBACKUP:
        raise ValueError(
            f"incrementals is {config.incrementals}, and PostgreSQL {config.version} has none: 17 was the first"
        )
    return config


def read_config(path: str = "") -> Config:
    """Raises OSError and ValueError."""
    with open(path or os.environ.get("ESCALA_PG_BACKUP_CONFIG", PATH), encoding="utf-8") as file:
        return config_from(file.read())
