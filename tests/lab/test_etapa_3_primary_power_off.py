"""The primary's host loses its power: another node writes within 10 s, in a median of 8 s; booted again, the old one is its standby."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.postgres import Cluster, fail_over, wait_until

RTO_SECONDS, MEDIAN_SECONDS = 10.0, 8.0
# Long enough for a few hundred rows, and for no guard to hold that the primary is silent.
BEHIND_SECONDS = 1.0

pytestmark = pytest.mark.etapa_3


@pytest.mark.soak(runs=20)
def test_rows_are_acknowledged_again_within_10_s(whole_cluster: Cluster, output: Path) -> None:
    lab, what = whole_cluster.lab, "the primary's host powered off"
    _, found = fail_over(
        whole_cluster, output, what, lambda old: lab.verb("kill", old), lambda old: lab.verb("start", old)
    )
    found.hold("primary_power_off", what, limit=RTO_SECONDS, median_limit=MEDIAN_SECONDS)


@pytest.mark.parametrize(
    "first_in_the_list_is_behind",
    [pytest.param(True, id="first_behind"), pytest.param(False, id="second_behind", marks=pytest.mark.soak_only)],
)
def test_the_standby_that_has_every_acknowledged_row_wins(
    whole_cluster: Cluster, output: Path, first_in_the_list_is_behind: bool
) -> None:
    lab, what = whole_cluster.lab, "the primary's host powered off, one standby behind"
    old = whole_cluster.primary()
    first, second = whole_cluster.others(old)
    behind, winner = (first, second) if first_in_the_list_is_behind else (second, first)

    def fault(primary: str) -> None:
        lab.verb("cut", primary, behind)
        wait_until(time.monotonic() + BEHIND_SECONDS, "rows go by without it")
        lab.verb("kill", primary)
        lab.verb("heal")

    _, found = fail_over(whole_cluster, output, what, fault, lambda primary: lab.verb("start", primary))
    assert found.writers() == [old, winner]
    found.hold("primary_power_off_one_behind", what, limit=RTO_SECONDS)
