from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Rank,
    lsn_text,
    on_history,
    parse_history,
    parse_lsn,
    rank_of,
    stubs_left,
    stubs_needed,
)

MIB16 = 16 * 1024 * 1024
BEGINS_AT_90 = {2: ((1, 5 * MIB16 + 90),)}


@given(st.integers(0, 2**64 - 1))
def test_a_position_reads_back_as_it_was_written(lsn):
    assert parse_lsn(lsn_text(lsn)) == lsn


@pytest.mark.parametrize("text", ["", "0", "0/", "0/123456789", "G/0", "0-5000000"])
def test_a_text_that_is_no_position_is_refused(text):
    with pytest.raises(ValueError, match="is not an LSN"):
        parse_lsn(text)


def test_a_history_of_postgresql_is_read():
    text = "1\t0/5000148\tno recovery target specified\n\n# a remark\n2\t0/70000A0\tno recovery target specified\n"
    assert parse_history(text) == ((1, 0x5000148), (2, 0x70000A0))
    assert parse_history("") == ()


@pytest.mark.parametrize("text", ["1", "one\t0/5\tx", "2\t0/5\tx\n1\t0/6\tx"])
def test_a_history_that_postgresql_did_not_write_is_refused(text):
    with pytest.raises(ValueError, match="histor"):
        parse_history(text)


def test_the_timeline_is_that_of_the_newest_wal_file_up_to_the_position():
    names = ["000000010000000000000004", "000000010000000000000005", "000000020000000000000005", "00000002.history"]
    assert rank_of(names, 5 * MIB16 + 100, BEGINS_AT_90) == Rank(2, 5 * MIB16 + 100)
    assert rank_of(names, 5 * MIB16, BEGINS_AT_90) == Rank(1, 5 * MIB16)


def test_a_timeline_whose_beginning_was_not_reached_does_not_count_though_its_file_is_there():
    names = ["000000010000000000000005", "000000020000000000000005"]
    assert rank_of(names, 5 * MIB16 + 85, BEGINS_AT_90).timeline == 1
    assert rank_of(names, 5 * MIB16 + 90, BEGINS_AT_90).timeline == 2


def test_a_timeline_without_a_history_was_never_used():
    names = ["000000010000000000000005", "000000020000000000000005"]
    assert rank_of(names, 5 * MIB16 + 100, {}).timeline == 1
    assert rank_of(names, 5 * MIB16 + 100, {2: ()}).timeline == 1


def test_a_recycled_file_beyond_the_position_says_nothing():
    names = ["000000010000000000000005", "000000020000000000000009"]
    assert rank_of(names, 5 * MIB16 + 100, {2: ((1, 90),)}).timeline == 1


def test_without_a_file_the_rank_is_unknown():
    with pytest.raises(ValueError, match="nothing says which timeline"):
        rank_of(["archive_status", "00000002.history"], 100, {})


def test_a_later_timeline_outweighs_any_position():
    assert Rank(3, 10) > Rank(2, 10_000)
    assert str(Rank(3, 0x5000000)) == "0/5000000 of timeline 3"


@pytest.mark.parametrize(
    ("timeline", "lsn", "lies"), [(2, 80, True), (2, 90, True), (2, 91, False), (4, 999, True), (3, 50, False)]
)
def test_a_position_lies_on_a_history_up_to_where_its_timeline_was_left(timeline, lsn, lies):
    assert on_history(timeline, lsn, ((1, 50), (2, 90)), 4) is lies


def test_stubs_fill_the_gap_below_the_timeline_to_take():
    assert stubs_needed(3, 4, [2, 3]) == []
    assert stubs_needed(3, 7, [2, 3, 5]) == [4, 6]


@pytest.mark.parametrize(("newest", "timeline", "existing"), [(3, 3, [3]), (4, 3, []), (3, 5, [5]), (3, 5, [3, 6])])
def test_a_timeline_that_is_taken_cannot_be_had(newest, timeline, existing):
    with pytest.raises(ValueError, match="stand for a higher one"):
        stubs_needed(newest, timeline, existing)


def test_only_stubs_above_the_newest_real_history_are_removed():
    sizes = {"00000002.history": 40, "00000003.history": 0, "00000004.history": 80, "00000005.history": 0}
    sizes["000000040000000000000005"] = MIB16
    assert stubs_left(sizes) == ["00000005.history"]
