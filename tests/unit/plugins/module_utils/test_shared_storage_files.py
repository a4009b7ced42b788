from __future__ import annotations

import errno
import os
import stat
from types import SimpleNamespace

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _shared_storage_files as files
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_files import Directory, mount_of
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_round import StorageError

MOUNTINFO = """\
260 248 0:45 / / rw,relatime shared:14 - overlay overlay rw,lowerdir=/a
300 260 0:50 / /srv/up\\040loads rw,nosuid shared:20 - autofs systemd-1 rw,fd=42
301 300 0:51 / /srv/up\\040loads rw,nosuid,noexec shared:21 - nfs4 192.0.2.41:/uploads rw,vers=4.2,hard
302 260 8:1 / /srv rw,relatime shared:22 - ext4 /dev/sda1 rw
"""


@pytest.mark.parametrize(
    ("path", "point", "kind"),
    [
        ("/srv/up loads", "/srv/up loads", "nfs4"),
        ("/srv/up loads/a/b", "/srv/up loads", "nfs4"),
        ("/srv/uploads", "/srv", "ext4"),
        ("/mnt", "/", "overlay"),
        ("/", "/", "overlay"),
    ],
)
def test_a_path_is_on_the_nearest_mount_above_it_and_of_several_on_the_last(path, point, kind):
    found, mount = mount_of(path, MOUNTINFO)
    assert (found, mount.type) == (point, kind)


def test_a_mount_s_options_are_its_own_and_those_of_its_file_system():
    assert set(mount_of("/srv/up loads", MOUNTINFO)[1].options) == {"rw", "nosuid", "noexec", "vers=4.2", "hard"}


def test_a_host_without_mounts_is_said_to_be_strange():
    with pytest.raises(StorageError, match="nothing is mounted above /srv"):
        mount_of("/srv", "")


def test_a_directory_is_observed_with_its_space_and_some_of_what_is_in_it(tmp_path):
    for name in ("lost+found", ".escala-check", *(f"{number}.jpg" for number in range(9))):
        (tmp_path / name).touch()
    seen = files.observe_directory(str(tmp_path))
    assert seen["first_names"] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert seen["capacity_mib"] >= seen["free_mib"] >= 0
    assert 0 <= seen["free_percent"] <= 100
    assert seen["mount"]["point"] in str(tmp_path)
    assert not seen["is_mount_point"]


def test_a_file_system_that_counts_no_inodes_says_none(tmp_path, monkeypatch):
    seen = os.statvfs(tmp_path)
    space = SimpleNamespace(**{name: getattr(seen, name) for name in dir(seen) if name.startswith("f_")})
    space.f_files = space.f_favail = 0
    monkeypatch.setattr(os, "statvfs", lambda _path: space)
    found = files.observe_directory(str(tmp_path))
    assert (found["inodes"], found["inodes_free"], found["inodes_free_percent"]) == (None, None, None)


def test_what_may_not_be_listed_is_still_observed(tmp_path, monkeypatch):
    def refuse(_path):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "listdir", refuse)
    assert files.observe_directory(str(tmp_path))["first_names"] is None


def test_what_may_not_even_be_looked_at_is_no_other_thing_than_a_directory(tmp_path, monkeypatch):
    real = os.stat

    def refused(path, **options):
        if str(path) == str(tmp_path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, **options)

    monkeypatch.setattr(os, "stat", refused)
    with pytest.raises(
        StorageError, match=r"may not be written or read by this user \(EACCES\), and this user is \d+;"
    ):
        files.observe_directory(str(tmp_path))


