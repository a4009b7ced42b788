"""What the guard reads from a data directory and writes into it."""

from __future__ import annotations

import os
import stat
import subprocess
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Rank
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import (
    Control,
    DataDirectory,
    file_timeline,
    is_postgres,
)
from tests.unit.plugins.module_utils.pg_guard_world import IDENTIFIER, write_control

MIB16 = 16 * 1024 * 1024
OF_DB2 = "1\t0/5000090\tno recovery target specified\n"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "main" / "pg_wal").mkdir(parents=True)
    return tmp_path / "main"


@pytest.fixture
def data(path):
    return DataDirectory(str(path))


def wal(path, *names, **contents):
    for name in names:
        (path / "pg_wal" / name).write_text("")
    for name, content in contents.items():
        (path / "pg_wal" / f"{name.removeprefix('t')}.history").write_text(content)


@settings(max_examples=40)
@given(
    st.integers(1, 2**64 - 1),
    st.sampled_from([(1, True), (2, True), (0, False), (3, False), (5, False), (6, False)]),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(1, 2**32 - 1),
)
def test_pg_control_is_read_as_postgresql_lays_it_out(tmp_path_factory, identifier, state, lsn, timeline, checkpoint):
    path = tmp_path_factory.mktemp("main")
    write_control(path, identifier, state[0], lsn, timeline, checkpoint)
    consistent = Rank(timeline, lsn) if lsn else None
    wrote = checkpoint if state[0] in (1, 3, 6) else None
    assert DataDirectory(str(path)).control() == Control(str(identifier), state[1], consistent, wrote)


def test_a_promotion_is_seen_by_its_history_before_its_first_checkpoint_and_a_copy_is_none(path, data):
    write_control(path, checkpoint=1)
    wal(path, t00000002=OF_DB2, t00000003="")
    assert data.control().written_on == 2
    (path / "backup_label").touch()
    assert data.control().written_on is None


@pytest.mark.parametrize(("state", "wrote"), [(1, 4), (3, 4), (6, 4), (0, None), (2, None), (4, None), (5, None)])
def test_only_who_was_last_out_of_recovery_wrote_on_a_timeline_itself(path, data, state, wrote):
    write_control(path, state=state, checkpoint=4)
    # That of a former timeline, and a stub, say nothing.
    wal(path, t00000002=OF_DB2, t00000009="")
    assert data.control().written_on == wrote
    wal(path, t00000005=OF_DB2)
    assert data.control().written_on == (wrote and 5)


def test_the_room_is_that_of_the_disk_of_data_or_wal_that_has_less(path, data, monkeypatch):
    free = {str(path): 3000, str(path / "pg_wal"): 2000}
    monkeypatch.setattr(os, "statvfs", lambda asked: SimpleNamespace(f_bavail=free[asked], f_frsize=4096))
    assert data.free_bytes() == 2000 * 4096
    free[str(path)] = 0
    assert data.free_bytes() == 0


def test_without_data_there_is_no_room_to_tell_of(path, data):
    assert data.free_bytes() > 0
    (path / "pg_wal").rmdir()
    assert data.free_bytes() is None
    assert DataDirectory(str(path / "nowhere")).free_bytes() is None


def test_without_a_pg_control_or_with_half_of_one_there_is_no_data(path, data):
    assert data.control() is None
    assert DataDirectory(str(path / "nowhere")).control() is None
    write_control(path)
    (path / "global" / "pg_control").write_bytes((path / "global" / "pg_control").read_bytes()[:147])
    assert data.control() is None


def test_a_pg_control_that_cannot_be_read_is_no_missing_one(path, data):
    (path / "global" / "pg_control").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        data.control()


def test_data_that_is_half_rewound_is_none_until_the_rewind_is_whole(tmp_path, path, data):
    write_control(path)
    data.mark_rewind(True)
    assert data.control() is None
    assert DataDirectory(str(path)).control() is None
    # The mark is beside the directory: pg_rewind removes from it what the source does not have.
    assert {one.name for one in tmp_path.iterdir()} == {"main", ".main.rewind"}
    data.mark_rewind(False)
    data.mark_rewind(False)
    assert data.control().system_identifier == IDENTIFIER
    assert [one.name for one in tmp_path.iterdir()] == ["main"]


@pytest.mark.parametrize(
    ("lsn", "timeline"),
    [
        (0x5000000, 1),  # the end of the segment before
        (0x500008F, 1),  # the file of the new timeline is there, its beginning is not reached
        (0x5000090, 2),
        (0x6000100, 2),
        (0x7000100, 2),
    ],
)
def test_the_rank_is_of_the_newest_timeline_whose_beginning_was_reached(path, data, lsn, timeline):
    wal(
        path,
        "000000010000000000000004",
        "000000010000000000000005",
        "000000020000000000000005",
        "000000020000000000000006",
        "00000003000000000000000F",  # recycled, beyond all positions
        "000000030000000000000006.partial.new",
        "archive_status",
        t00000002=OF_DB2,
    )
    assert data.rank_at(lsn) == Rank(timeline, lsn)


def test_a_stub_and_a_timeline_without_history_are_no_rank(path, data):
    wal(path, "000000010000000000000005", "000000030000000000000005", "000000040000000000000005", t00000003="")
    assert data.rank_at(0x5000100) == Rank(1, 0x5000100)


def test_a_partial_segment_counts_as_one(path, data):
    wal(path, "000000020000000000000005.partial", t00000002=OF_DB2)
    assert data.rank_at(0x5000100) == Rank(2, 0x5000100)


def test_without_wal_there_is_no_rank(path, data):
    with pytest.raises(ValueError, match="nothing says which timeline"):
        data.rank_at(0x5000100)
    os.rmdir(path / "pg_wal")
    with pytest.raises(ValueError, match="nothing says which timeline"):
        data.rank_at(0x5000100)


