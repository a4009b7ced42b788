import os

import pytest

from ansible_collections.escala.ha.plugins.module_utils._known_good import NothingKeptError, copy_of, keep, restore


class Place:
    """A service's folder and link, and where they are kept."""

    def __init__(self, root):
        self.folder = root / "etc"
        self.link = root / "current"
        self.unit = root / "app.service"
        self.directory = str(root / "kept")
        self.paths = [str(self.folder), str(self.link), str(self.unit)]
        (self.folder / "credentials").mkdir(parents=True, mode=0o700)
        (self.folder / "credentials" / "KEY").write_text("old")
        (self.folder / "credentials" / "KEY").chmod(0o600)
        (self.folder / "environment").write_text("A=1")
        self.link.symlink_to("releases/old")


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_what_was_kept_comes_back_whole_and_counts_as_changed_now(place):
    assert keep(place.paths, place.directory, replace=True) == place.paths[:2]
    (place.folder / "credentials" / "KEY").write_text("new")
    (place.folder / "added").write_text("x")
    (place.folder / "environment").unlink()
    place.link.unlink()
    place.link.symlink_to("releases/new")
    os.utime(place.link, (1, 1), follow_symlinks=False)
    place.unit.write_text("not there before")
    assert restore(place.paths, place.directory) == place.paths
    assert (place.folder / "credentials" / "KEY").read_text() == "old"
    assert (place.folder / "credentials" / "KEY").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in place.folder.iterdir()) == ["credentials", "environment"]
    assert os.readlink(place.link) == "releases/old"
    assert place.link.lstat().st_mtime > 1
    assert not place.unit.exists()


def test_what_is_the_same_is_left_alone(place):
    keep(place.paths, place.directory, replace=True)
    before = os.lstat(place.folder).st_mtime_ns
    assert keep(place.paths, place.directory, replace=True) == []
    assert restore(place.paths, place.directory) == []
    assert os.lstat(place.folder).st_mtime_ns == before


def test_a_copy_stays_where_it_is_not_to_be_replaced(place):
    keep(place.paths, place.directory, replace=False)
    (place.folder / "environment").write_text("A=2")
    assert keep(place.paths, place.directory, replace=False) == []
    restore(place.paths, place.directory)
    assert (place.folder / "environment").read_text() == "A=1"


def test_another_mode_is_another_file(place):
    keep(place.paths, place.directory, replace=True)
    (place.folder / "environment").chmod(0o600)
    assert keep(place.paths, place.directory, replace=True) == [str(place.folder)]


def test_check_mode_says_it_and_does_nothing(place):
    assert keep(place.paths, place.directory, replace=True, check_mode=True)
    assert not os.path.exists(place.directory)
    keep(place.paths, place.directory, replace=True)
    place.link.unlink()
    assert restore(place.paths, place.directory, check_mode=True) == [str(place.link)]
    assert not os.path.lexists(place.link)


def test_a_copy_that_was_being_replaced_when_the_run_was_killed_is_still_there(place):
    keep(place.paths, place.directory, replace=True)
    os.rename(place.directory, f"{place.directory}.old")
    os.mkdir(f"{place.directory}.new")
    (place.folder / "environment").write_text("A=2")
    restore(place.paths, place.directory)
    assert (place.folder / "environment").read_text() == "A=1"
    (place.folder / "environment").write_text("A=3")
    keep(place.paths, place.directory, replace=True)
    assert sorted(os.listdir(os.path.dirname(place.directory))) == ["current", "etc", "kept"]


def test_nobody_else_may_read_the_copy(place):
    keep(place.paths, place.directory, replace=True)
    assert os.stat(place.directory).st_mode & 0o777 == 0o700
    assert os.path.exists(copy_of(place.directory, str(place.folder / "credentials" / "KEY")))


def test_going_back_to_nothing_is_an_error(place):
    with pytest.raises(NothingKeptError, match="nothing was ever seen well here"):
        restore(place.paths, place.directory)