def test_a_path_that_is_missing_or_no_directory_is_told(tmp_path):
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        with pytest.raises(StorageError) as raised:
            files.observe_directory(str(tmp_path / name))
        assert raised.value.kind == "missing"


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.EACCES, "unwritable", "may not be written or read by this user (EACCES): it belongs to user"),
        (errno.EPERM, "unwritable", "may not be written or read by this user (EPERM)"),
        (errno.ENOSPC, "full", "is full, or its quota is used up (ENOSPC); free some"),
        (errno.EDQUOT, "full", "is full, or its quota is used up (EDQUOT); raise the quota"),
        (errno.ESTALE, "stale", "has a stale handle"),
        (errno.EROFS, "read_only", "is mounted read-only (EROFS)"),
        (errno.EHOSTDOWN, "away", "is on a server that does not answer (EHOSTDOWN)"),
        (errno.ENOLCK, "lockless", "takes no locks (ENOLCK)"),
        (errno.EIO, "error", "gives an error of input or output (EIO)"),
        (errno.EXDEV, "error", f": {os.strerror(errno.EXDEV)}; see `dmesg`"),
    ],
)
def test_every_error_of_the_file_system_is_told_in_words_with_what_to_do(tmp_path, monkeypatch, number, kind, words):
    def fail(*_arguments):
        raise OSError(number, os.strerror(number))

    store = Directory(str(tmp_path), "run-1")
    store.begin()
    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(StorageError) as raised:
        store.put("app1.token", b"x")
    assert raised.value.kind == kind
    assert words in str(raised.value)
    assert "; " in str(raised.value)


def test_whose_a_directory_is_that_cannot_be_seen_is_not_said():
    error = files.problem_with("/nowhere/at/all", PermissionError(errno.EACCES, "no"))
    assert f", and this user is {os.geteuid()}; give it" in str(error)


def test_files_come_and_go_and_nothing_is_left(tmp_path):
    store = Directory(str(tmp_path), "run-1")
    store.begin()
    store.put("app1.token", b"one")
    store.appear("app1.whole", b"two")
    assert store.names() == {"app1.token", "app1.whole"}
    assert (store.get("app1.token"), store.get("app1.whole")) == (b"one", b"two")
    assert stat.S_IMODE((tmp_path / ".escala-check/run-1/app1.token").stat().st_mode) & 0o007 == 0
    for name in ("app1.token", "app1.whole", "app1.whole"):
        store.remove(name)
    store.end()
    assert list(tmp_path.iterdir()) == []
    assert store.names() == set()


def test_a_part_that_was_never_renamed_is_removed_too(tmp_path, monkeypatch):
    store = Directory(str(tmp_path), "run-1")
    store.begin()
    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", lambda *_names: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        with pytest.raises(StorageError):
            store.appear("app1.whole", b"two")
    store.remove("app1.whole")
    store.end()
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_run_left_is_taken_away_and_what_a_present_one_has_is_not(tmp_path):
    for run, age in (("old", 1000), ("present", 10)):
        folder = tmp_path / ".escala-check" / run
        folder.mkdir(parents=True)
        (folder / "app9.token").touch()
        moment = folder.stat().st_mtime - age
        os.utime(folder, (moment, moment))
    store = Directory(str(tmp_path), "run-1")
    store.begin()
    assert {path.name for path in (tmp_path / ".escala-check").iterdir()} == {"present", "run-1"}
    store.end()
    assert (tmp_path / ".escala-check/present/app9.token").exists()


def test_a_lock_is_taken_and_freed_and_taken_again(tmp_path):
    store = Directory(str(tmp_path), "run-1")
    store.begin()
    store.free_lock()
    for _turn in range(2):
        assert store.take_lock()
        store.free_lock()
    store.end()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "refused"), [(errno.EAGAIN, True), (errno.EACCES, True), (errno.ENOLCK, False)])
def test_a_lock_that_another_holds_is_refused_and_no_error(tmp_path, monkeypatch, number, refused):
    def fail(*_arguments):
        raise OSError(number, os.strerror(number))

    store = Directory(str(tmp_path), "run-1")
    store.begin()
    monkeypatch.setattr(files.fcntl, "lockf", fail)
    if refused:
        assert not store.take_lock()
    else:
        with pytest.raises(StorageError, match="takes no locks"):
            store.take_lock()


def test_files_that_are_another_s_are_told_with_whose_they_are():
    owners = {"app1.token": 994, "app1.saw": 1, "app2.token": 994, "app2.whole": 65534, "db.example.token": 7}
    assert files.strange_owners(owners, 994) == {"app2": "nobody", "db.example": "7"}
