"""pgBackRest as the engine, with a program in its place that answers as 2.45 and 2.55 do; the real one has stories in the lab."""

from __future__ import annotations

import base64
import io
import json
import stat
import struct
import subprocess
import sys
import textwrap

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_backup
from ansible_collections.escala.ha.plugins.module_utils import _pg_backup_pgbackrest as engine
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import Config, config_from
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_pgbackrest import (
    PgBackRestBackups,
    PgBackRestWal,
    keep_control,
    records_of,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import BackupError

SYSTEM = 7_300_000_000_000_000_001
MIB1 = 2**20

# A repository in a folder, as far as it is asked for here.
PROGRAM = """
#!{python}
import hashlib, json, os, subprocess, sys
home = {home!r}
options = dict(word[2:].partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
command, *of = [word for word in sys.argv[1:] if not word.startswith("--")]
with open(home + "/asked", "a") as asked:
    print(command, *sorted(word for word in sys.argv[1:] if word.startswith("--") and "config" not in word), *of, file=asked)
try:
    answer = json.load(open(home + "/answers")).get(command)
except FileNotFoundError:
    answer = None
if answer:
    sys.stderr.write(answer)
    sys.exit(1)
state = json.load(open(home + "/info"))
repository = home + "/repository/"
if command == "info":
    print(json.dumps([state]))
elif command == "stanza-create":
    state["db"] = [dict(id=1, version="17")]
    state["db"][0]["system-id"] = {system}
    state["archive"] = [dict(id="17-1", database=dict(id=1))]
    json.dump(state, open(home + "/info", "w"))
elif command == "archive-push":
    name = os.path.basename(of[0])
    content = open(of[0], "rb").read()
    folder = repository + "archive/main/17-1" + ("" if name.endswith(".history") else "/" + name[:16])
    os.makedirs(folder, exist_ok=True)
    if not name.endswith((".history", ".backup")):
        name += "-" + hashlib.sha1(content).hexdigest() + ".zst"
        content = subprocess.run(["zstd", "-q", "-c"], input=content, stdout=subprocess.PIPE).stdout
    open(folder + "/" + name, "wb").write(content)
elif command == "repo-ls":
    top = repository + of[0]
    found = {{}}
    for folder, folders, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            if "recurse" in options or folder == top:
                found[os.path.relpath(path, top)] = dict(type="file", size=os.path.getsize(path), time=7)
    print(json.dumps(found))
elif command == "repo-get":
    sys.stdout.buffer.write(open(repository + of[0], "rb").read())
"""


def info(*backups, code=0, message="ok"):
    return {
        "archive": [],
        "backup": list(backups),
        "db": [{"id": 1, "system-id": SYSTEM, "version": "17"}] if backups else [],
        "status": {"code": code, "message": message},
    }


def backup(label, stop=200, *, prior=None, error=False, timeline=1):
    segment = f"{timeline:08X}0000000000000006"
    return {
        "label": label,
        "prior": prior,
        "error": error,
        "database": {"id": 1},
        "archive": {"start": segment, "stop": segment},
        "lsn": {"start": "0/6000028", "stop": "0/6000100"},
        "timestamp": {"start": stop - 10, "stop": stop},
        "info": {"size": 1000, "repository": {"size": 100}},
    }


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A work directory with a copy of a control file, and the program in its place."""
    (tmp_path / "work").mkdir()
    (tmp_path / "repository").mkdir()
    (tmp_path / "info").write_text(json.dumps(info(code=1, message="missing stanza path")))
    program = tmp_path / "bin" / "pgbackrest"
    program.parent.mkdir()
    program.write_text(
        textwrap.dedent(PROGRAM).strip().format(python=sys.executable, home=str(tmp_path), system=SYSTEM) + "\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setattr(engine, "control_of", lambda _config, _data: {"Bytes per WAL segment": str(MIB1)})
    monkeypatch.setattr(engine, "ask_primary", lambda _config, _question: "2")
    keep_control(config_of(tmp_path), struct.pack("<QQ", SYSTEM, 5) + bytes(8176))
    return tmp_path


def config_of(tmp_path, **changes):
    return Config(
        version=17,
        binaries="/usr/bin",
        conninfo="host=192.0.2.1",
        work_directory=str(tmp_path / "work"),
        keep_full=1,
        keep_seconds=0,
        engine="pgbackrest",
        pgbackrest_config_file="/etc/escala/pg-backup.pgbackrest",
        servers=["192.0.2.1", "192.0.2.2"],
        data_directory="/data",
    )._replace(**changes)


def asked(world, command):
    return [line for line in (world / "asked").read_text().splitlines() if line.startswith(f"{command} ")]


def segment(number=5, system=SYSTEM, filler=b"w"):
    head = struct.pack("<HHIQI4xQII", 0xD116, 0x0002, 1, number * MIB1, 0, system, MIB1, 8192)
    return (head + filler * MIB1)[:MIB1]


NAME = "000000010000000000000005"
HISTORY = b"1\t0/5000090\tno recovery target specified\n"


def read(wal, name):
    out = io.BytesIO()
    return out.getvalue() if wal.get(name, out) else None


def test_a_segment_goes_through_its_repository_and_the_first_one_makes_that(world):
    wal = PgBackRestWal(config_of(world))
    assert wal.owner() is None
    assert not wal.has(NAME)
    assert wal.put(NAME, [segment()]) == "kept"
    assert wal.owner() == SYSTEM
    assert read(wal, NAME) == segment()
    assert wal.put(NAME, [segment()]) == "known"
    assert len(asked(world, "stanza-create")) == len(asked(world, "archive-push")) == 1
    [(name, entry)] = wal.listing().items()
    assert (name, entry.written_at) == (NAME, 7.0)
    # It is taken over without a server: by what says which cluster it is of.
    assert f"--pg1-path={world}/work/control" in asked(world, "archive-push")[0]


def test_another_content_of_a_segment_is_refused_before_it_is_asked(world):
    wal = PgBackRestWal(config_of(world))
    wal.put(NAME, [segment()])
    with pytest.raises(BackupError, match="is in the archive with another content"):
        wal.put(NAME, [segment(filler=b"x")])
    with pytest.raises(BackupError, match="is of cluster 7, and this archive is of cluster"):
        wal.put("000000010000000000000006", [segment(6, system=7)])
    assert len(asked(world, "archive-push")) == 1


def test_another_history_does_not_take_the_place_of_the_one_that_is_there(world):
    wal = PgBackRestWal(config_of(world))
    wal.put(NAME, [segment()])
    assert wal.put("00000002.history", [b""]) == "stub"
    assert wal.put("00000002.history", [HISTORY]) == "kept"
    assert wal.put("00000002.history", [HISTORY]) == "known"
    with pytest.raises(BackupError, match="with another content"):
        wal.put("00000002.history", [HISTORY.replace(b"5000090", b"5000098")])
    assert wal.histories() == {2: ((1, 0x5000090),)}
    assert set(wal.listing()) == {NAME, "00000002.history"}


def test_a_segment_that_is_damaged_in_the_repository_is_told(world):
    wal = PgBackRestWal(config_of(world))
    wal.put(NAME, [segment()])
    [kept] = (world / "repository").rglob(f"{NAME}-*")
    other = subprocess.run(["zstd", "-q", "-c"], input=segment(filler=b"x"), stdout=subprocess.PIPE, check=True)
    kept.write_bytes(other.stdout)
    with pytest.raises(BackupError, match=f"{NAME} is damaged"):
        read(wal, NAME)


def test_without_a_copy_of_the_control_file_it_says_what_to_run(world):
    (world / "work" / "control" / "global" / "pg_control").unlink()
    with pytest.raises(BackupError, match=r"run playbooks/etapa_3_postgresql\.yml"):
        PgBackRestWal(config_of(world)).put(NAME, [segment()])


def test_the_control_file_is_another_one_when_the_cluster_is(world):
    config = config_of(world)
    moved_on = struct.pack("<QQ", SYSTEM, 5) + b"\1" * 8176
    assert not keep_control(config, moved_on)
    assert keep_control(config, struct.pack("<QQ", SYSTEM + 1, 5) + bytes(8176))
    with pytest.raises(BackupError, match="has 8192 bytes, and this has 3"):
        keep_control(config, b"abc")


def test_what_its_repository_has_is_what_is_decided_by():
    records, faults = records_of(
        info(backup("one", 200), backup("one_two", 300, prior="one", timeline=2), backup("bad", 400, error=True)), MIB1
    )
    assert faults == ["backup bad has pages whose checksum is wrong, as they were on the server that it was made from"]
    assert {name: (one.parent, one.stopped_at, one.version) for name, one in records.items()} == {
        "one": (None, 200.0, 17),
        "one_two": ("one", 300.0, 17),
    }
    found = records["one_two"].backup()
    assert (found.timeline, found.start_lsn, found.stop_lsn) == (2, 0x6000028, 0x6000100)


@pytest.mark.parametrize(
    ("standbys", "before", "incrementals", "full", "kind", "where"),
    [
        ("2", (), 3, False, "full", "--backup-standby"),
        ("0", (), 3, False, "full", "--no-backup-standby"),
        ("2", (backup("one"),), 3, False, "incr", "--backup-standby"),
        ("2", (backup("one"),), 3, True, "full", "--backup-standby"),
        ("2", (backup("one"),), 0, False, "full", "--backup-standby"),
        ("2", (backup("one"), backup("two", 300, prior="one")), 1, False, "full", "--backup-standby"),
    ],
)
def test_a_backup_is_full_when_one_is_due_and_from_a_standby_where_one_streams(
    world, monkeypatch, standbys, before, incrementals, full, kind, where
):
    monkeypatch.setattr(engine, "ask_primary", lambda _config, _question: standbys)
    backups = PgBackRestBackups(config_of(world, incrementals=incrementals))
    there, new = info(*before), backup("new", 900, prior="one" if kind == "incr" else None)
    monkeypatch.setattr(engine.Program, "begin", lambda _self: SYSTEM)
    answers = iter([there, info(*before, new)])
    monkeypatch.setattr(engine.Program, "info", lambda _self: next(answers))
    assert backups.make(0.0, full).name == "new"
    [said] = asked(world, "backup")
    assert f"--type={kind} " in f"{said} "
    assert f" {where} " in f"{said} "
    assert "--pg2-host=192.0.2.2 " in said


def test_the_first_backup_does_not_wait_for_the_first_wal(world):
    with pytest.raises(BackupError, match="no new backup that is whole"):
        PgBackRestBackups(config_of(world)).make(0.0)
    assert [line.split()[0] for line in (world / "asked").read_text().splitlines()][:2] == ["info", "stanza-create"]


def test_a_backup_that_is_not_there_afterwards_is_none(world):
    (world / "info").write_text(json.dumps(info(backup("one"))))
    with pytest.raises(BackupError, match="no new backup that is whole"):
        PgBackRestBackups(config_of(world)).make(0.0)


def test_what_goes_is_decided_as_for_our_own_engine(world):
    (world / "info").write_text(
        json.dumps(info(backup("one"), backup("two", 300), backup("two_b", 350, prior="two"), backup("three", 400)))
    )
    kept = PgBackRestBackups(config_of(world, keep_full=2)).expire(1000.0)
    assert sorted(kept.backups) == ["three", "two", "two_b"]
    assert asked(world, "expire") == ["expire --repo1-retention-full=2 --stanza=main"]


def test_a_repository_that_cannot_be_read_is_no_empty_one(world):
    (world / "info").write_text(json.dumps(info(code=99, message="unable to load info file:\nFormatError: \x01\ufffd")))
    with pytest.raises(BackupError, match="repository: unable to load info file: see .* secret_postgresql_backup_key$"):
        PgBackRestBackups(config_of(world)).records()
    (world / "answers").write_text(json.dumps({"info": "ERROR: [082]: wrong\nHINT: is the passphrase right?\n"}))
    with pytest.raises(BackupError, match=r"pgbackrest info failed: \[082\]: wrong$"):
        PgBackRestWal(config_of(world)).owner()


def test_what_it_cannot_decrypt_it_repeats_as_it_is(world, monkeypatch):
    raw = b'[{"status": {"code": 99, "message": "unable to load info file:\\nFormatError: \x01\xff\x0c"}}]'
    monkeypatch.setattr(engine.Program, "run", lambda *_words: raw)
    with pytest.raises(BackupError, match="cannot read its repository: unable to load info file: see"):
        PgBackRestBackups(config_of(world)).records()


def settings(**changes):
    known = {
        "version": 15,
        "binaries": "/usr/bin",
        "conninfo": "host=192.0.2.1",
        "work_directory": "/work",
        "keep_full": 1,
        "keep_seconds": 0,
        "engine": "pgbackrest",
        "pgbackrest_config_file": "/etc/escala/pg-backup.pgbackrest",
        "servers": ["192.0.2.1"],
        "data_directory": "/data",
    }
    return json.dumps({**known, **changes})


def test_its_incremental_backups_need_no_version_of_postgresql():
    assert config_from(settings(incrementals=6)).incrementals == 6
    with pytest.raises(ValueError, match="PostgreSQL 15 has none"):
        config_from(settings(engine="basebackup", directory="/store", incrementals=6))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine": "barman"}, "there are basebackup and pgbackrest"),
        ({"servers": [], "data_directory": None}, "servers, data_directory is missing"),
    ],
)
def test_a_configuration_that_names_no_engine_or_half_of_one_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        config_from(settings(**changes))


def test_the_control_file_comes_in_as_a_playbook_sends_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "work").mkdir()
    told = tmp_path / "told.json"
    told.write_text(settings(work_directory=str(tmp_path / "work")))
    content = struct.pack("<QQ", SYSTEM, 5) + bytes(8176)
    # With the line's end that Ansible adds.
    for expected in (True, False):
        monkeypatch.setattr("sys.stdin", io.StringIO(base64.b64encode(content).decode() + "\n"))
        assert _pg_backup.main(["--config", str(told), "control"]) == 0
        assert json.loads(capsys.readouterr().out) == {"changed": expected}
    assert (tmp_path / "work" / "control" / "global" / "pg_control").read_bytes() == content
    monkeypatch.setattr("sys.stdin", io.StringIO("&"))
    assert _pg_backup.main(["--config", str(told), "control"]) == 1
    assert "is no base64" in capsys.readouterr().err
