"""WAL on its way into a store and out of it, on segments as PostgreSQL writes them, without encryption: the lab has that."""

from __future__ import annotations

import io
import struct

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import (
    BackupError,
    DirectoryStore,
    RcloneStore,
    Seal,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_wal import StoredWal, folder_of, head_of

MIB1 = 2**20
SYSTEM = 7_300_000_000_000_000_001


def segment(number, system=SYSTEM, filler=b"w", size=MIB1):
    """A segment of 1 MiB with the header that it begins with."""
    head = struct.pack("<HHIQI4xQII", 0xD116, 0x0002, 1, number * MIB1, 0, system, MIB1, 8192)
    return (head + filler * size)[:size]


def name_of(number, timeline=1):
    in_one_log = 2**32 // MIB1
    return f"{timeline:08X}{number // in_one_log:08X}{number % in_one_log:08X}"


@pytest.fixture
def wal(tmp_path):
    for folder in ("store", "work"):
        (tmp_path / folder).mkdir()
    return StoredWal(DirectoryStore(str(tmp_path / "store")), Seal(), str(tmp_path / "work"))


def kept(tmp_path):
    return sorted(
        str(file.relative_to(tmp_path / "store")) for file in (tmp_path / "store").rglob("*") if file.is_file()
    )


def read(wal, name):
    out = io.BytesIO()
    return out.getvalue() if wal.get(name, out) else None


def test_what_was_kept_reads_back(wal, tmp_path):
    assert wal.put(name_of(5), [segment(5)[:1000], segment(5)[1000:]], 1_000.0) == "kept"
    out = io.BytesIO()
    assert wal.get(name_of(5), out)
    assert out.getvalue() == segment(5)
    assert wal.has(name_of(5))
    [(name, entry)] = wal.listing().items()
    assert (name, entry.written_at) == (name_of(5), 1_000.0)
    assert any(file.startswith(f"wal/0000000100000000/{name_of(5)}-") for file in kept(tmp_path))
    # Nothing is left of the way.
    assert not list((tmp_path / "work").iterdir())


def test_a_segment_that_comes_from_a_second_node_is_known(wal, tmp_path):
    wal.put(name_of(5), [segment(5)])
    before = kept(tmp_path)
    assert wal.put(name_of(5), [segment(5)]) == "known"
    assert kept(tmp_path) == before


def test_another_content_under_a_name_is_refused(wal):
    wal.put(name_of(5), [segment(5)])
    with pytest.raises(BackupError, match="two servers wrote the same timeline"):
        wal.put(name_of(5), [segment(5, filler=b"x")])
    out = io.BytesIO()
    assert wal.get(name_of(5), out)
    assert out.getvalue() == segment(5)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("../evil", segment(5), "is no file that PostgreSQL archives"),
        ("-rf", segment(5), "is no file that PostgreSQL archives"),
        (name_of(5), b"", "has 0 bytes, which is no WAL"),
        (name_of(5), b"x" * MIB1, "does not begin as a segment of WAL does"),
        (name_of(5), segment(5)[:-1], "has 1048575 bytes and not 1048576: the rest did not arrive"),
        (name_of(5), segment(5) + b"x", "has 1048577 bytes"),
        (name_of(5), segment(6), "begins at 0/600000, which is another segment's beginning"),
        (f"{name_of(5)}.partial", segment(6), "which is another segment's beginning"),
    ],
)
def test_what_is_no_segment_of_that_name_does_not_come_in(wal, tmp_path, name, content, why):
    with pytest.raises(BackupError, match=why):
        wal.put(name, [content])
    assert [file for file in kept(tmp_path) if file.startswith("wal/")] == []
    assert not list((tmp_path / "work").iterdir())


def test_another_cluster_s_wal_does_not_come_in(wal):
    wal.put(name_of(5), [segment(5)])
    with pytest.raises(
        BackupError, match=f"is of cluster 9, and this archive is of cluster {SYSTEM}; give a new cluster"
    ):
        wal.put(name_of(6), [segment(6, system=9)])


def test_a_history_and_a_label_are_kept_as_they_are(wal, tmp_path):
    wal.put("00000002.history", [b"1\t0/500A000\tno reason\n"])
    wal.put(f"{name_of(5)}.00000028.backup", [b"START WAL LOCATION"])
    assert folder_of("00000002.history") == "wal/histories"
    assert read(wal, "00000002.history") == b"1\t0/500A000\tno reason\n"
    assert read(wal, "00000003.history") is None
    with pytest.raises(BackupError, match="two servers wrote the same timeline"):
        wal.put("00000002.history", [b"1\t0/6000000\tno reason\n"])


