"""How long clients were not served."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.outage import Probe, longest_gap

MOMENTS = st.lists(st.floats(0, 100), max_size=30)


def probe(*successes):
    return Probe(target=None, successes=list(successes), failures=[(0.0, "TimeoutError")])


def test_the_outage_is_the_longest_gap_around_the_fault():
    assert probe(0.9, 1.0, 1.6, 1.7, 1.8).outage(fault_at=1.1) == pytest.approx(0.6)


def test_a_gap_before_the_fault_is_not_its_doing():
    assert probe(0.0, 5.0, 5.3, 5.4).outage(fault_at=5.1) == pytest.approx(0.3)


def test_a_second_gap_after_the_first_counts_when_it_is_longer():
    assert probe(1.0, 1.4, 1.5, 3.0, 3.1).outage(fault_at=1.1) == pytest.approx(1.5)


def test_answers_may_come_in_any_order():
    assert probe(1.8, 1.0, 1.6).outage(fault_at=1.1) == pytest.approx(0.6)


def test_nobody_ever_served_is_no_outage_of_zero():
    with pytest.raises(AssertionError, match="no connection was ever served"):
        probe().outage(fault_at=1.0)


@given(MOMENTS)
def test_a_gap_is_never_longer_than_the_whole_time_nor_shorter_than_an_even_share(moments):
    gap = longest_gap(moments, 0, 100)
    inside = [moment for moment in moments if 0 < moment < 100]
    assert 100 / (len(inside) + 1) - 1e-9 <= gap <= 100
