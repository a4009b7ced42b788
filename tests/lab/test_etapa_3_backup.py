"""Backups are restored, damaged, missed and needed: what a drill passes is there, and nothing that lacks something passes one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.backups import WORK, Backups
from tests.lab.eventually import eventually
from tests.lab.handle import Lab, playbook
from tests.lab.measurements import record
from tests.lab.postgres import Cluster

pytestmark = [pytest.mark.etapa_3, pytest.mark.topology("backups", "backups_pgbackrest", "backups_s3")]

RTO_SECONDS, RPO_SECONDS = 50.0, 1.0
ROWS = 50
_ENCRYPTED_BY_US = pytest.mark.topology("backups")
_KEPT_BY_PGBACKREST = pytest.mark.topology("backups_pgbackrest")
COUNT = "SELECT count(*) FROM escala_probe.dropped_by_a_story"
RESTORE_CONFIRMED = "restore_confirmation='overwrite lab'"


@pytest.fixture
def backups(lab: Lab, whole_cluster: Cluster) -> Backups:
    lab.start_all()
    backups = Backups(lab)
    backups.wait_until_well()
    return backups


@pytest.fixture
def damaged(backups: Backups) -> Iterator[Backups]:
    """A story may do to the store what it likes."""
    backups.keep()
    yield backups
    backups.bring_back()
    backups.on("systemctl reset-failed 'escala-pg-*'", check=False)
    # The last word must not be that of a drill that was to fail.
    assert backups.drill()["passed"]


@pytest.mark.soak(runs=5)
def test_a_drill_restores_all_that_was_acknowledged_a_second_ago(backups: Backups) -> None:
    done = playbook("drill_restore.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    report = backups.drill()
    assert report["passed"], report["why"]
    assert {check["name"] for check in report["checks"]} >= {
        "backup",
        "tokens",
        "rows",
        "pg_amcheck",
        "pg_checksums",
    }
    # What the seeded database has, at least.
    assert sum(report["tables"]["app"].values()) > 500
    record(
        "drill_restore_rto",
        report["rto_seconds"],
        "s",
        RTO_SECONDS,
        what="drill of a restore: a server that takes writes after",
        of=backups.of,
    )
    record(
        "drill_restore_rpo",
        report["rpo_seconds"],
        "s",
        RPO_SECONDS,
        what="drill of a restore: not there of what was written before",
        of=backups.of,
    )
    # Thrown away.
    assert backups.on(f"ls -A {WORK}/drill 2>/dev/null; true") == ""


_OVERWRITE = 'printf XXXX | dd of="$1" bs=1 seek=100000 conv=notrunc status=none'


@pytest.mark.soak(runs=1)
@pytest.mark.soak_only
@pytest.mark.parametrize(
    ("pattern", "damage", "said"),
    [
        pytest.param("*/base.tar.zst.age", 'truncate --size=-1000 "$1"', "is cut off", marks=_ENCRYPTED_BY_US),
        pytest.param("*/base.tar.zst.age", _OVERWRITE, "cannot be read", marks=_ENCRYPTED_BY_US),
        pytest.param("*/backup.json", 'rm "$1"', "was not finished", marks=_ENCRYPTED_BY_US),
        # pgBackRest keeps each file for itself.
        pytest.param(
            "*/backup/*.zst", 'truncate --size=-16 "$1"', "pgbackrest restore failed", marks=_KEPT_BY_PGBACKREST
        ),
        pytest.param(
            "*/backup/*.zst",
            _OVERWRITE.replace("100000", "100"),
            "pgbackrest restore failed",
            marks=_KEPT_BY_PGBACKREST,
        ),
        pytest.param("*/backup.manifest*", 'rm "$1"', "pgbackrest restore failed", marks=_KEPT_BY_PGBACKREST),
    ],
    ids=[
        "truncated",
        "corrupted",
        "unfinished",
        "pgbackrest_truncated",
        "pgbackrest_corrupted",
        "pgbackrest_unfinished",
    ],
)
def test_a_base_backup_that_is_not_whole_fails_the_drill(
    damaged: Backups, pattern: str, damage: str, said: str
) -> None:
    damaged.damage(pattern, damage)
    report = damaged.drill()
    assert not report["passed"]
    assert said in report["why"]


@pytest.mark.soak(runs=1)
@pytest.mark.topology("backups", "backups_pgbackrest")
def test_damaged_wal_fails_the_drill_and_a_gap_is_named(damaged: Backups, whole_cluster: Cluster) -> None:
    primary = whole_cluster.primary()
    segment = damaged.finished_segment(primary)
    damaged.wait_until_archived(segment)
    file = damaged.file(f"{segment}-*")
    damaged.on(f"cp -a {file} {WORK}/kept && printf XXXX | dd of={file} bs=1 seek=300 conv=notrunc status=none")
    report = damaged.drill()
    assert not report["passed"]
    assert segment in report["why"]
    damaged.on(f"mv {WORK}/kept {file}")


def drilled_with(backups: Backups, file: str, command: str) -> dict[str, Any]:
    """A drill while a shell command has changed a file, `{}`, which is as before afterwards."""
    backups.on(f"cp -a {file} {file}.kept && {command.format(file)}")
    try:
        return backups.drill()
    finally:
        backups.on(f"mv {file}.kept {file}")


@pytest.mark.soak(runs=1)
@pytest.mark.soak_only
@pytest.mark.topology("backups")
def test_a_key_of_somebody_else_s_fails_the_drill(damaged: Backups) -> None:
    report = drilled_with(damaged, "/etc/escala/pg-backup.identity", "age-keygen 2>/dev/null > {}")
    assert not report["passed"]
    assert "no identity matched any of the recipients" in report["why"]


@pytest.mark.soak(runs=1)
@pytest.mark.soak_only
@pytest.mark.topology("backups_pgbackrest")
def test_a_passphrase_of_somebody_else_s_fails_the_drill(damaged: Backups) -> None:
    another = "sed -i s/^repo1-cipher-pass=.*/repo1-cipher-pass=another/ {}"
    report = drilled_with(damaged, "/etc/escala/pg-backup.pgbackrest", another)
    assert not report["passed"]
    assert "made with another secret_postgresql_backup_key" in report["why"]


@pytest.fixture
def incremental(backups: Backups, whole_cluster: Cluster) -> Iterator[Backups]:
    """The next backup may build on the last. PostgreSQL's own programs need to know what changed since, from before that one on."""
    told = "/etc/escala/pg-backup.json"
    backups.on(f'cp -a {told} {told}.kept && sed -i \'s/"incrementals": 0/"incrementals": 1/\' {told}')
    summarize(whole_cluster, "on")
    yield backups
    summarize(whole_cluster, "off")
    backups.on(f"mv {told}.kept {told}")


