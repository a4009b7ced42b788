import hashlib
import json
import os

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _uploads_copy as passes
from ansible_collections.escala.ha.plugins.module_utils._uploads import Limits, Listing, Row, State, Thing, UploadsError

OLD = passes.End("old_server", "from:/old", "", "", True)
BUCKET = passes.End("s3", "to:bucket", "", "", False)
NOTHING = State("old_server", "s3", {}, {}, [], {}, 0)


def digest(content):
    return hashlib.sha256(content).hexdigest()


class World:
    """Two places, a database and a clock. Whatever is in `happens` happens before the so-manieth call of rclone."""

    def __init__(self, source=(), target=(), rows=None):
        self.places = {OLD.remote: dict(source), BUCKET.remote: dict(target)}
        self.unfinished = {OLD.remote: set(), BUCKET.remote: set()}
        self.known = rows
        self.now = 0.0
        self.saved = []
        self.calls = []
        self.happens = {}
        self.listing_takes = 0.0
        self.unreadable = self.full = False

    @property
    def source(self):
        return self.places[OLD.remote]

    @property
    def target(self):
        return self.places[BUCKET.remote]

    def tools(self):
        return passes.Tools(self, self.rows, self.saved.append, lambda: self.now, self.sleep)

    def upload(self, key, content=b"new", place=OLD):
        self.places[place.remote][key] = content
        if self.known is not None:
            self.known[key] = Row(len(content), digest(content))

    def delete(self, key, place=OLD):
        del self.places[place.remote][key]
        if self.known is not None:
            del self.known[key]

    def rows(self):
        return None if self.known is None else dict(self.known)

    def sleep(self, seconds):
        self.now += seconds
        self._called("sleep")

    def listing(self, _name, remote, limit=None):
        self._called("list")
        self.now += self.listing_takes
        return Listing(
            {key: len(content) for key, content in self.places[remote].items()}, frozenset(self.unfinished[remote])
        )

    def copy(self, keys, source, target, limit=None):
        self._called("copy")
        if self.full:
            raise UploadsError("no space left")
        for key in keys:
            if key not in self.places[source]:
                raise UploadsError("file does not exist")
            self.places[target["remote"]][key] = self.places[source][key]

    def sums(self, _name, remote, keys):
        self._called("sums")
        found = {key: digest(self.places[remote][key]) for key in keys if key in self.places[remote]}
        if self.unreadable or not found:
            raise UploadsError("rclone could not read")
        return found

    def remove(self, _name, remote, keys):
        self._called("remove")
        for key in keys:
            self.places[remote].pop(key, None)

    def _called(self, what):
        self.calls.append(what)
        self.now += 0.01
        for happens in self.happens.pop((what, self.calls.count(what)), []):
            happens()


def caught_up(world, state=NOTHING, look=True, seconds=30):
    return passes.catch_up(state, (OLD, BUCKET), world.tools(), seconds, look=look)


def test_the_first_pass_copies_all_and_reads_it_back_on_both_sides():
    world = World({"t/a": b"one", "t/b": b"two"})
    done = caught_up(world)
    assert world.target == world.source
    assert (done.copied, done.bytes, done.left, done.changed) == (2, 6, 0, True)
    assert all(thing.read_back for thing in done.state.things.values())
    assert world.saved[-1].things == done.state.things


def test_a_second_pass_copies_only_what_is_new_and_removes_what_is_gone():
    world = World({"t/a": b"one", "t/b": b"two"}, rows={})
    state = caught_up(world).state
    world.delete("t/a") if "t/a" in world.known else world.source.pop("t/a")
    world.upload("t/c")
    done = caught_up(world, state, look=False)
    assert (done.copied, done.removed, done.found) == (1, 1, 1)
    assert world.target == world.source == {"t/b": b"two", "t/c": b"new"}
    assert done.state.things["t/a"].deleted


def test_a_pass_that_finds_nothing_changes_nothing_and_counts_as_full():
    world = World({"t/a": b"one"})
    first = caught_up(world)
    again = caught_up(world, first.state, look=False)
    assert (again.changed, again.found) == (False, 0)
    assert (first.state.full_passes, again.state.full_passes) == (1, 2)
    assert caught_up(world, again.state).state.full_passes == 1


