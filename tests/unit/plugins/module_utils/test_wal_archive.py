from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils._wal_archive import (
    Archive,
    Backup,
    Segment,
    Stretch,
    backup_of,
    is_archived,
    line_of,
    on_line,
    partial_of,
    retention,
    segment_of,
)

MIB16 = 16 * 1024 * 1024
DAY = 86_400.0


def segments(timeline: int, first: int, last: int) -> list[Segment]:
    return [Segment(timeline, number) for number in range(first, last + 1)]


def backup(name: str, at: float, segment: int = 3, timeline: int = 1, parent: str | None = None) -> Backup:
    return Backup(name, timeline, segment * MIB16 + 40, segment * MIB16 + 5_000, at, parent)


# Timeline 1 up to the middle of segment 7, timeline 2 from there.
FAILED_OVER = {2: ((1, 7 * MIB16 + 500),)}


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**40 - 1), st.sampled_from([2**20, 2**24, 2**26, 2**30]))
def test_a_segment_s_name_reads_back(timeline, number, segment_bytes):
    segment = Segment(timeline, number % (2**64 // segment_bytes))
    name = segment.name(segment_bytes)
    assert segment_of(name, segment_bytes) == segment
    assert partial_of(f"{name}.partial", segment_bytes) == segment
    assert is_archived(name)


def test_names_are_postgresql_s_own():
    assert Segment(1, 5).name() == "000000010000000000000005"
    # 256 segments of 16 MiB in one log.
    assert Segment(2, 256).name() == "000000020000000100000000"
    assert Segment(2, 64).name(2**26) == "000000020000000100000000"


@pytest.mark.parametrize(
    "name",
    ["", "00000002.history", "0000000100000000000000FF.gz", "00000001000000000000010G", "000000010000000000000100"],
)
def test_other_files_are_no_segments(name):
    assert segment_of(name) is None
    assert partial_of(name) is None


@pytest.mark.parametrize(
    ("name", "archived"),
    [
        ("00000002.history", True),
        ("000000010000000000000005.partial", True),
        ("000000010000000000000005.00000028.backup", True),
        ("00000002.history.partial", False),
        ("archive_status", False),
        ("../000000010000000000000005", False),
        ("000000010000000000000005\n", False),
    ],
)
def test_what_postgresql_archives_is_told_from_what_it_does_not(name, archived):
    assert is_archived(name) is archived


def test_a_line_takes_the_segment_of_a_switch_from_the_newer_timeline():
    line = line_of(3, ((1, 7 * MIB16 + 500), (2, 9 * MIB16)))
    assert line == (Stretch(1, 0), Stretch(2, 7), Stretch(3, 9))
    assert [on_line(number, line).timeline for number in (6, 7, 8, 9, 10)] == [1, 2, 2, 3, 3]


def test_a_timeline_that_was_left_in_the_segment_where_it_began_gives_nothing():
    line = line_of(3, ((1, 7 * MIB16 + 500), (2, 7 * MIB16 + 900)))
    assert on_line(6, line) == Segment(1, 6)
    assert on_line(7, line) == Segment(3, 7)


def test_a_backup_reaches_to_the_end_of_the_last_segment():
    reach = Archive(segments(1, 3, 8), {}, [backup("b", 0)]).reach(backup("b", 0))
    assert (reach.possible, reach.until_lsn, reach.gap) == (True, 9 * MIB16, None)
    assert reach.why == "the archive ends before 000000010000000000000009"


def test_a_backup_reaches_over_a_failover():
    archive = Archive(segments(1, 3, 6) + segments(2, 7, 10), FAILED_OVER)
    assert archive.newest_timeline == 2
    assert archive.reach(backup("b", 0)).until_lsn == 11 * MIB16


def test_the_old_timeline_s_copy_of_the_segment_of_a_switch_does_not_do():
    archive = Archive(segments(1, 3, 7) + segments(2, 8, 10), FAILED_OVER)
    reach = archive.reach(backup("b", 0))
    assert (reach.until_lsn, reach.gap) == (7 * MIB16, Segment(2, 7))
    # Whoever restores to the old timeline takes it.
    assert archive.reach(backup("b", 0), 1).until_lsn == 8 * MIB16


def test_a_gap_is_named_and_ends_what_can_be_reached():
    archive = Archive(segments(1, 3, 5) + segments(1, 7, 9), {}, [backup("b", 0)])
    reach = archive.reach(archive.backups["b"])
    assert (reach.possible, reach.until_lsn, reach.gap) == (True, 6 * MIB16, Segment(1, 6))
    assert reach.why == "segment 000000010000000000000006 is missing, and later ones are there"
    assert archive.gaps() == [Segment(1, 6)]


LONG = Backup("b", 1, 3 * MIB16 + 40, 5 * MIB16 + 10, 0)


@pytest.mark.parametrize("before", [[], segments(1, 3, 4)])
def test_a_backup_brings_its_own_wal_and_reaches_its_end_without_any_archive(before):
    reach = Archive(before, {}).reach(LONG)
    assert (reach.possible, reach.until_lsn, reach.gap) == (True, 5 * MIB16 + 10, None)


def test_a_backup_reaches_past_its_end_only_by_the_archive_s_copy_of_its_last_segment():
    reach = Archive(segments(1, 6, 8), {}).reach(LONG)
    assert (reach.until_lsn, reach.gap) == (5 * MIB16 + 10, Segment(1, 5))
    # What comes before that one it has itself.
    assert Archive(segments(1, 5, 8), {}).reach(LONG).until_lsn == 9 * MIB16


def test_a_backup_that_ends_with_a_segment_needs_the_next():
    reach = Archive(segments(1, 4, 4), {}).reach(LONG._replace(stop_lsn=5 * MIB16))
    assert (reach.until_lsn, reach.why) == (5 * MIB16, "the archive ends before 000000010000000000000005")


def test_a_backup_of_a_stale_primary_is_not_brought_to_the_new_timeline():
    archive = Archive(segments(1, 3, 9) + segments(2, 7, 10), FAILED_OVER)
    reach = archive.reach(backup("late", 0, segment=8))
    assert not reach.possible
    assert reach.why == "backup late ends at 0/8001388 of timeline 1, which timeline 2 had left before that"


def test_what_a_primary_wrote_after_it_was_left_is_stale():
    archive = Archive(segments(1, 3, 9) + segments(2, 7, 10), FAILED_OVER)
    assert archive.stale() == [Segment(1, 8), Segment(1, 9)]
    assert archive.gaps() == []
    # A fork that nobody follows any more.
    forked = Archive(segments(1, 3, 6) + segments(2, 7, 8) + segments(3, 7, 9), {2: FAILED_OVER[2], 3: FAILED_OVER[2]})
    assert forked.stale() == segments(2, 7, 8)


def test_a_timeline_without_its_history_is_told():
    with pytest.raises(ValueError, match=r"copy 00000002\.history there from a node's pg_wal"):
        Archive(segments(1, 3, 6) + segments(2, 7, 8), {}).gaps()


def test_an_empty_archive_has_no_gaps_and_reaches_nothing():
    archive = Archive([], {})
    assert (archive.newest_timeline, archive.gaps(), archive.stale()) == (1, [], [])
    assert archive.reach(backup("b", 0)).until_lsn == backup("b", 0).stop_lsn
    with pytest.raises(ValueError, match="no backup can be restored: there is none"):
        archive.best()


def test_an_incremental_backup_builds_on_others():
    full, first, second = backup("f", 0), backup("i1", 1, parent="f"), backup("i2", 2, parent="i1")
    assert [one.name for one in Archive([], {}, [second, full, first]).chain(second)] == ["f", "i1", "i2"]
    with pytest.raises(ValueError, match="backup i2 builds on i1, which is not there"):
        Archive([], {}, [second, full]).chain(second)
    with pytest.raises(ValueError, match="builds on"):
        Archive([], {}, [backup("x", 0, parent="y"), backup("y", 0, parent="x")]).chain(backup("x", 0, parent="y"))


def test_the_best_backup_is_the_newest_that_ended_before_the_time():
    archive = Archive(segments(1, 3, 9), {}, [backup("old", 100), backup("new", 200, segment=6)])
    assert archive.best()[0].name == "new"
    assert archive.best(before=150)[0].name == "old"
    with pytest.raises(ValueError, match="new ended 150 s after that time; old ended 50 s after that time"):
        archive.best(before=50)


def test_the_best_backup_is_not_one_that_lacks_something():
    whole, broken, stale = (
        backup("whole", 100),
        backup("broken", 300, 8, parent="gone"),
        backup("stale", 200, segment=8),
    )
    archive = Archive(segments(1, 3, 6) + segments(2, 7, 9), FAILED_OVER, [whole, broken, stale])
    assert archive.best()[0] == whole
    with pytest.raises(ValueError, match=r"broken builds on gone.*stale: backup stale ends at 0/8001388 of timeline 1"):
        Archive(segments(2, 7, 9), FAILED_OVER, [broken, stale]).best()


def test_a_manifest_says_which_wal_a_backup_needs():
    ranges = [
        {"Timeline": 2, "Start-LSN": "0/7000000", "End-LSN": "0/70001F4"},
        {"Timeline": 1, "Start-LSN": "0/6000028", "End-LSN": "0/7000000"},
    ]
    assert backup_of("b", {"WAL-Ranges": ranges}, 9.0) == Backup("b", 2, 0x6000028, 0x70001F4, 9.0)


@pytest.mark.parametrize("manifest", [{}, {"WAL-Ranges": []}, {"WAL-Ranges": [{"Timeline": 1}]}, {"WAL-Ranges": None}])
def test_a_manifest_that_does_not_say_so_is_refused(manifest):
    with pytest.raises(ValueError, match="the manifest of backup b does not say which WAL it needs"):
        backup_of("b", manifest, 0)


@st.composite
def lives(draw):
    """A cluster's life: how long each timeline was written on, in bytes, and what is missing of what it archived."""
    position, histories, written, history = 3 * MIB16, {}, [], []
    for timeline in range(1, draw(st.integers(1, 4)) + 1):
        begin = position
        position += draw(st.integers(1, 4 * MIB16))
        # Complete ones; a timeline's first is a copy up to where it begins.
        written += segments(timeline, begin // MIB16, position // MIB16 - 1)
        if timeline > 1:
            histories[timeline] = tuple(history)
        history.append((timeline, position))
    missing = draw(st.sets(st.sampled_from(written))) if written else set()
    return histories, written, missing, position


@given(lives())
def test_what_can_be_reached_is_what_a_recovery_would_replay(life):
    histories, written, missing, position = life
    archive = Archive(set(written) - missing, histories)
    newest = max(histories, default=1)
    base = Backup("b", 1, 3 * MIB16, 3 * MIB16 + 1, 0)
    # A recovery that asks for one segment after the other, of the newest timeline that has begun by then.
    begins = {1: 0, **{timeline: history[-1][1] for timeline, history in histories.items()}}
    number = 3
    while (
        Segment(max(tl for tl in begins if tl <= newest and begins[tl] // MIB16 <= number), number) in archive.segments
    ):
        number += 1
    assert archive.reach(base, newest).until_lsn == max(number * MIB16, base.stop_lsn)
    if not missing:
        assert number * MIB16 == position // MIB16 * MIB16
        assert archive.gaps() == []


@given(lives())
def test_a_gap_is_found_if_and_only_if_something_before_the_end_is_missing(life):
    histories, written, missing, _position = life
    archive = Archive(set(written) - missing, histories)
    line = archive.line(archive.newest_timeline)
    needed = [one for one in written if on_line(one.number, line) == one]
    there = [one.number for one in needed if one not in missing]
    between = [one for one in needed if one in missing and there and min(there) < one.number < max(there)]
    assert archive.gaps() == sorted(between, key=lambda one: one.number)


def full_and_three(day: int, segment: int) -> list[Backup]:
    """A full backup and one of each following day that builds on the one before."""
    made = [backup(f"d{day}", day * DAY, segment)]
    for later in range(1, 4):
        made.append(backup(f"d{day + later}", (day + later) * DAY, segment + later, parent=made[-1].name))
    return made


BACKUPS = full_and_three(0, 10) + full_and_three(4, 20) + full_and_three(8, 30)
ALL = {one.name for one in BACKUPS}


def test_backups_beyond_both_limits_go_and_the_wal_before_the_oldest_that_stays():
    kept = retention(Archive([], {}, BACKUPS), ALL, now=11 * DAY, keep_full=1, keep_seconds=2 * DAY)
    # Day 8 is older than two days, and what 9, 10 and 11 build on.
    assert kept.backups == ["d11", "d10", "d9", "d8"]
    assert kept.expired == ["d7", "d6", "d5", "d4", "d3", "d2", "d1", "d0"]
    assert kept.first_segment == 30


def test_the_count_keeps_what_the_time_would_let_go():
    kept = retention(Archive([], {}, BACKUPS), ALL, now=500 * DAY, keep_full=2, keep_seconds=DAY)
    assert set(kept.backups) == {"d11", "d10", "d9", "d8", "d7", "d6", "d5", "d4"}
    assert kept.first_segment == 20


def test_any_time_within_the_period_can_be_reached():
    kept = retention(Archive([], {}, BACKUPS), ALL, now=11 * DAY, keep_full=1, keep_seconds=4.5 * DAY)
    # Day 6.5 is reached from day 6, which builds on days 4 and 5.
    assert set(kept.backups) == {"d11", "d10", "d9", "d8", "d7", "d6", "d5", "d4"}


def test_nothing_goes_before_a_good_one_is_there():
    kept = retention(Archive([], {}, BACKUPS), set(), now=500 * DAY, keep_full=1, keep_seconds=0)
    assert (set(kept.backups), kept.expired, kept.first_segment) == (ALL, [], 10)
    nothing = retention(Archive([], {}), set(), now=0, keep_full=1, keep_seconds=0)
    assert (nothing.backups, nothing.first_segment) == ([], None)


def test_one_that_is_not_good_stays_until_a_good_one_is_newer():
    good = ALL - {"d8", "d9", "d10", "d11"}
    kept = retention(Archive([], {}, BACKUPS), good, now=11 * DAY, keep_full=1, keep_seconds=0)
    assert set(kept.backups) == {"d11", "d10", "d9", "d8", "d7", "d6", "d5", "d4"}
    later = retention(Archive([], {}, [*BACKUPS, backup("d12", 12 * DAY, 40)]), good | {"d12"}, 12 * DAY, 1, 0)
    assert (later.backups, later.first_segment) == (["d12"], 40)


@pytest.mark.parametrize(("keep_full", "keep_seconds"), [(0, 1), (1, -1)])
def test_a_retention_that_keeps_nothing_is_refused(keep_full, keep_seconds):
    with pytest.raises(ValueError, match="at least one full backup is kept"):
        retention(Archive([], {}), set(), 0, keep_full, keep_seconds)


@given(
    st.lists(st.tuples(st.floats(0, 100 * DAY), st.booleans(), st.booleans()), max_size=12),
    st.integers(1, 3),
    st.floats(0, 50 * DAY),
)
def test_what_stays_is_whole_and_covers_the_period(days, keep_full, keep_seconds):
    backups: list[Backup] = []
    good = set()
    for number, (at, is_full, is_good) in enumerate(sorted(days)):
        parent = None if is_full or not backups else backups[-1].name
        backups.append(backup(f"b{number}", at, 10 + number, parent=parent))
        # One is as good as what it builds on.
        if is_good and (parent is None or parent in good):
            good.add(f"b{number}")
    now = 100 * DAY
    archive = Archive([], {}, backups)
    kept = retention(archive, good, now, keep_full, keep_seconds)
    assert sorted([*kept.backups, *kept.expired]) == sorted(archive.backups)
    for name in set(kept.backups):
        assert {one.name for one in archive.chain(archive.backups[name])} <= set(kept.backups)
    proven = [one for one in backups if one.name in good]
    if proven:
        assert max(proven, key=lambda one: one.stopped_at).name in kept.backups
        for one in proven:
            # The best for a time within the period is never one that was let go.
            times = [later for later in (one.stopped_at, now) if later >= now - keep_seconds]
            for moment in times:
                best = max((each for each in proven if each.stopped_at <= moment), key=lambda each: each.stopped_at)
                assert best.name in kept.backups
    else:
        assert not kept.expired
