"""Switchovers under load, one after the other: no transaction fails, no client waits longer than 3 s. One that cannot be is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.eventually import eventually, widened
from tests.lab.handle import playbook
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster, wait_until

STALL_SECONDS = 3.0
TIMES = 3
TIMES_IN_A_SOAK = 10
# Clients that wait through a switchover, as the application's do.
PATIENT_SECONDS = 10.0

pytestmark = pytest.mark.etapa_3


@pytest.mark.soak(runs=1)
def test_no_transaction_fails_one_switchover_after_the_other(
    request: pytest.FixtureRequest, whole_cluster: Cluster, output: Path
) -> None:
    what, times = "planned switchover under load", TIMES_IN_A_SOAK if request.config.getoption("--soak") else TIMES
    began_with = whole_cluster.primary()
    stalls = []
    with whole_cluster.measuring(output, PATIENT_SECONDS) as measurement:
        at = measurement.mark(f"{times} switchovers")
        for number in range(times):
            primary = whole_cluster.primary()
            target = whole_cluster.others(primary)[number % 2]
            asked = measurement.mark(f"{primary} to {target}")
            done = playbook("switchover.yml", "--extra-vars", f"switchover_target={target}")
            (output / f"switchover-{number + 1}.log").write_text(done.stdout + done.stderr)
            assert done.returncode == 0, done.stdout[-3000:]
            assert whole_cluster.primary() == target
            stalls.append(whole_cluster.stall(measurement, asked))
            whole_cluster.wait_until_whole()
    found = whole_cluster.judge(measurement, output, what, at)
    for stall in stalls:
        record("switchover_stall", stall, "s", STALL_SECONDS, what=f"{what}: no row acknowledged for", of=MANAGER)
    failed = found.report["ledger"]["failed"] + found.report["ledger"]["indeterminate"]
    record(
        "switchover_failed", failed, "transactions", 0, what=f"{what}, {times} times: failed transactions", of=MANAGER
    )
    assert failed == 0, found.report["ledger_errors"]
    assert max(stalls) <= widened(STALL_SECONDS)
    assert found.report["rpo_rows"] == 0
    assert found.report["double_writer_seconds"] == 0
    assert found.writers()[0] == began_with


def test_a_transaction_that_is_older_than_clients_may_wait_refuses_it(whole_cluster: Cluster, output: Path) -> None:
    primary = whole_cluster.primary()
    session = whole_cluster.connect(primary, "escala_probe")(5)
    session.execute("BEGIN", limit_seconds=5)
    session.execute("SELECT txid_current()", limit_seconds=5)
    wait_until(time.monotonic() + STALL_SECONDS + 0.5, "it is old enough")
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark("a switchover that is refused")
        done = playbook("switchover.yml")
        stall = whole_cluster.stall(measurement, at)
    session.close()
    assert done.returncode != 0
    assert "Nothing was handed over: 1 transactions are older than clients may wait, 3 s: pid" in " ".join(
        done.stdout.split()
    )
    assert whole_cluster.primary() == primary
    assert stall < 1


@pytest.mark.parametrize(
    ("target", "said"), [("db9", "db9 is no data node"), ("", "is the primary already")], ids=["unknown", "itself"]
)
def test_a_target_that_makes_no_sense_is_refused(whole_cluster: Cluster, target: str, said: str) -> None:
    primary = whole_cluster.primary()
    done = playbook("switchover.yml", "--extra-vars", f"switchover_target={target or primary}")
    assert done.returncode != 0
    assert said in " ".join(done.stdout.split())
    assert whole_cluster.primary() == primary


def test_a_standby_that_is_away_takes_nothing_over(whole_cluster: Cluster) -> None:
    primary = whole_cluster.primary()
    away = whole_cluster.others(primary)[0]
    whole_cluster.lab.verb("isolate", away)
    eventually("it no longer streams", lambda: away not in whole_cluster.standbys(primary), within=30)
    done = playbook("switchover.yml", "--extra-vars", f"switchover_target={away}")
    assert done.returncode != 0
    assert f"nobody can take over from {primary}: {away} does not" in " ".join(done.stdout.split())
    assert whole_cluster.primary() == primary