def test_a_pass_ends_when_its_time_is_over_and_the_next_goes_on():
    world = World({f"t/{number:04}": b"x" for number in range(1200)})
    for number in range(1, 4):
        world.happens["copy", number] = [lambda: setattr(world, "now", world.now + 20)]
    first = caught_up(world, seconds=30)
    assert (first.copied, first.left, first.left_bytes) == (1000, 200, 200)
    assert first.state.full_passes == 0
    second = caught_up(world, first.state, look=False)
    assert (second.copied, second.left) == (200, 0)
    assert world.target == world.source


@pytest.mark.parametrize("broken_at", range(1, 4))
def test_a_pass_that_is_broken_off_anywhere_is_made_good_by_the_next_run(broken_at):
    class PowerLossError(Exception):
        pass

    def fail():
        raise PowerLossError

    world = World({f"t/{number:04}": b"x" for number in range(1100)}, rows={})
    for key, content in world.source.items():
        world.upload(key, content)
    world.happens["copy", broken_at] = [fail]
    with pytest.raises(PowerLossError):
        caught_up(world)
    world.delete("t/0000")
    done = caught_up(world, world.saved[-1])
    assert world.target == world.source
    assert done.copied == 1100 - 500 * (broken_at - 1) - (1 if broken_at == 1 else 0)
    assert all(thing.read_back for thing in done.state.things.values() if not thing.deleted)


def test_what_vanishes_while_it_is_copied_does_not_keep_the_others():
    world = World({"t/a": b"one", "t/b": b"two", "t/c": b"three"})
    world.happens["copy", 1] = [lambda: world.source.pop("t/b")]
    world.happens["copy", 2] = [lambda: world.source.pop("t/a")]
    first = caught_up(world)
    assert (first.copied, world.target["t/c"]) == (1, b"three")
    second = caught_up(world, first.state, look=True)
    assert world.target == world.source == {"t/c": b"three"}
    assert second.state.things["t/a"].deleted
    assert "t/b" not in second.state.things


def test_a_target_that_takes_nothing_more_is_a_fault():
    world = World({"t/a": b"one"})
    world.full = True
    with pytest.raises(UploadsError, match="no space left"):
        caught_up(world)
    assert not world.saved[-1].things["t/a"].copied


def test_what_vanishes_while_it_is_read_back_is_settled_by_the_next_pass():
    world = World({"t/a": b"one", "t/b": b"two"})
    world.happens["sums", 1] = [lambda: world.source.pop("t/a")]
    first = caught_up(world)
    assert not first.state.things["t/a"].read_back
    second = caught_up(world, first.state, look=False)
    assert (second.removed, world.target) == (1, {"t/b": b"two"})


def test_when_all_that_is_to_be_read_back_vanishes_nothing_is_wrong():
    world = World({"t/a": b"one"})
    world.happens["sums", 1] = [lambda: world.source.pop("t/a")]
    first = caught_up(world)
    second = caught_up(world, first.state, look=False)
    assert (second.removed, world.target) == (1, {})


def test_what_is_there_and_cannot_be_read_is_a_fault():
    world = World({"t/a": b"one"})
    world.unreadable = True
    with pytest.raises(UploadsError, match="could not read"):
        caught_up(world)


def test_closing_in_ends_with_the_first_pass_that_is_short_enough():
    world = World({"t/a": b"one"})
    state = caught_up(world).state
    world.calls.clear()
    for number in range(1, 4):
        later = [f"t/{number}-{of}" for of in range(4 - number)]
        world.happens["list", number] = [lambda later=later: [world.upload(key) for key in later]]
    done = passes.close_in(state, (OLD, BUCKET), world.tools(), Limits(1, 1, 9))
    assert (done.copied, world.target) == (6, world.source)
    assert world.calls == ["list", "copy"] * 3


