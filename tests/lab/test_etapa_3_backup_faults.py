"""What breaks while backups are made or brought is named, and costs neither a backup nor a segment; and what backups cost those who work meanwhile."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from tests.lab.backups import WORK, Backups
from tests.lab.eventually import eventually
from tests.lab.handle import Lab, playbook
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster

pytestmark = [
    pytest.mark.etapa_3,
    pytest.mark.topology("backups"),
    pytest.mark.soak_only,
    pytest.mark.soak(runs=1),
]

BULK_ROWS = 1_500_000
# Of pgbench, in seconds: long enough for several backups.
BENCH_SECONDS = 30
_PSQL = "runuser -u postgres -- psql -XqAt --set=ON_ERROR_STOP=1"
_BULK_TEXT = "repeat(md5(n::text), 6)"
_MAKE_BULK = (
    f"CREATE TABLE escala_probe.bulk AS SELECT n, {_BULK_TEXT} AS text FROM generate_series(1, {BULK_ROWS}) AS n"  # noqa: S608
)
_BACKING_UP = "SELECT count(*) FROM pg_stat_progress_basebackup WHERE phase LIKE 'streaming%'"


@pytest.fixture
def backups(lab: Lab, whole_cluster: Cluster) -> Iterator[Backups]:
    lab.start_all()
    backups = Backups(lab)
    backups.on("systemctl reset-failed 'escala-pg-*'", check=False)
    backups.wait_until_well()
    yield backups
    lab.verb("disk-heal", backups.host)
    lab.start_all()
    whole_cluster.wait_until_whole(180)
    backups.wait_until_well(180)


@pytest.fixture
def bulk(backups: Backups, whole_cluster: Cluster) -> Iterator[None]:
    """As much data as a backup needs seconds for."""
    backups.lab.on(whole_cluster.primary(), f'{_PSQL} --command="{_MAKE_BULK}" app')
    backups.wait_until_well(120)
    yield
    backups.lab.on(whole_cluster.primary(), f'{_PSQL} --command="DROP TABLE escala_probe.bulk" app')


def test_a_primary_that_dies_in_mid_backup_leaves_no_backup_that_is_half(
    backups: Backups, whole_cluster: Cluster, bulk: None
) -> None:
    old = whole_cluster.primary()
    kept = set(backups.files("backup.json"))
    backups.on("systemctl start --no-block escala-pg-backup")
    eventually("the backup is under way", lambda: _is_backed_up(whole_cluster), within=30, every=0.05)
    backups.lab.verb("kill", old)
    eventually("another node is primary", lambda: whole_cluster.primary() != old, within=30)
    state = eventually("the backup has ended", lambda: _ended(backups), within=180)
    more = set(backups.files("backup.json")) - kept
    # Either it is whole, or it has failed and says so.
    assert (state == "failed") == (not more), (state, more)
    backups.lab.verb("start", old)
    whole_cluster.wait_until_whole(180)
    backups.on("systemctl reset-failed escala-pg-backup; systemctl start escala-pg-backup")
    assert len(set(backups.files("backup.json")) - kept) == len(more) + 1
    backups.wait_until_well(120)
    report = backups.drill()
    assert report["passed"], report["why"]
    assert report["tables"]["app"]["escala_probe.bulk"] == BULK_ROWS


def test_a_full_disk_is_named_and_nothing_is_missing_when_there_is_room_again(
    backups: Backups, whole_cluster: Cluster
) -> None:
    primary = whole_cluster.primary()
    kept = set(backups.files("backup.json"))
    backups.lab.verb("disk-full", backups.host, "backup")
    begun = time.monotonic()
    finished = [backups.finished_segment(primary) for _ in range(3)]
    eventually("it is told that there is no room", lambda: "room" in " ".join(backups.problems()), within=120)
    record(
        "backup_disk_full_told",
        time.monotonic() - begun,
        "s",
        120,
        what="the backup host's disk is full: it says so after",
        of=MANAGER,
    )
    eventually("the primary cannot archive, and it is told", lambda: _cannot_archive(backups), within=120)
    done = backups.program("base", "--full", check=False)
    assert "No space left on device" in done, done
    # Not by its report, which stays that of the last drill where none can be written.
    assert playbook("drill_restore.yml").returncode != 0
    told = playbook("verify.yml")
    assert told.returncode != 0
    assert "postgresql_backup_restorable" in told.stdout
    backups.lab.verb("disk-heal", backups.host)
    eventually("all of them are archived", lambda: all(backups.files(f"{name}-*") for name in finished), within=120)
    backups.wait_until_well(180)
    assert set(backups.files("backup.json")) == kept
    report = backups.drill()
    assert report["passed"], report["why"]


def test_a_backup_host_that_was_away_for_ten_minutes_has_all_wal_when_it_is_back(
    backups: Backups, whole_cluster: Cluster
) -> None:
    primary = whole_cluster.primary()
    backups.lab.verb("kill", backups.host)
    begun = time.monotonic()
    finished: list[str] = []

    def is_over() -> bool:
        finished.append(backups.finished_segment(primary))
        return time.monotonic() - begun > 600

    eventually("ten minutes are over", is_over, within=700, every=20)
    assert whole_cluster.primary() == primary
    backups.lab.verb("start", backups.host)
    begun = time.monotonic()
    eventually("nothing is wrong", lambda: backups.problems() == [], within=300)
    record(
        "backup_host_back_seconds",
        time.monotonic() - begun,
        "s",
        what="the backup host was off for ten minutes: all WAL is there after its start",
        of=MANAGER,
    )
    for segment in finished:
        backups.wait_until_archived(segment)
    report = backups.drill()
    assert report["passed"], report["why"]


def test_what_backups_cost_and_how_fast_they_are(backups: Backups, whole_cluster: Cluster, bulk: None) -> None:
    primary = whole_cluster.primary()
    bench = "/usr/lib/postgresql/17/bin/pgbench"
    postgres = "runuser -u postgres --"
    backups.lab.on(primary, f"{postgres} dropdb --if-exists bench && {postgres} createdb bench")
    try:
        backups.lab.on(primary, f"{postgres} {bench} --initialize --scale=20 --quiet bench 2>&1")
        run = f"{postgres} {bench} --client=4 --time={BENCH_SECONDS} bench 2>&1"
        alone = _transactions(backups.lab.on(primary, run))
        loop = f"sh -c 'while test -e {WORK}/go-on; do escala-pg-backup base --full || exit; done'"
        backups.on(
            f"touch {WORK}/go-on && systemd-run --quiet --unit=backups-of-a-story --uid=escala-backup --collect {loop}"
        )
        before = len(backups.files("backup.json"))
        beside = _transactions(backups.lab.on(primary, run))
        backups.on(f"rm {WORK}/go-on")
        eventually(
            "the last of them has ended",
            lambda: backups.on("systemctl is-active backups-of-a-story", check=False).strip() == "inactive",
            within=120,
        )
        assert backups.problems() == [], before
    finally:
        backups.lab.on(primary, f"{postgres} dropdb --if-exists --force bench")
    record(
        "backup_cost_ratio",
        beside / alone,
        "",
        what="transactions a second while one base backup follows the other, as a share of those without",
        of=MANAGER,
    )
    ours = _seconds(backups, "escala-pg-backup base --full")
    entry = json.loads(backups.on("cat /etc/escala/pg-backup.json"))["conninfo"]
    plain = _seconds(
        backups,
        f"/usr/lib/postgresql/17/bin/pg_basebackup --checkpoint=fast --pgdata={WORK}/plain --dbname='{entry}'",
    )
    backups.on(f"rm -r {WORK}/plain")
    record(
        "backup_speed_ratio",
        ours / plain,
        "",
        what="a base backup, verified, compressed and encrypted: its time in those of a plain pg_basebackup",
        of=MANAGER,
    )


def _is_backed_up(cluster: Cluster) -> bool:
    return any(cluster.ask(node, _BACKING_UP) == [["1"]] for node in cluster.nodes)


def _ended(backups: Backups) -> str:
    state = backups.on("systemctl show --property=ActiveState --value escala-pg-backup").strip()
    return "" if state == "activating" else state


def _cannot_archive(backups: Backups) -> bool:
    return "archive" in " ".join(backups.problems())


def _transactions(said: str) -> float:
    found = re.search(r"tps = ([0-9.]+)", said)
    assert found, said
    return float(found[1])


def _seconds(backups: Backups, command: str) -> float:
    begun = time.monotonic()
    backups.on(f"runuser -u escala-backup -- {command} 2>&1")
    return time.monotonic() - begun
