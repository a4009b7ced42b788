"""All data nodes lose their power at once and are booted in an order of chance: one writer, nothing lost, within a minute, without a person."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.eventually import widened
from tests.lab.interrupted import chance
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster, wait_until

LIMIT_SECONDS = 60.0
PAUSE_SECONDS = 5.0

pytestmark = pytest.mark.etapa_3


@pytest.mark.soak(runs=3)
def test_one_of_them_writes_again_and_nothing_is_lost(whole_cluster: Cluster, output: Path) -> None:
    lab, what, by = whole_cluster.lab, "all data nodes powered off and booted", chance()
    down, up = list(whole_cluster.nodes), list(whole_cluster.nodes)
    by.shuffle(down)
    by.shuffle(up)
    print(f"off in the order {', '.join(down)}, booted in the order {', '.join(up)}")
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark("all powered off")
        for node in down:
            lab.verb("kill", node)
        off = time.monotonic()
        for node in up:
            measurement.mark(f"{node}: booted")
            lab.verb("start", node)
            wait_until(time.monotonic() + by.uniform(0, PAUSE_SECONDS), "it is the next one's turn")
        booted = measurement.mark("all booted")
        whole_cluster.wait_acknowledged(measurement, off)
        first = next(
            each.ended
            for each in measurement.tries
            if each.source == "ledger" and each.ended > off and each.outcome == "acknowledged"
        )
        whole_cluster.wait_until_whole(LIMIT_SECONDS)
        whole = time.monotonic()
    found = whole_cluster.judge(measurement, output, what, at)
    record(
        "all_powered_off_writable",
        max(0.0, first - booted),
        "s",
        LIMIT_SECONDS,
        what=f"{what}: writable after the last one's boot",
        of=MANAGER,
    )
    record(
        "all_powered_off_whole",
        whole - booted,
        "s",
        LIMIT_SECONDS,
        what=f"{what}: whole after the last one's boot",
        of=MANAGER,
    )
    found.hold("all_powered_off", what, figure="stall")
    assert first - booted <= widened(LIMIT_SECONDS)
