"""What the backup host decides: targets of a restore, what is wrong, what was received in surplus, what a drill may miss."""

from __future__ import annotations

import json
import re

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_backup
from ansible_collections.escala.ha.plugins.module_utils._backup_verdict import judge_backups
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import config_from
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_drill import hole, page_check
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_receive import is_ahead, surplus
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_restore import (
    Target,
    recovery_settings,
    target_of,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_side import wanted_of
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_status import (
    Archiver,
    Limits,
    Standing,
    exposition,
    problems,
    strangers,
)
from ansible_collections.escala.ha.plugins.module_utils._wal_archive import Segment

MIB16 = 2**24
LIMITS = Limits(backup_age=90_000, drill_age=700_000, archive_lag=120)
ARCHIVER = Archiver(written_lsn=9 * MIB16 + 100, failed_age=None, archived_age=5.0, last_failed="")
WELL = Standing(
    backup_age=3_600.0,
    drill_age=7_200.0,
    drill_passed=True,
    drill_why="",
    archiver=ARCHIVER,
    archiver_why="",
    archived_lsn=9 * MIB16,
    archived_age=5.0,
    gaps=[],
    faults=[],
    free_bytes=10 << 30,
    needed_bytes=1 << 30,
    receiving=True,
)


def test_nothing_is_wrong_where_all_is_well():
    assert problems(WELL, LIMITS, MIB16) == []


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ({"backup_age": None}, "there is no backup that can be restored"),
        ({"backup_age": 90_001.0}, "the last good backup is 25.0 h old, and may be 25.0 h"),
        (
            {"gaps": ["000000010000000000000006"]},
            "WAL is missing between segments that are there: 000000010000000000000006",
        ),
        ({"drill_passed": False, "drill_why": "a corrupted segment"}, "the last drill failed: a corrupted segment"),
        ({"drill_passed": None, "drill_age": None}, "no backup has been restored yet"),
        ({"drill_age": 700_001.0}, "the last drill that passed is 194.4 h ago"),
        ({"free_bytes": 100 << 20}, "100 MiB are free where backups are kept, and one takes 1024 MiB"),
        ({"receiving": False}, "WAL is not being received"),
        (
            {"archiver": None, "archiver_why": "no route"},
            "the primary cannot be asked how far it has written: no route",
        ),
        ({"archiver": ARCHIVER._replace(failed_age=1.0, last_failed="X")}, "the primary cannot archive X"),
        (
            {"archiver": ARCHIVER._replace(failed_age=1.0, archived_age=None, last_failed="X")},
            "the primary cannot archive X",
        ),
        ({"archived_lsn": 5 * MIB16, "archived_age": 121.0}, "the archive is 64 MiB and 121 s behind the primary"),
        ({"faults": ["backup x lacks base"]}, "backup x lacks base"),
    ],
)
def test_each_thing_that_is_wrong_is_said(different, said):
    found = problems(WELL._replace(**different), LIMITS, MIB16)
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    "different",
    [
        # It failed once and has succeeded since.
        {"archiver": ARCHIVER._replace(failed_age=50.0)},
        # Behind, and not for long; long, and not behind; what is behind is less than one segment, which fills up.
        {"archived_lsn": 5 * MIB16, "archived_age": 60.0},
        {"archived_age": 10_000.0},
        {"archived_lsn": 8 * MIB16 + 200, "archived_age": 10_000.0},
        {"receiving": None},
        {"free_bytes": None},
    ],
)
def test_what_is_not_wrong_is_not_said(different):
    assert problems(WELL._replace(**different), LIMITS, MIB16) == []


@pytest.mark.parametrize(("cluster", "owner", "said"), [(1, 1, 0), (1, None, 0), (None, 1, 0), (1, 2, 1)])
def test_an_archive_of_another_cluster_is_told(cluster, owner, said):
    assert len(strangers(cluster, owner)) == said


def test_a_failed_drill_does_not_hide_that_the_last_good_one_is_old():
    found = problems(WELL._replace(drill_passed=False, drill_why="x", drill_age=800_000.0), LIMITS, MIB16)
    assert len(found) == 2


