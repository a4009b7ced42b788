"""Who held the virtual address at the same time."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.vip_watch import Change, Hold, change_from, holds, overlap_seconds

HOSTS = {"3": "lb1", "4": "lb2"}
VIP = "10.77.0.100"
GOT = r"[2026-02-09T16:06:51.544356] [nsid 3]32: if32    inet 10.77.0.100/24 scope global secondary host0\       valid_lft forever"
LOST = GOT.replace("[nsid 3]", "[nsid 4]Deleted ")


def test_a_line_of_the_monitor_says_which_host_got_the_address_and_when():
    change = change_from(GOT, VIP, HOSTS)
    assert (change.host, change.holds) == ("lb1", True)
    assert change.at == datetime.datetime(2026, 2, 9, 16, 6, 51, 544356).astimezone().timestamp()
    assert change_from(LOST, VIP, HOSTS).host == "lb2"
    assert change_from(LOST, VIP, HOSTS).holds is False


@pytest.mark.parametrize(
    "line",
    [
        GOT.replace(VIP, "10.77.0.10"),
        GOT.replace("[nsid 3]", "[nsid 9]"),
        GOT.replace("[nsid 3]", "[nsid current]"),
        "[2026-02-09T16:06:52.1] [nsid 3]Deleted 33: x    inet6 fe80::1/64 scope link",
        "",
    ],
)
def test_other_lines_say_nothing(line):
    assert change_from(line, VIP, HOSTS) is None


def test_a_move_without_overlap():
    held = holds(["lb1"], [Change(5, "lb1", False), Change(5.6, "lb2", True)], 0, 10)
    assert held == [Hold("lb1", 0, 5), Hold("lb2", 5.6, 10)]
    assert overlap_seconds(held) == 0


def test_a_late_farewell_is_an_overlap():
    held = holds(["lb1"], [Change(5, "lb2", True), Change(5.25, "lb1", False)], 0, 10)
    assert overlap_seconds(held) == pytest.approx(0.25)


def test_two_holders_that_stay_overlap_until_the_end():
    assert overlap_seconds(holds(["lb1"], [Change(5, "lb2", True)], 0, 10)) == 5


def test_what_is_said_twice_counts_once():
    changes = [Change(1, "lb2", True), Change(2, "lb2", True), Change(3, "lb2", False), Change(4, "lb2", False)]
    assert holds([], changes, 0, 10) == [Hold("lb2", 1, 3)]


def test_news_may_come_in_any_order():
    assert holds([], [Change(3, "lb1", False), Change(1, "lb1", True)], 0, 10) == [Hold("lb1", 1, 3)]


CHANGES = st.lists(
    st.builds(Change, st.integers(0, 100).map(float), st.sampled_from(["lb1", "lb2"]), st.booleans()), max_size=20
)


@given(CHANGES)
def test_the_overlap_is_what_counting_every_half_second_finds(changes):
    held = holds([], changes, 0, 100)
    steps = [moment + 0.5 for moment in range(100)]
    counted = sum(len({hold.host for hold in held if hold.since < moment < hold.until}) == 2 for moment in steps)
    assert overlap_seconds(held) == counted
