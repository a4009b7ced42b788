"""Standbys are lost: of one nobody notices much, without both nothing is acknowledged, and with one back rows are again, by themselves."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.eventually import eventually, widened
from tests.lab.handle import playbook
from tests.lab.measurements import MANAGER, record
from tests.lab.parameters import others_in_soak_only
from tests.lab.postgres import Cluster, wait_until
from tests.lab.recap import unreached_or_failed

STALL_SECONDS = 3.0
RESUMED_SECONDS = 10.0
LASTS_SECONDS = 8.0
# By now the primary's guard has certainly found itself alone.
SETTLED_SECONDS = 6.0
DEGRADED_SECONDS = 20.0
# Nobody is taken out who was heard within 8 s.
SILENT_SECONDS = 9.0

FAULTS = {"killed": ("kill", "start"), "isolated": ("isolate", "heal")}

pytestmark = pytest.mark.etapa_3


@pytest.mark.parametrize("fault", others_in_soak_only(FAULTS))
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


@pytest.mark.soak_only
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


def degrade(out: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    """What an operator runs who has seen that these are powered off, and accepts a loss."""
    wanted = {
        "degrade_without": out,
        "degrade_confirmation": f"{', '.join(out)} are powered off",
        "degrade_accept_loss": True,
    }
    return playbook("degrade_cluster.yml", "--extra-vars", json.dumps(wanted), *words)


def test_a_standby_goes_on_alone_when_all_others_have_no_power(whole_cluster: Cluster, output: Path) -> None:
    lab, what = whole_cluster.lab, "the primary and one standby powered off, degraded by an operator"
    primary = whole_cluster.primary()
    left, off = whole_cluster.others(primary)
    with whole_cluster.measuring(output) as measurement:
        lab.verb("kill", off)
        # From here on the one that is left has every row.
        whole_cluster.wait_acknowledged(measurement, time.monotonic())
        at = measurement.mark(f"{off}, {primary}: powered off")
        lab.verb("kill", primary)
        too_soon = lab.on(left, f"escala-pg-guard degrade --without {primary} {off}", check=False)
        assert f"{primary} was heard" in too_soon, too_soon
        wait_until(time.monotonic() + SILENT_SECONDS, "they have been silent for long")
        one_named = lab.on(left, f"escala-pg-guard degrade --without {off}", check=False)
        assert f"{primary} is not heard now and may be primary" in one_named, one_named
        asked = measurement.mark("degrade_cluster.yml")
        done = degrade([primary, off])
        (output / "degrade.log").write_text(done.stdout + done.stderr)
        assert left not in unreached_or_failed(done.stdout), done.stdout[-3000:]
        whole_cluster.wait_acknowledged(measurement, asked, DEGRADED_SECONDS)
        measurement.mark("both booted")
        for node in (primary, off):
            lab.verb("start", node)
        whole_cluster.wait_until_whole()
        eventually("everybody votes again", lambda: out_of_the_quorum(whole_cluster) == set(), within=30)
    found = whole_cluster.judge(measurement, output, what, at)
    assert found.writers() == [primary, left]
    found.hold("degraded_standby", what, figure="stall")


def test_a_standby_takes_nobody_out_while_a_living_primary_is_only_not_heard(
    whole_cluster: Cluster, output: Path
) -> None:
    lab = whole_cluster.lab
    primary = whole_cluster.primary()
    asked, off = whole_cluster.others(primary)
    lab.verb("kill", off)
    # The one that is asked gets no answer from the primary's guard, which hears it and so goes on; WAL goes another way.
    rule = f"ip saddr {whole_cluster.nodes[asked]} tcp dport 5433 drop"
    deafen = f"table inet escala_story {{ chain input {{ type filter hook input priority -300; {rule}; }}; }}"
    lab.on(primary, f"nft {shlex.quote(deafen)}")
    try:
        wait_until(time.monotonic() + SILENT_SECONDS, "both have been silent for long")
        done = degrade([off], "--limit", asked)
        (output / "degrade.log").write_text(done.stdout + done.stderr)
        assert asked in unreached_or_failed(done.stdout), done.stdout[-3000:]
        assert f"{primary} is not heard now and may be primary" in " ".join(done.stdout.split())
        # Somebody who is mistaken about the primary too: this very node streams from it.
        mistaken = lab.on(asked, f"escala-pg-guard degrade --without {primary} {off}", check=False)
        assert f"{asked} streams from {primary}" in mistaken, mistaken
        assert whole_cluster.primary() == primary
        # Where it is asked rightly it is done, and the node that was out votes again later.
        assert primary not in unreached_or_failed(degrade([off], "--limit", primary).stdout)
    finally:
        lab.on(primary, "nft delete table inet escala_story")
    lab.verb("start", off)
    whole_cluster.wait_until_whole()
    eventually("everybody votes again", lambda: out_of_the_quorum(whole_cluster) == set(), within=30)


def out_of_the_quorum(cluster: Cluster) -> set[str]:
    """Whom any of the guards has out."""
    return {name for said in cluster.guards().values() for name in json.loads(said)["quorum"]["out"]}