def test_prometheus_is_told_what_is_known():
    lines = exposition(WELL, []).splitlines()
    assert "escala_backup_age_seconds 3600" in lines
    assert "escala_backup_archive_behind_bytes 100" in lines
    assert "escala_backup_archive_failing 0" in lines
    nothing = exposition(WELL._replace(backup_age=None, archiver=None, receiving=None), ["x"])
    assert "escala_backup_age_seconds" not in nothing
    assert "escala_backup_archive_failing" not in nothing
    assert "escala_backup_problems 1" in nothing


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("latest", Target()),
        ("lsn:0/5000000", Target(lsn=5 * MIB16)),
        ("point:before_release", Target(point="before_release")),
        ("2026-11-27T14:05:00Z", Target(time=1795788300.0)),
        ("2026-11-27 11:05:00-03:00", Target(time=1795788300.0)),
    ],
)
def test_a_target_is_read(text, target):
    assert target_of(text) == target


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-27 14:05:00", "point:", "lsn:5"])
def test_a_target_that_could_be_meant_otherwise_is_refused(text):
    with pytest.raises(ValueError, match=r"is neither|is not an LSN"):
        target_of(text)


def test_recovery_ends_where_it_is_to_and_goes_on_as_a_server():
    assert recovery_settings(Target(), "get %f %p", 3) == {
        "restore_command": "get %f %p",
        "recovery_target_timeline": "3",
    }
    to_time = recovery_settings(Target(time=1795788300.5), "get", 3)
    assert to_time["recovery_target_time"] == "2026-11-27 14:05:00.500000+00"
    assert to_time["recovery_target_action"] == "promote"
    assert recovery_settings(Target(lsn=5 * MIB16), "get", 3)["recovery_target_lsn"] == "0/5000000"
    assert recovery_settings(Target(point="x"), "get", 3)["recovery_target_name"] == "x"


def test_received_segments_go_once_they_are_archived_but_for_the_newest():
    complete = {f"s{number}": Segment(1, number) for number in (4, 5, 6)}
    assert surplus(complete, {"s4", "s5", "s6"}) == ["s4", "s5"]
    assert surplus(complete, {"s5"}) == ["s5"]
    assert surplus(complete, set()) == []
    assert surplus({}, set()) == []
    # By where they are, and not by their timeline: the newest is the last that was received.
    assert surplus({"old": Segment(1, 7), "new": Segment(2, 7)}, {"old", "new"}) == ["old"]


@pytest.mark.parametrize(
    ("said", "ahead"),
    [
        (
            "could not send replication command: ERROR:  requested starting point 0/9000000 on timeline 1 is not in this server's history",
            True,
        ),
        (
            "ERROR:  requested starting point 0/9000000 is ahead of the WAL flush position of this server 0/8000000",
            True,
        ),
        (
            "could not receive data from WAL stream: ERROR:  requested WAL segment 0000000C2F has already been removed",
            True,
        ),
        ("could not receive data from WAL stream: server closed the connection unexpectedly", False),
        ("", False),
    ],
)
def test_a_receiver_that_has_more_than_the_primary_is_known(said, ahead):
    assert is_ahead(said) is ahead


def test_what_is_lost_at_the_end_is_no_hole():
    assert hole([1, 2, 3, 4], [1, 2, 3]) == []
    assert hole([1, 2, 3, 4], [1, 3, 4]) == [2]
    assert hole([1, 2], []) == []


CONFIG = {
    "version": 17,
    "binaries": "/usr/lib/postgresql/17/bin",
    "conninfo": "host=a,b",
    "work_directory": "/work",
    "keep_full": 2,
    "keep_seconds": 100,
    "directory": "/store",
}


def test_a_configuration_is_read():
    config = config_from(json.dumps({**CONFIG, "of_a_later_version": 1}))
    assert config.program("psql") == "/usr/lib/postgresql/17/bin/psql"
    assert config.seal.ending == ".zst"
    assert config_from(json.dumps({**CONFIG, "recipient": "age1x"})).seal.ending == ".zst.age"


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ({"directory": None}, "either directory or remote"),
        ({"remote": "s3:x"}, "either directory or remote"),
        ({"directory": None, "remote": "s3:x"}, "rclone_config_file, which says what that is, is missing"),
        ({"keep_full": 0}, "keep_full is 0 and must be at least 1"),
        ({"keep_seconds": -1}, "keep_seconds is -1"),
        ({"incrementals": 6, "version": 15}, "PostgreSQL 15 has none: 17 was the first"),
    ],
)
def test_a_configuration_that_makes_no_backups_is_refused(different, said):
    with pytest.raises(ValueError, match=said):
        config_from(json.dumps({**CONFIG, **different}))


