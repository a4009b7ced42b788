"""Standbys are lost: of one nobody notices much, without both nothing is acknowledged, and with one back rows are again, by themselves."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.eventually import widened
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster, wait_until

STALL_SECONDS = 3.0
RESUMED_SECONDS = 10.0
LASTS_SECONDS = 8.0
# By now the primary's guard has certainly found itself alone.
SETTLED_SECONDS = 6.0

FAULTS = {"killed": ("kill", "start"), "isolated": ("isolate", "heal")}

pytestmark = pytest.mark.etapa_3


@pytest.mark.parametrize("fault", FAULTS)
def test_without_one_standby_writes_go_on_and_nobody_is_promoted(
    whole_cluster: Cluster, output: Path, fault: str
) -> None:
    lab, what = whole_cluster.lab, f"a standby {fault}"
    begin, end = FAULTS[fault]
    primary = whole_cluster.primary()
    standby = whole_cluster.others(primary)[0]
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark(f"{standby}: {fault}")
        lab.verb(begin, standby)
        wait_until(at + LASTS_SECONDS, "the fault has lasted")
        measurement.mark("the fault ends")
        lab.verb(end, *([standby] if end == "start" else []))
        whole_cluster.wait_until_whole()
        whole_cluster.wait_acknowledged(measurement, time.monotonic())
    found = whole_cluster.judge(measurement, output, what, at)
    assert found.writers() == [primary]
    found.hold(f"standby_{fault}", what, limit=STALL_SECONDS, figure="stall")


def test_without_both_nothing_is_acknowledged_until_one_is_back(whole_cluster: Cluster, output: Path) -> None:
    lab, what = whole_cluster.lab, "both standbys powered off, one booted again"
    primary = whole_cluster.primary()
    returns, stays_away = whole_cluster.others(primary)
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark(f"{returns}, {stays_away}: powered off")
        lab.verb("kill", returns)
        lab.verb("kill", stays_away)
        alone = time.monotonic()
        wait_until(alone + SETTLED_SECONDS, "its guard found the primary alone")
        assert measurement.acknowledged_since(alone, "ledger") == 0
        booted = measurement.mark(f"{returns}: booted")
        lab.verb("start", returns)
        whole_cluster.wait_acknowledged(measurement, booted)
        # Back is a node whose PostgreSQL answers.
        back = next(
            each.ended
            for each in measurement.tries
            if each.source == returns and each.ended > booted and each.writable is not None
        )
        first = next(
            each.ended
            for each in measurement.tries
            if each.source == "ledger" and each.ended > booted and each.outcome == "acknowledged"
        )
        measurement.mark(f"{stays_away}: booted")
        lab.verb("start", stays_away)
        whole_cluster.wait_until_whole()
    found = whole_cluster.judge(measurement, output, what, at)
    resumed = max(0.0, first - back)
    record(
        "both_standbys_resumed",
        resumed,
        "s",
        RESUMED_SECONDS,
        what=f"{what}: rows acknowledged after it answered",
        of=MANAGER,
    )
    record(
        "both_standbys_booted",
        first - booted,
        "s",
        what=f"{what}: rows acknowledged after the order to boot",
        of=MANAGER,
    )
    found.hold("both_standbys", what, figure="stall")
    assert resumed <= widened(RESUMED_SECONDS)
