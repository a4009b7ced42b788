"""Standbys are lost: of one nobody notices much, without both nothing is acknowledged, and with one back rows are again, by themselves."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from tests.lab.eventually import eventually, widened
from tests.lab.handle import playbook
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster, wait_until

STALL_SECONDS = 3.0
RESUMED_SECONDS = 10.0
LASTS_SECONDS = 8.0
# By now the primary's guard has certainly found itself alone.
SETTLED_SECONDS = 6.0
DEGRADED_SECONDS = 20.0

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


def test_an_operator_has_the_primary_go_on_alone_until_the_others_rejoin(whole_cluster: Cluster, output: Path) -> None:
    lab, what = whole_cluster.lab, "both standbys powered off, degraded by an operator"
    primary = whole_cluster.primary()
    standbys = whole_cluster.others(primary)
    listed = ("--extra-vars", json.dumps({"degrade_without": standbys}))
    confirmed = ("--extra-vars", json.dumps({"degrade_confirmation": f"{', '.join(standbys)} are powered off"}))
    assert playbook("degrade_cluster.yml", *listed, *confirmed).returncode != 0, "nodes that live were taken out"
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark("both standbys powered off")
        for standby in standbys:
            lab.verb("kill", standby)
        wait_until(at + SETTLED_SECONDS, "its guard found the primary alone")
        for limited in ((), ("--limit", primary)):
            assert playbook("degrade_cluster.yml", *listed, *limited).returncode != 0, "it needed no confirmation"
        asked = measurement.mark("degrade_cluster.yml")
        done = playbook("degrade_cluster.yml", *listed, *confirmed)
        (output / "degrade.log").write_text(done.stdout + done.stderr)
        assert primary not in unreached_or_failed(done.stdout), done.stdout[-3000:]
        whole_cluster.wait_acknowledged(measurement, asked, DEGRADED_SECONDS)
        measurement.mark("both booted")
        for standby in standbys:
            lab.verb("start", standby)
        whole_cluster.wait_until_whole()
        # Commits wait for one of them again, so one may be lost again.
        eventually(
            "commits wait for a standby again",
            lambda: "ANY 1" in str(whole_cluster.ask(whole_cluster.primary(), "SHOW synchronous_standby_names")),
            within=30,
        )
    found = whole_cluster.judge(measurement, output, what, at)
    assert found.writers() == [primary]
    found.hold("degraded", what, figure="stall")


def unreached_or_failed(said: str) -> list[str]:
    return re.findall(r"^(\S+)\s+: ok=.*(?:unreachable=[1-9]|failed=[1-9])", said, re.MULTILINE)