def test_a_segment_in_which_its_timeline_was_left_may_differ_behind_that(wal):
    left_at = 5 * MIB1 + 1_000
    wal.put(name_of(5), [segment(5)])
    other_tail = segment(5)[:1_000] + segment(5, filler=b"x")[1_000:]
    # Nobody knows yet that it was left there.
    with pytest.raises(BackupError, match="two servers wrote the same timeline"):
        wal.put(name_of(5), [other_tail])
    wal.put("00000002.history", [f"1\t0/{left_at:X}\tno reason\n".encode()])
    assert wal.put(name_of(5), [other_tail]) == "known"
    assert read(wal, name_of(5)) == segment(5)
    other_head = segment(5)[:990] + segment(5, filler=b"x")[990:]
    with pytest.raises(BackupError, match="two servers wrote the same timeline"):
        wal.put(name_of(5), [other_head])
    # In another segment nothing may differ.
    wal.put(name_of(4), [segment(4)])
    with pytest.raises(BackupError, match="two servers wrote the same timeline"):
        wal.put(name_of(4), [segment(4, filler=b"x")])


def test_a_stub_of_the_guard_s_is_no_history(wal):
    assert wal.put("00000002.history", []) == "stub"
    assert not wal.has("00000002.history")
    assert wal.put("00000002.history", [b"1\t0/500A000\tno reason\n"]) == "kept"
    assert wal.put("00000002.history", []) == "stub"
    assert read(wal, "00000002.history") == b"1\t0/500A000\tno reason\n"


def test_a_damaged_segment_is_told(wal, tmp_path):
    wal.put(name_of(5), [segment(5)])
    wal.put(name_of(6), [segment(6)])
    [five] = (tmp_path / "store").rglob(f"{name_of(5)}-*")
    [six] = (tmp_path / "store").rglob(f"{name_of(6)}-*")
    content = bytearray(five.read_bytes())
    content[len(content) // 2] ^= 0xFF
    five.write_bytes(content)
    with pytest.raises(BackupError, match=f"{name_of(5)}"):
        wal.get(name_of(5), io.BytesIO())
    # A whole one of another name is no better.
    five.write_bytes(six.read_bytes())
    with pytest.raises(BackupError, match="is damaged: its content is not what was archived"):
        wal.get(name_of(5), io.BytesIO())


def test_two_contents_of_one_name_are_told(wal, tmp_path):
    wal.put(name_of(5), [segment(5)])
    [file] = (tmp_path / "store").rglob(f"{name_of(5)}-*")
    (file.parent / f"{name_of(5)}-{'0' * 40}.zst").write_bytes(file.read_bytes())
    with pytest.raises(BackupError, match="is in the archive with 2 contents"):
        wal.get(name_of(5), io.BytesIO())


def test_a_store_that_is_not_mounted_takes_nothing(tmp_path):
    (tmp_path / "work").mkdir()
    wal = StoredWal(DirectoryStore(str(tmp_path / "gone")), Seal(), str(tmp_path / "work"))
    with pytest.raises(BackupError, match="gone is not there; mount it"):
        wal.put(name_of(5), [segment(5)])
    assert not (tmp_path / "gone").exists()


def test_a_store_that_is_full_says_so(wal, tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(BackupError, match="cannot be written: No space left on device"):
        wal.put(name_of(5), [segment(5)])
    # Not even a draft.
    assert kept(tmp_path) == []


def test_an_encrypted_file_needs_an_identity(tmp_path):
    (tmp_path / "x.zst.age").write_bytes(b"")
    with (
        pytest.raises(BackupError, match="is encrypted, and this host has no identity"),
        Seal().open(str(tmp_path / "x.zst.age")),
    ):
        pass


@pytest.mark.parametrize("content", [b"", b"x" * 100, segment(5)[:40]])
def test_what_does_not_begin_as_wal_is_none(content):
    if len(content) < 40:
        with pytest.raises(BackupError, match="which is no WAL"):
            head_of(content)
    elif content == segment(5)[:40]:
        assert head_of(content) == (5 * MIB1, SYSTEM, MIB1)
    else:
        with pytest.raises(BackupError, match="does not begin"):
            head_of(content)


@pytest.mark.parametrize(
    ("authorities", "told"), [(None, "/mine"), ("/etc/ssl/escala", "/etc/ssl/certs:/etc/ssl/escala")]
)
def test_rclone_believes_the_platform_s_authority_besides_the_host_s(tmp_path, monkeypatch, authorities, told):
    monkeypatch.setenv("SSL_CERT_DIR", "/mine")
    program = tmp_path / "rclone"
    program.write_text('#!/bin/sh\nprintf \'[{"Name": "%s"}]\' "$SSL_CERT_DIR"\n')
    program.chmod(0o755)
    store = RcloneStore("store:bucket", "/etc/rclone", str(program), authorities)
    assert store.folders("backups") == [told]