def test_closing_in_fails_where_too_much_comes_all_the_time():
    world = World()
    for number in range(1, 11):
        world.happens["list", number] = [lambda number=number: [world.upload(f"t/{number}-{of}") for of in range(2)]]
    with pytest.raises(
        UploadsError,
        match="of 10 passes none was as short .* The last pass found 2 new files.*limit of 1 files; run again",
    ):
        passes.close_in(NOTHING, (OLD, BUCKET), world.tools(), Limits(1, 1, 9))


def test_while_writes_are_held_the_old_place_is_listed_once_and_nothing_is_read_back():
    world = World({"t/a": b"one"})
    state = caught_up(world).state
    world.upload("t/b")
    world.calls.clear()
    done = passes.held(state, (OLD, BUCKET), world.tools(), 4)
    assert world.calls == ["list", "copy"]
    assert (done.copied, world.target) == (1, world.source)
    assert not done.state.things["t/b"].read_back


def test_what_takes_too_long_while_writes_are_held_is_given_up():
    world = World({"t/a": b"one"})
    world.listing_takes = 5
    with pytest.raises(UploadsError, match="took more than 4 s to be listed while writes were held"):
        passes.held(NOTHING, (OLD, BUCKET), world.tools(), 4)
    assert world.target == {}


def switched(world):
    return passes.held(caught_up(world).state, (OLD, BUCKET), world.tools(), 4).state


def finish(world, state, patience=60, under_way=False):
    return passes.after(state, (OLD, BUCKET), world.tools(), patience, under_way=under_way)


def test_what_ends_late_is_fetched_and_counted_as_late():
    world = World({"t/a": b"one"}, rows={})
    world.upload("t/a", b"one")
    state = switched(world)
    world.unfinished[OLD.remote] = {"t/.x.part"}
    world.happens["sleep", 3] = [lambda: world.upload("t/x"), world.unfinished[OLD.remote].clear]
    done = finish(world, state)
    assert (done.copied, world.target["t/x"]) == (1, b"new")
    assert done.state.things["t/x"].late
    assert done.state.things["t/x"].read_back
    assert not done.state.things["t/a"].late


def test_a_row_that_is_written_after_its_file_is_waited_for():
    world = World(rows={})
    state = switched(world)
    world.source["t/x"] = b"new"
    world.happens["sleep", 2] = [lambda: world.upload("t/x")]
    done = finish(world, state)
    assert (done.copied, list(done.unlisted), world.target) == (1, [], {"t/x": b"new"})


def test_a_file_that_nobody_ever_lists_is_not_fetched_and_said_so():
    world = World(rows={})
    state = switched(world)
    world.source["t/x"] = b"left by a crash"
    done = finish(world, state)
    assert (done.copied, list(done.unlisted), world.target) == (0, ["t/x"], {})
    assert 60 <= world.now < 65


def test_with_nothing_under_way_two_looks_are_enough_whatever_a_crash_has_left():
    world = World({"t/a": b"one"})
    world.unfinished[OLD.remote] = {"t/.old.part"}
    state = switched(world)
    world.calls.clear()
    finish(world, state)
    assert world.calls.count("sleep") == 1


def test_of_a_place_that_shows_nothing_the_whole_time_is_waited_for_when_something_was_under_way():
    world = World({"t/a": b"one"})
    ends = (OLD._replace(sees_unfinished=False), BUCKET)
    state = switched(world)
    begun = world.now
    passes.after(state, ends, world.tools(), 60, under_way=True)
    assert world.now - begun >= 60
    begun = world.now
    passes.after(state, ends, world.tools(), 60, under_way=False)
    assert world.now - begun < 5


def test_a_run_after_the_switch_moves_nothing_and_brings_nothing_back():
    world = World({"t/a": b"one", "t/b": b"two"}, rows={})
    for key, content in dict(world.source).items():
        world.upload(key, content)
    done = finish(world, switched(world))
    world.delete("t/a", BUCKET)
    world.upload("t/c", place=BUCKET)
    again = finish(world, done.state, patience=0)
    assert not again.changed
    assert world.target == {"t/b": b"two", "t/c": b"new"}
    assert again.state.things == done.state.things