def test_a_history_that_is_damaged_is_a_fault_and_no_other_rank(path, data):
    wal(path, "000000010000000000000005", "000000020000000000000005", t00000002="1\tnowhere\n")
    with pytest.raises(ValueError, match="is not an LSN"):
        data.rank_at(0x5000100)


def test_the_history_of_a_timeline_is_in_its_file_and_empty_without_one(path, data):
    wal(path, t00000003=OF_DB2 + "2\t0/7000000\tno recovery target specified\n")
    assert data.history(3) == ((1, 0x5000090), (2, 0x7000000))
    assert data.history(1) == data.history(2) == ()


def test_timelines_with_a_history_are_known_and_stubs_are_none(path, data):
    wal(path, "000000010000000000000005", t00000002=OF_DB2, t0000000A=OF_DB2, t0000000B="")
    assert data.timelines() == (2, 10)


def test_a_dead_branch_leaves_with_its_history_and_its_wal_and_nothing_else_does(path, data):
    keep = ["000000010000000000000005", "00000002.history", "000000020000000000000005", "archive_status"]
    dead = ["00000003.history", "000000030000000000000005", "000000030000000000000006.partial"]
    wal(path, *keep, *dead)
    assert data.drop_timelines((3, 7)) == sorted(dead)
    assert sorted(os.listdir(path / "pg_wal")) == sorted(keep)
    assert data.drop_timelines(()) == []


@given(st.lists(st.sampled_from(["00000003.history", "000000030000000000000005", "00000003", "summaries", "3"])))
def test_only_names_of_wal_and_of_histories_have_a_timeline(names):
    assert {name for name in names if file_timeline(name)} <= {"00000003.history", "000000030000000000000005"}


def test_stubs_have_a_promotion_take_exactly_its_timeline(path, data):
    wal(path, t00000002=OF_DB2)
    assert data.write_stubs(2, 5) == [3, 4]
    assert data.history_sizes() == {"00000002.history": len(OF_DB2), "00000003.history": 0, "00000004.history": 0}
    # An election that was lost has left stubs, and the next one takes a later timeline.
    assert data.write_stubs(2, 7) == [5, 6]


def test_a_timeline_that_is_taken_is_refused_and_nothing_written(path, data):
    wal(path, t00000002=OF_DB2, t00000005=OF_DB2)
    with pytest.raises(ValueError, match="timeline 4 cannot be taken"):
        data.write_stubs(2, 4)
    assert len(os.listdir(path / "pg_wal")) == 2


def test_a_primary_gets_the_histories_that_its_standbys_ask_for_by_number(path, data):
    wal(path, t00000005=OF_DB2, t00000003=OF_DB2)
    assert data.fill_gaps(5) == [2, 4]
    assert data.fill_gaps(5) == []
    assert data.history(3) == data.history(5)


def test_stubs_of_a_promotion_that_did_not_happen_are_removed_and_others_stay(path, data):
    wal(path, "000000020000000000000005", t00000002="", t00000003=OF_DB2, t00000004="", t00000005="")
    assert data.remove_stubs() == ["00000004.history", "00000005.history"]
    assert data.remove_stubs() == []
    assert sorted(os.listdir(path / "pg_wal")) == ["00000002.history", "000000020000000000000005", "00000003.history"]


def test_the_next_start_is_one_as_a_standby(path, data):
    assert data.make_standby() is True
    assert data.make_standby() is False
    assert stat.S_IMODE((path / "standby.signal").stat().st_mode) == 0o600


def test_where_it_streams_from_is_written_last_and_the_rest_is_kept(path, data):
    auto = path / "postgresql.auto.conf"
    auto.write_text("# Do not edit\nwork_mem = '8MB'\nprimary_conninfo = 'host=''db9'''\nprimary_slot_name = 'x'")
    assert data.upstream_settings() == {"primary_conninfo": "host='db9'", "primary_slot_name": "x"}
    data.write_upstream("host='db2' port='5432'", "db1")
    assert auto.read_text() == (
        "# Do not edit\nwork_mem = '8MB'\nprimary_conninfo = 'host=''db2'' port=''5432'''\nprimary_slot_name = 'db1'\n"
    )
    assert data.upstream_settings() == {"primary_conninfo": "host='db2' port='5432'", "primary_slot_name": "db1"}
    data.write_upstream("", "")
    assert not any(data.upstream_settings().values())


@settings(max_examples=40)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"])))
def test_whatever_the_conninfo_it_is_read_back_as_it_was_written(tmp_path_factory, conninfo):
    data = DataDirectory(str(tmp_path_factory.mktemp("main")))
    data.write_upstream(conninfo, "db1")
    assert data.upstream_settings()["primary_conninfo"] == conninfo


@pytest.mark.parametrize("content", [None, "", "not a number\n", "0\n", f"{2**22 + 7}\n", f"{os.getpid()}\n"])
def test_a_postmaster_that_is_dead_or_another_program_is_none(path, data, content):
    if content is not None:
        (path / "postmaster.pid").write_text(content)
    assert data.postmaster() is None


def test_a_process_is_postgresql_by_its_name_and_while_it_lives(tmp_path, path, data):
    (tmp_path / "postgres").symlink_to("/bin/sleep")
    process = subprocess.Popen([tmp_path / "postgres", "60"])
    try:
        (path / "postmaster.pid").write_text(f"{process.pid}\n{path}\n")
        for _turn in range(200):
            if is_postgres(process.pid):
                break
        assert data.postmaster() == process.pid
        process.kill()
        # A zombie is none.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert data.postmaster() is None
    finally:
        process.kill()
        process.wait()