GOOD = {
    "problems": [],
    "backup_age_seconds": 3_600.0,
    "drill_age_seconds": 7_200.0,
    "archived_lsn": "0/9000000",
    "receiving": True,
}


def test_backups_that_stand_well_pass():
    verdict = judge_backups({"backup1": {**GOOD, "changed": False}})
    assert verdict["passed"]
    assert verdict["reason"] == (
        "backup1: the last backup is 1.0 h old, WAL is there up to 0/9000000 and received as it is written, and a restored backup passed its drill 2.0 h ago"
    )


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ({"backup1": {"unreachable": True, "msg": "x"}}, "backup1: could not be reached"),
        ({"backup1": {"msg": "no program"}}, "backup1: no program"),
        ({"backup1": {**GOOD, "problems": ["a", "b"]}}, "backup1: a; b"),
        ({"backup1": GOOD, "backup2": GOOD}, "2 hosts are in backup_servers"),
    ],
)
def test_backups_that_do_not_fail(results, said):
    verdict = judge_backups(results)
    assert not verdict["passed"]
    assert said in verdict["reason"]


def test_tables_are_asked_for_by_names_that_need_no_quotes():
    wanted = wanted_of("app", ["public.orders", "audit.entries"], "restored")
    assert wanted == ("app", ("public.orders", "audit.entries"), "restored")
    assert wanted_of("app", [], "restored").tables == ()


@pytest.mark.parametrize(
    ("database", "tables", "schema", "said"),
    [
        ("app; DROP", [], "restored", "database is 'app; DROP'"),
        ("app", [], "", "schema is ''"),
        ("app", [], "Restored", "schema is 'Restored'"),
        ("app", [], "r" * 64, "at most 63"),
        ("app", ["orders"], "restored", "'orders' is no table's name with its schema, such as public.orders"),
        ("app", ["public.orders; --"], "restored", "is no table's name with its schema"),
        ("app", ["a.b.c"], "restored", "is no table's name with its schema"),
        ("app", ["restored.orders"], "restored", "restored.orders is in the schema restored already"),
        ("app", ["a.orders", "b.orders"], "restored", "orders is asked for more than once"),
    ],
)
def test_what_could_not_come_back_by_its_name_is_refused(database, tables, schema, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        wanted_of(database, tables, schema)


def test_a_status_whose_metrics_cannot_be_written_is_told_all_the_same(monkeypatch, tmp_path, capsys):
    file = tmp_path / "pg-backup.json"
    settings = {
        "version": 17,
        "binaries": "/b",
        "conninfo": "host=db1",
        "work_directory": str(tmp_path),
        "keep_full": 1,
    }
    settings |= {"keep_seconds": 0, "directory": str(tmp_path), "metrics_file": str(tmp_path / "absent" / "m.prom")}
    file.write_text(json.dumps(settings))
    monkeypatch.setattr(_pg_backup, "look", lambda _config, _now: (WELL._replace(free_bytes=0, needed_bytes=0), MIB16))
    assert _pg_backup.main(["--config", str(file), "status"]) == 1
    told = json.loads(capsys.readouterr().out)["problems"]
    assert any("room" in problem for problem in told)
    assert any("metrics stay as they were" in problem for problem in told)


@pytest.mark.parametrize(
    ("status", "said", "passed", "note"),
    [
        (0, "Checksum operation completed\nBad checksums:  0", True, "Bad checksums:  0"),
        (1, "pg_checksums: error: checksum verification failed in file\nBad checksums:  1", False, "Bad checksums:  1"),
        (1, "pg_checksums: error: data checksums are not enabled in cluster", True, "the data has none, so only"),
        (1, "", False, "no word"),
    ],
)
def test_pages_are_judged_by_their_checksums_where_they_have_some(status, said, passed, note):
    check = page_check(status, said)
    assert check.passed is passed
    assert check.said.startswith(note)
