# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server of PostgreSQL on a restored data directory that nobody else can enter: on a socket in a folder of its owner's, and on no port."""

from __future__ import annotations

import os
import subprocess
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_base import control_of
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import BackupError
from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import LEAST
from ansible_collections.escala.ha.plugins.module_utils._postgresql_settings import rendered

_PORT = "5432"
_SAID = 600
_OWN = {
    "listen_addresses": "",
    "port": _PORT,
    "unix_socket_permissions": "0700",
    "archive_mode": "off",
    "hot_standby": "on",
    "ssl": "off",
    "shared_preload_libraries": "",
    "synchronous_standby_names": "",
    "primary_conninfo": "",
    "shared_buffers": "128MB",
    # It is thrown away: what a crash would take is made again.
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_size": "1GB",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "cluster_name": "escala_restore",
}


class Instance:
    """One that runs for as long as it is needed: `with Instance(...) as instance`."""

    def __init__(self, config: Config, data: str, settings: t.Mapping[str, str], superuser: str = "postgres") -> None:
        self._config = config
        self.data = data
        self._settings = dict(settings)
        self._superuser = superuser
        self._log = f"{data}.log"
        self._running: t.Optional[subprocess.Popen[bytes]] = None

    def __enter__(self) -> Instance:
        control = control_of(self._config, self.data)
        settings = {**_OWN, **{name: control[said] for said, name in LEAST.items()}, **self._settings}
        settings["unix_socket_directories"] = os.path.dirname(self.data)
        settings["hba_file"] = os.path.join(self.data, "pg_hba.conf")
        with open(settings["hba_file"], "w", encoding="utf-8") as file:
            # Through the socket, which only this host's own user reaches.
            file.write("local all all trust\n")
        with open(os.path.join(self.data, "postgresql.conf"), "w", encoding="utf-8") as file:
            file.write(rendered(settings))
        with open(os.path.join(self.data, "recovery.signal"), "w", encoding="utf-8"):
            pass
        with open(self._log, "wb") as log:
            self._running = subprocess.Popen(
                [self._config.program("postgres"), "-D", self.data], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Shut it down in order, so that its checksums can be looked at."""
        running = self._running
        if running is not None and running.poll() is None:
            running.terminate()
            # SIGTERM waits for sessions; there are none of others.
            try:
                running.wait(60)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
        self._running = None

    def wait_until_recovered(self, limit_seconds: float) -> None:
        """Until it is a server of its own; raises BackupError with its last words where it ended before."""
        until = time.monotonic() + limit_seconds
        while True:
            if self._running is None or self._running.poll() is not None:
                raise BackupError(f"the restored server ended: {self.last_words()}")
            try:
                if self.ask("postgres", "SELECT pg_is_in_recovery()") == "f":
                    return
            except BackupError:
                pass
            if time.monotonic() > until:
                raise BackupError(
                    f"the restored server had not recovered after {limit_seconds:g} s: {self.last_words()}"
                )
            time.sleep(0.1)

    def last_words(self) -> str:
        with open(self._log, encoding="utf-8", errors="replace") as log:
            lines = [line.strip() for line in log if line.strip()]
        # What fetches WAL says why it ended the recovery; PostgreSQL only that it did.
        telling = [line for line in lines if line.startswith("fetch: ")][-1:]
        telling += [line for line in lines if "FATAL" in line or "PANIC" in line][-1:]
        return "; ".join(telling or lines[-1:] or ["it said nothing"])[-_SAID:]

    def ask(self, database: str, question: str) -> str:
        """What a query says, as psql prints it without alignment; raises BackupError with the server's words."""
        return _psql(self._config, self.entry(database), question)

    def entry(self, database: str) -> t.List[str]:
        """How PostgreSQL's programs enter it."""
        return [
            f"--host={os.path.dirname(self.data)}",
            f"--port={_PORT}",
            f"--username={self._superuser}",
            f"--dbname={database}",
        ]


def ask_primary(config: Config, question: str) -> str:
    """What the primary says, whoever that is now; raises BackupError with libpq's words."""
    if config.probe_conninfo is None:
        raise BackupError("probe_conninfo says no way to ask the primary")
    entry = f"{config.probe_conninfo} target_session_attrs=read-write application_name=escala_backup"
    return _psql(config, [f"--dbname={entry}"], question)


def _psql(config: Config, entry: t.Sequence[str], question: str) -> str:
    command = [config.program("psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
    done = subprocess.run(
        [*command, "--no-password", *entry, f"--command={question}"],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise BackupError(done.stderr.decode("utf-8", "replace").strip()[-_SAID:])
    return done.stdout.decode("utf-8", "replace").strip()