def test_a_deletion_that_ended_late_is_made_up_for():
    world = World({"t/a": b"one"}, rows={})
    world.upload("t/a", b"one")
    state = switched(world)
    world.delete("t/a")
    done = finish(world, state)
    assert (done.removed, world.target) == (1, {})


def test_the_way_back_takes_what_is_new_and_what_is_gone():
    world = World({"t/a": b"one", "t/b": b"two"}, rows={})
    for key, content in dict(world.source).items():
        world.upload(key, content)
    there = finish(world, switched(world)).state
    world.delete("t/a", BUCKET)
    world.upload("t/c", place=BUCKET)
    back = passes.decide.begun(passes.decide.to_keep(there), "s3", "old_server")
    done = passes.catch_up(back, (BUCKET, OLD), world.tools(), 30, look=True)
    assert world.source == world.target == {"t/b": b"two", "t/c": b"new"}
    assert (done.copied, done.removed) == (1, 1)


def test_a_state_file_is_whole_or_what_it_was(tmp_path):
    file = passes.StateFile(str(tmp_path))
    assert file.load() is None
    file.save(NOTHING._replace(things={"t/a": Thing(3, True)}))
    assert file.load()["things"] == {"t/a": {"size": 3, "copied": True}}
    assert os.listdir(tmp_path) == ["state.json"]
    (tmp_path / "state.json").write_text(json.dumps({})[:-1])
    with pytest.raises(UploadsError, match="move it away and run again"):
        file.load()


def test_a_second_run_waits_for_the_first_and_gives_up(tmp_path):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    first, second = passes.StateFile(str(tmp_path)), passes.StateFile(str(tmp_path))
    with (
        first.alone(lambda: 0.0, sleep),
        pytest.raises(UploadsError, match="another run"),
        second.alone(lambda: now[0], sleep),
    ):
        pass
    assert now[0] >= 120
    with second.alone(lambda: 0.0, sleep):
        pass


# The way back: what a bucket has is known by its rows, since it takes many seconds to list it.


def from_the_bucket(world, mode, *arguments):
    return mode(arguments[0], (BUCKET, OLD), world.tools(), *arguments[1:])


def way_back(objects, lost=()):
    """A world whose uploads are in the bucket, all of them caught up with, and some rows without an object."""
    world = World(target=objects, rows={key: Row(len(content), digest(content)) for key, content in objects.items()})
    world.known |= {key: Row(1, "") for key in lost}
    done = passes.catch_up(
        NOTHING._replace(source="s3", target="old_server"), (BUCKET, OLD), world.tools(), 30, look=True
    )
    world.calls.clear()
    return world, done.state


def test_while_writes_are_held_a_bucket_is_not_listed():
    world, state = way_back({"t/a": b"one"})
    world.upload("t/b", b"two", place=BUCKET)
    done = from_the_bucket(world, passes.held, state, 4)
    assert world.calls == ["copy"]
    assert world.source == {"t/a": b"one", "t/b": b"two"}
    assert (done.copied, done.found) == (1, 1)


def test_a_row_that_never_had_its_object_does_not_stop_the_passes():
    world, state = way_back({"t/a": b"one"}, lost=["t/lost"])
    assert state.lost == ("t/lost",)
    done = from_the_bucket(world, passes.held, state, 4)
    assert (world.calls, done.found) == ([], 0)


def test_an_object_that_is_deleted_just_now_is_left_out_by_its_row():
    world, state = way_back({"t/a": b"one"})
    world.upload("t/b", b"two", place=BUCKET)
    world.upload("t/c", b"three", place=BUCKET)
    world.happens = {("copy", 1): [lambda: world.delete("t/b", place=BUCKET)]}
    done = from_the_bucket(world, passes.held, state, 4)
    assert world.calls == ["copy", "copy"]
    assert "t/c" in world.source
    assert done.copied == 1


def test_without_rows_a_bucket_is_listed_after_all():
    world = World(target={"t/a": b"one"})
    done = from_the_bucket(world, passes.held, NOTHING, 4)
    assert world.calls == ["list", "copy"]
    assert done.copied == 1
