# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup is one when it has been restored: the newest one and all WAL, on a server that is thrown away, looked at from page to query."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_instance import Instance, ask_primary
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_restore import Restore, Target, recovery_settings
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import BackupError

_TOKENS_SECONDS = 2.0
_TOKEN_EVERY_SECONDS = 0.1
_RECOVERY_SECONDS = 3_600.0
_SAID = 300
# By pg_checksums, of data that were made so.
_WITHOUT_CHECKSUMS = "data checksums are not enabled in cluster"
_PREPARE = """
CREATE TABLE IF NOT EXISTS escala_probe.backup_token (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
DELETE FROM escala_probe.backup_token WHERE written_at < now() - interval '1 day'
"""
_WRITE = "INSERT INTO escala_probe.backup_token DEFAULT VALUES RETURNING id"
_READ = "SELECT id, extract(epoch FROM written_at) FROM escala_probe.backup_token"
_TABLES = (
    "SELECT coalesce(json_object_agg(format('%I.%I', schemaname, tablename), (xpath('/row/n/text()', query_to_xml("
    "format('SELECT count(*) AS n FROM %I.%I', schemaname, tablename), false, true, '')))[1]::text::bigint), '{}')"
    " FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
)


class Check(t.NamedTuple):
    """One look at the restored database."""

    name: str
    passed: bool
    said: str


class Report(t.NamedTuple):
    """How a drill went. Times are in seconds since 1970."""

    passed: bool
    started_at: float
    backup: t.Optional[str]
    timeline: t.Optional[int]
    # From the moment of the disaster to the first answer of a server that takes writes.
    rto_seconds: t.Optional[float]
    # How much of what was written before that moment is not there.
    rpo_seconds: t.Optional[float]
    checks: t.List[Check]
    # Rows by table, by database.
    tables: t.Dict[str, t.Dict[str, int]]
    why: str


def lines(report: Report) -> t.List[str]:
    """What a person reads of it."""
    said = [f"{'ok    ' if check.passed else 'FAILED'} {check.name}: {check.said}" for check in report.checks]
    took = (
        "" if report.rto_seconds is None else f" A server that takes writes was there after {report.rto_seconds:.1f} s"
    )
    lost = (
        ""
        if report.rpo_seconds is None
        else f", and what was written in the last {report.rpo_seconds:.1f} s is not there"
    )
    verdict = f"passed: backup {report.backup} can be restored." if report.passed else f"FAILED: {report.why}."
    return [*said, f"{verdict}{took}{lost}{'.' if took else ''}"]