def summarize(cluster: Cluster, wal: str) -> None:
    for node in cluster.nodes:
        ask = "runuser -u postgres -- psql -XqAtc"
        cluster.lab.on(node, f"{ask} 'ALTER SYSTEM SET summarize_wal = {wal}' && {ask} 'SELECT pg_reload_conf()'")


@pytest.mark.soak(runs=1)
@pytest.mark.soak_only
def test_a_backup_that_builds_on_another_is_restored_with_it(incremental: Backups, whole_cluster: Cluster) -> None:
    incremental.program("base", "--full")
    # A standby begins a backup at its last restart point, which must not be before the one that this builds on.
    incremental.finished_segment(whole_cluster.primary())
    said = incremental.program("base")
    planned = json.loads(incremental.program("plan"))
    assert len(planned["chain"]) == 2, (said, planned)
    report = incremental.drill()
    assert report["passed"], report["why"]
    assert any("with 1 that it builds on" in check["said"] for check in report["checks"]), report["checks"]


@pytest.mark.soak(runs=1)
@pytest.mark.soak_only
def test_a_failover_between_backup_and_restore_leaves_no_gap(backups: Backups, whole_cluster: Cluster) -> None:
    old = whole_cluster.primary()
    whole_cluster.lab.verb("kill", old)
    eventually("another node is primary", lambda: whole_cluster.primary() != old, within=30)
    whole_cluster.lab.verb("start", old)
    whole_cluster.wait_until_whole(120)
    backups.wait_until_well(120)
    report = backups.drill()
    assert report["passed"], report["why"]
    assert report["timeline"] > 1
    assert report["rpo_seconds"] <= RPO_SECONDS


@pytest.mark.soak(runs=1)
@pytest.mark.soak_only
def test_a_backup_host_that_was_away_has_all_wal_when_it_is_back(backups: Backups, whole_cluster: Cluster) -> None:
    backups.lab.verb("kill", backups.host)
    primary = whole_cluster.primary()
    finished = [backups.finished_segment(primary) for _ in range(3)]
    assert whole_cluster.primary() == primary
    eventually("the primary says that it cannot archive", lambda: _fails(whole_cluster, primary), within=60)
    backups.lab.verb("start", backups.host)
    eventually("it is back", lambda: backups.problems() == [], within=180)
    for segment in finished:
        backups.wait_until_archived(segment)
    report = backups.drill()
    assert report["passed"], report["why"]


