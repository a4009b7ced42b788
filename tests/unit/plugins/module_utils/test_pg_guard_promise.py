"""What the guard remembers: whole, on the disk, and never taken back."""

from __future__ import annotations

import json
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Promise, Quorum
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_promise import Memory, replace


def test_a_new_guard_has_promised_nothing_and_knows_the_whole_configuration(tmp_path):
    memory = Memory(str(tmp_path))
    assert (memory.promise, memory.quorum, memory.joined, memory.elected) == (None, Quorum(), None, None)


def test_the_next_guard_remembers_all_of_it(tmp_path):
    memory = Memory(str(tmp_path))
    memory.promised(Promise(3, "db2"))
    memory.learned(Quorum((3, 1), ("db1",)))
    memory.has_joined("74")
    memory.won(2)
    after = Memory(str(tmp_path))
    assert (after.promise, after.quorum, after.joined) == (Promise(3, "db2"), Quorum((3, 1), ("db1",)), "74")
    assert after.elected == 2


def test_the_last_timeline_that_was_won_is_the_one_and_what_else_is_remembered_stays(tmp_path):
    memory = Memory(str(tmp_path))
    memory.has_joined("74")
    for timeline in (2, 5):
        memory.won(timeline)
        assert memory.elected == Memory(str(tmp_path)).elected == timeline
    # Neither a later promise nor data that is taken away makes it another one.
    memory.promised(Promise(6, "db2"))
    memory.forgets_joined()
    assert memory.elected == Memory(str(tmp_path)).elected == 5


def test_a_timeline_that_was_won_is_on_the_disk_before_the_call_returns_and_written_once(tmp_path, monkeypatch):
    memory = Memory(str(tmp_path))
    did = synced(monkeypatch)
    memory.won(2)
    assert did == ["file", "name", "directory"]
    memory.won(2)
    assert did == ["file", "name", "directory"]
    assert json.loads((tmp_path / "elected.json").read_text()) == 2


@pytest.mark.parametrize("later", [Promise(2, "db2"), Promise(3, "db1")], ids=str)
def test_a_promise_is_never_taken_back(tmp_path, later):
    memory = Memory(str(tmp_path))
    memory.promised(Promise(3, "db2"))
    with pytest.raises(ValueError, match="goes back behind"):
        memory.promised(later)
    assert memory.promise == Memory(str(tmp_path)).promise == Promise(3, "db2")


@settings(max_examples=25)
@given(st.lists(st.builds(Promise, st.integers(1, 6), st.sampled_from(["db1", "db2"])), max_size=12))
def test_whatever_is_promised_of_each_timeline_there_is_one_candidate_and_none_lower_follows(tmp_path_factory, asked):
    directory = str(tmp_path_factory.mktemp("memory"))
    memory, kept = Memory(directory), []
    for promise in asked:
        try:
            memory.promised(promise)
        except ValueError:
            continue
        kept.append(promise)
        assert Memory(directory).promise == promise
    assert [promise.timeline for promise in kept] == sorted(promise.timeline for promise in kept)
    assert len({promise.timeline for promise in kept}) == len(set(kept))


def test_an_older_quorum_is_left_aside(tmp_path):
    memory = Memory(str(tmp_path))
    memory.learned(Quorum((3, 1), ("db1",)))
    memory.learned(Quorum((2, 9), ("db2",)))
    assert Memory(str(tmp_path)).quorum == Quorum((3, 1), ("db1",))


def test_the_first_cluster_that_was_joined_is_the_one_until_it_is_forgotten(tmp_path):
    memory = Memory(str(tmp_path))
    memory.has_joined("74")
    memory.has_joined("75")
    assert Memory(str(tmp_path)).joined == "74"
    memory.forgets_joined()
    memory.forgets_joined()
    assert memory.joined is None
    assert Memory(str(tmp_path)).joined is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("promise.json", ""),
        ("promise.json", '{"timeline": 3'),
        ("promise.json", '{"timeline": -3, "candidate": "db1"}'),
        ("promise.json", '{"timeline": "3", "candidate": "db1"}'),
        ("promise.json", "[]"),
        ("promise.json", "\x00\x00\x00\x00"),
        ("quorum.json", '{"version": [3], "out": []}'),
        ("quorum.json", "3"),
        ("joined.json", ""),
        ("elected.json", ""),
        ("elected.json", "\x00\x00\x00\x00"),
    ],
)
def test_a_file_that_is_damaged_is_a_fault_and_no_forgetting(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=r"."):
        Memory(str(tmp_path))


def test_what_cannot_be_written_is_not_remembered_either(tmp_path, monkeypatch):
    memory = Memory(str(tmp_path))

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        memory.promised(Promise(3, "db2"))
    with pytest.raises(OSError, match="No space left"):
        memory.learned(Quorum((3, 1)))
    with pytest.raises(OSError, match="No space left"):
        memory.has_joined("74")
    with pytest.raises(OSError, match="No space left"):
        memory.won(3)
    assert (memory.promise, memory.quorum, memory.joined, memory.elected) == (None, Quorum(), None, None)


def synced(monkeypatch):
    """What is synced and renamed, in order."""
    did = []
    sync, rename = os.fsync, os.replace

    def fsync(descriptor):
        did.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def moved(source, target):
        did.append("name")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", moved)
    return did


def test_a_file_is_on_the_disk_before_it_gets_its_name_and_the_name_before_the_call_returns(tmp_path, monkeypatch):
    did = synced(monkeypatch)
    replace(str(tmp_path / "one"), "content", 0o600)
    assert did == ["file", "name", "directory"]
    assert (tmp_path / "one").read_text() == "content"
    assert os.listdir(tmp_path) == ["one"]


def test_a_joined_node_that_is_forgotten_is_so_on_the_disk(tmp_path, monkeypatch):
    memory = Memory(str(tmp_path))
    memory.has_joined("74")
    did = synced(monkeypatch)
    memory.forgets_joined()
    assert did == ["directory"]


def test_what_is_remembered_is_for_the_guard_alone(tmp_path):
    (tmp_path / "promise.json").write_text(json.dumps({"timeline": 2, "candidate": "db1"}))
    (tmp_path / "promise.json").chmod(0o644)
    Memory(str(tmp_path)).promised(Promise(3, "db2"))
    assert stat.S_IMODE((tmp_path / "promise.json").stat().st_mode) == 0o600


def test_a_link_in_the_place_of_a_draft_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "one.new").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        replace(str(tmp_path / "one"), "content", 0o600)
    assert (tmp_path / "victim").read_text() == "untouched"


def test_a_file_gets_the_owner_that_is_asked_for(tmp_path):
    replace(str(tmp_path / "one"), "", 0o640, (os.getuid(), os.getgid()))
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o640
