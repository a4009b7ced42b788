"""What is said of an archive in a directory, as archive_command and pg_basebackup leave it."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import Seal

MIB1 = 2**20
# Timeline 1 up to the middle of segment 5, timeline 2 from there.
HISTORY = "1\t0/500A000\tno recovery target specified\n"


def name_of(timeline, number):
    return f"{timeline:08X}00000000{number:08X}"


@pytest.fixture
def archive(tmp_path):
    """An archive of segments of 16 MiB, as sparse files: 2 to 4 on timeline 1, 5 to 8 on timeline 2, written at 100 s for each."""
    (tmp_path / "wal").mkdir()
    (tmp_path / "backups").mkdir()
    for timeline, number in [(1, 2), (1, 3), (1, 4), (2, 5), (2, 6), (2, 7), (2, 8)]:
        segment(tmp_path, timeline, number)
    (tmp_path / "wal" / "00000002.history").write_text(HISTORY)
    (tmp_path / "wal" / f"{name_of(1, 5)}.partial").write_bytes(b"")
    backup(tmp_path, "full", stopped_at=250.0)
    return tmp_path


def segment(path, timeline, number, ending="", size=16 * MIB1):
    file = path / "wal" / f"{name_of(timeline, number)}{ending}"
    with file.open("wb") as stream:
        stream.truncate(size)
    os.utime(file, (0, number * 100))


def backup(path, name, stopped_at, timeline=1, start="0/2000028", end="0/2000120", **record):
    directory = path / "backups" / name
    directory.mkdir()
    ranges = [{"Timeline": timeline, "Start-LSN": start, "End-LSN": end}]
    (directory / "backup_manifest").write_text(json.dumps({"WAL-Ranges": ranges}))
    (directory / "backup.json").write_text(json.dumps({"stopped_at": stopped_at, **record}))


@pytest.fixture
def info(run_module, archive):
    return lambda **options: run_module("wal_archive_info", {"path": str(archive), **options})


def test_a_whole_archive(info):
    said = info(written_lsn="0/9400000")
    assert (said["changed"], said["faults"], said["gaps"], said["stale"]) == (False, [], [], [])
    assert (said["segment_bytes"], said["segments"], said["timeline"]) == (16 * MIB1, 7, 2)
    assert said["timelines"] == [
        {
            "timeline": 1,
            "begins_at": None,
            "first": name_of(1, 2),
            "last": name_of(1, 4),
            "segments": 3,
            "partial": [f"{name_of(1, 5)}.partial"],
        },
        {
            "timeline": 2,
            "begins_at": "0/500A000",
            "first": name_of(2, 5),
            "last": name_of(2, 8),
            "segments": 4,
            "partial": [],
        },
    ]
    assert said["backups"] == [
        {
            "name": "full",
            "parent": None,
            "timeline": 1,
            "start_lsn": "0/2000028",
            "stop_lsn": "0/2000120",
            "restorable": True,
            "until_lsn": "0/9000000",
            "from_time": 250.0,
            "until_time": 800.0,
            "missing": None,
            "why": f"the archive ends before {name_of(2, 9)}",
        }
    ]
    assert (said["from_time"], said["until_time"], said["lag_bytes"]) == (250.0, 800.0, 0x400000)


def test_a_segment_that_is_gone_is_named(info, archive):
    (archive / "wal" / name_of(2, 6)).unlink()
    said = info()
    assert said["gaps"] == [name_of(2, 6)]
    assert (said["backups"][0]["missing"], said["backups"][0]["restorable"]) == (name_of(2, 6), True)
    assert (said["until_time"], said["lag_bytes"]) == (500.0, None)


def test_a_segment_that_is_half_written_counts_as_missing(info, archive):
    segment(archive, 1, 3, size=5 * MIB1)
    said = info()
    assert said["faults"] == [f"{name_of(1, 3)} has 5242880 bytes and not 16777216: it is damaged or half written"]
    assert said["gaps"] == [name_of(1, 3)]
    assert said["backups"][0]["until_lsn"] == "0/3000000"


def test_compressed_segments_count(info, archive):
    (archive / "wal" / name_of(1, 3)).unlink()
    segment(archive, 1, 3, ending=".zst", size=1_000)
    assert (info()["gaps"], info()["faults"]) == ([], [])


def test_an_archive_as_the_backup_host_keeps_it(info, archive):
    wal = archive / "wal"
    for file in list(wal.iterdir()):
        folder = wal / ("histories" if "history" in file.name else file.name[:16])
        folder.mkdir(exist_ok=True)
        if "history" in file.name:
            Seal().close([file.read_bytes()], str(folder / f"{file.name}-{'0' * 40}.zst"))
            file.unlink()
        else:
            os.rename(file, folder / f"{file.name}-{'0' * 40}.zst.age")
    said = info()
    assert (said["faults"], said["gaps"], said["timeline"], said["segments"]) == ([], [], 2, 7)
    assert said["backups"][0]["until_lsn"] == "0/9000000"


def test_an_encrypted_history_needs_the_identity(info, archive):
    (archive / "wal" / "00000002.history").rename(archive / "wal" / f"00000002.history-{'0' * 40}.zst.age")
    assert "is encrypted, and this host has no identity to read it with" in info()["faults"][0]


def test_a_segment_that_is_there_twice_is_said(info, archive):
    segment(archive, 1, 3, ending=f"-{'0' * 40}.zst", size=1_000)
    assert info()["faults"][0].startswith(f"{name_of(1, 3)} is there twice")


def test_what_an_old_primary_went_on_archiving_is_stale(info, archive):
    segment(archive, 1, 6)
    assert info()["stale"] == [name_of(1, 6)]
    # Whoever wants the old timeline gets it, as far as it goes: segment 5 of it was never complete.
    assert info(timeline=1)["backups"][0]["until_lsn"] == "0/5000000"


def test_without_a_history_nothing_is_promised(info, archive):
    (archive / "wal" / "00000002.history").unlink()
    said = info(written_lsn="0/9400000")
    assert said["backups"] == []
    assert said["until_time"] is None
    assert "the history of timeline 2 is not in the archive" in said["faults"][0]


@pytest.mark.parametrize("text", ["2\t0/5\tx\n1\t0/6\tx\n", "nonsense\n"])
def test_a_history_that_is_damaged_is_said(info, archive, text):
    (archive / "wal" / "00000002.history").write_text(text)
    assert info()["faults"][0].startswith("00000002.history cannot be used:")


def test_an_incremental_backup_needs_what_it_builds_on(info, archive):
    backup(archive, "monday", 450.0, start="0/4000028", end="0/4000120", parent="full")
    backup(archive, "tuesday", 550.0, timeline=2, start="0/6000028", end="0/6000120", parent="sunday")
    said = {one["name"]: one for one in info()["backups"]}
    assert list(said) == ["tuesday", "monday", "full"]
    assert said["monday"]["restorable"]
    assert said["monday"]["from_time"] == 450.0
    assert not said["tuesday"]["restorable"]
    assert "builds on sunday, which is not there" in said["tuesday"]["why"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("backup.json", "{"),
        ("backup.json", "{}"),
        ("backup.json", "[]"),
        ("backup_manifest", "{}"),
        ("backup_manifest", "[]"),
        ("backup_manifest", None),
    ],
)
def test_a_backup_without_a_record_or_a_manifest_is_said(info, archive, file, content):
    where = archive / "backups" / "full" / file
    where.unlink() if content is None else where.write_text(content)
    said = info()
    assert said["backups"] == []
    assert said["faults"][0].startswith("backup full cannot be used: ")


def test_no_backups_yet(info, archive):
    for file in (archive / "backups" / "full").iterdir():
        file.unlink()
    (archive / "backups" / "full").rmdir()
    (archive / "backups").rmdir()
    assert (info()["backups"], info()["faults"], info()["until_time"]) == ([], [], None)


def test_what_is_no_archive_is_said(run_module, tmp_path):
    said = run_module("wal_archive_info", {"path": str(tmp_path)})
    assert "cannot be read as an archive" in said["msg"]
    assert said["failed"]
    said = run_module("wal_archive_info", {"path": str(tmp_path), "written_lsn": "5"})
    assert said["msg"] == "written_lsn: '5' is not an LSN like 0/5000000; give what pg_current_wal_lsn() says"