@pytest.mark.soak(runs=1)
def test_a_table_that_was_dropped_comes_back_with_all_rows_up_to_the_second_before(
    backups: Backups, whole_cluster: Cluster
) -> None:
    session = whole_cluster.connect(whole_cluster.primary(), "escala_probe")(10)
    for statement in (
        "DROP TABLE IF EXISTS escala_probe.dropped_by_a_story",
        "CREATE TABLE escala_probe.dropped_by_a_story (id int)",
        *["INSERT INTO escala_probe.dropped_by_a_story VALUES (1)"] * ROWS,
    ):
        session.execute(statement, limit_seconds=10)
    # Half a second lies between what is to be there and what is not.
    [[target, _]] = session.execute("SELECT clock_timestamp(), pg_sleep(0.5)", limit_seconds=10).rows
    session.execute("SELECT pg_sleep(0.5)", limit_seconds=10)
    session.execute("DROP TABLE escala_probe.dropped_by_a_story", limit_seconds=10)
    session.close()

    _has_the_table_come_back_beside_today_s(backups, whole_cluster, str(target))
    wanted = ["--extra-vars", f"restore_to='{target}:00'"]
    planned = playbook("restore.yml", *wanted, "--check")
    assert planned.returncode == 0, planned.stdout[-3000:]
    assert f"up to {target}" in " ".join(planned.stdout.split())
    refused = playbook("restore.yml", *wanted)
    assert refused.returncode != 0
    assert "restore_confirmation to 'overwrite lab'" in " ".join(refused.stdout.split()).replace("''", "'")
    begun = time.monotonic()
    done = playbook("restore.yml", *wanted, "--extra-vars", RESTORE_CONFIRMED)
    assert done.returncode == 0, done.stdout[-4000:]
    what = "a dropped table: the whole cluster taken back to the second before"
    record("restore_seconds", time.monotonic() - begun, "s", what=what, of=backups.of)
    whole_cluster.wait_until_whole()
    assert _rows_of(whole_cluster) == str(ROWS)
    backups.wait_until_well(120)
    report = backups.drill()
    assert report["passed"], report["why"]


def _has_the_table_come_back_beside_today_s(backups: Backups, cluster: Cluster, target: str) -> None:
    asked = json.dumps({"restore_to": f"{target}:00", "restore_tables": ["escala_probe.dropped_by_a_story"]})
    begun = time.monotonic()
    done = playbook("restore_table.yml", "--extra-vars", asked)
    assert done.returncode == 0, done.stdout[-4000:]
    what = "a dropped table: its rows in a schema of their own, while the cluster goes on"
    record("restore_table_seconds", time.monotonic() - begun, "s", what=what, of=backups.of)
    count = "runuser -u postgres -- psql -XAtc 'SELECT count(*) FROM restored.dropped_by_a_story' app"
    eventually(
        "the table is on every node",
        lambda: all(backups.lab.on(node, count, check=False).strip() == str(ROWS) for node in cluster.nodes),
        within=10,
    )
    assert backups.on("systemctl is-active escala-pg-side").strip() == "active"
    # What is there is not written over.
    again = playbook("restore_table.yml", "--extra-vars", asked)
    assert again.returncode != 0
    assert "has a schema restored already" in " ".join(again.stdout.split())
    backups.lab.on(cluster.primary(), "runuser -u postgres -- psql -Xqc 'DROP SCHEMA restored CASCADE' app")
    gone = playbook("restore_table.yml", "--extra-vars", "restore_state=absent")
    assert gone.returncode == 0, gone.stdout[-3000:]
    assert "nothing" in backups.on(f"ls -d {WORK}/side 2>/dev/null || echo nothing")


def _rows_of(cluster: Cluster) -> str | None:
    session = cluster.connect(cluster.primary(), "escala_probe")(10)
    try:
        [[rows]] = session.execute(COUNT, limit_seconds=10).rows
    finally:
        session.close()
    return rows


def _fails(cluster: Cluster, primary: str) -> bool:
    [[fails]] = cluster.ask(
        primary,
        "SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) FROM pg_stat_archiver",
    )
    return fails == "t"