class Tokens:
    """Rows that a primary acknowledges until the moment at which the drill has it lost."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.acknowledged: t.List[int] = []

    def write(self) -> None:
        """Write for two seconds; raises BackupError where nothing is acknowledged."""
        try:
            ask_primary(self._config, _PREPARE)
            until = time.monotonic() + _TOKENS_SECONDS
            while time.monotonic() < until:
                self.acknowledged.append(int(ask_primary(self._config, _WRITE).split()[0]))
                time.sleep(_TOKEN_EVERY_SECONDS)
        except BackupError as error:
            raise BackupError(f"the primary took no token, so nobody could say what is lost: {error}") from error

    def found(self, instance: Instance, database: str) -> t.Tuple[t.List[int], t.Optional[float]]:
        """Which of them are restored, and when the newest was written, in seconds since 1970."""
        if instance.ask(database, "SELECT to_regclass('escala_probe.backup_token')") == "":
            return [], None
        pairs = [line.split("|") for line in instance.ask(database, _READ).splitlines()]
        ours = {int(number): float(at) for number, at in pairs if int(number) in self.acknowledged}
        return sorted(ours), max(ours.values(), default=None)


def hole(acknowledged: t.Sequence[int], found: t.Sequence[int]) -> t.List[int]:
    """Tokens that are missing while later ones are there: what a loss at the end does not explain."""
    last = max(found, default=0)
    return sorted({token for token in acknowledged if token <= last} - set(found))


def page_check(status: int, said: str) -> Check:
    """What pg_checksums found. Data that were made without checksums pass: whether they may be without says verify.yml of the cluster itself."""
    if status != 0 and _WITHOUT_CHECKSUMS in said:
        return Check("pg_checksums", True, "the data has none, so only pg_amcheck has looked at its pages")
    return Check("pg_checksums", status == 0, said.splitlines()[-1][:_SAID] if said else "no word")


class Drill:
    """One drill, from tokens to the last look."""

    def __init__(self, config: Config, fetch_command: str) -> None:
        self._config = config
        self._fetch_command = fetch_command
        self._restore = Restore(config)
        self._checks: t.List[Check] = []

    def run(self) -> Report:
        """Never raises for what it finds: that is the report's."""
        started_at = time.time()
        work = self._config.work("drill")
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work, 0o700)
        backup = timeline = rto = rpo = None
        tables: t.Dict[str, t.Dict[str, int]] = {}
        try:
            tokens = Tokens(self._config) if self._config.probe_conninfo else None
            if tokens:
                tokens.write()
            disaster_at, begun = time.time(), time.monotonic()
            plan = self._restore.plan(Target())
            backup, timeline = plan.chain[-1].name, plan.timeline
            data = os.path.join(work, "data")
            self._restore.unpack(plan, data)
            self._note("backup", f"{backup} is whole by its manifest, with {len(plan.chain) - 1} that it builds on")
            instance = Instance(self._config, data, recovery_settings(Target(), self._fetch_command, plan.timeline))
            with instance:
                instance.wait_until_recovered(_RECOVERY_SECONDS)
                rto = time.monotonic() - begun
                if tokens:
                    rpo = self._look_for(tokens, instance, disaster_at)
                tables = self._count(instance)
                self._ask(instance)
                self._look_into_pages(instance)
            self._checksums(data)
            why = next((f"{check.name}: {check.said}" for check in self._checks if not check.passed), "")
        except (BackupError, OSError, ValueError) as error:
            why = str(error)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return Report(not why, started_at, backup, timeline, rto, rpo, self._checks, tables, why)

    def _note(self, name: str, said: str, passed: bool = True) -> None:
        self._checks.append(Check(name, passed, said))

    def _look_for(self, tokens: Tokens, instance: Instance, disaster_at: float) -> t.Optional[float]:
        database = dict(word.partition("=")[::2] for word in str(self._config.probe_conninfo).split())["dbname"]
        found, newest_at = tokens.found(instance, database)
        missing = hole(tokens.acknowledged, found)
        self._note(
            "tokens",
            f"{len(found)} of {len(tokens.acknowledged)} rows that were acknowledged just before are there"
            + (f"; {missing[:5]} are not, while later ones are" if missing else ""),
            not missing,
        )
        if newest_at is not None:
            return max(0.0, disaster_at - newest_at)
        replayed = instance.ask(database, "SELECT extract(epoch FROM pg_last_xact_replay_timestamp())")
        return disaster_at - float(replayed) if replayed else None

    def _count(self, instance: Instance) -> t.Dict[str, t.Dict[str, int]]:
        names = instance.ask(
            "postgres", "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"
        )
        counted = {name: json.loads(instance.ask(name, _TABLES)) for name in names.splitlines()}
        rows = sum(sum(tables.values()) for tables in counted.values())
        self._note("rows", f"{rows} rows in {sum(map(len, counted.values()))} tables", rows > 0)
        return counted

    def _ask(self, instance: Instance) -> None:
        for database, questions in self._config.drill_queries.items():
            for question in questions:
                said = instance.ask(database, question)
                self._note(
                    "query", f"{database}: {question}: {said.splitlines()[0] if said else 'nothing'}", bool(said)
                )

    def _look_into_pages(self, instance: Instance) -> None:
        command = [self._config.program("pg_amcheck"), "--install-missing", "--jobs=2", "--no-password"]
        done = subprocess.run(
            [*command, *instance.entry("postgres")[:-1], "--all"],
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()
        self._note("pg_amcheck", said[:_SAID] or "tables and B-trees are in order", done.returncode == 0)

    def _checksums(self, data: str) -> None:
        done = subprocess.run(
            [self._config.program("pg_checksums"), "--check", "--pgdata", data],
            capture_output=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        self._checks.append(page_check(done.returncode, said))
