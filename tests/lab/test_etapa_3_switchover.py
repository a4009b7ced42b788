"""Switchovers under load, one after the other: no transaction fails, no client waits longer than 3 s. One that cannot be is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.eventually import eventually, widened
from tests.lab.handle import playbook
from tests.lab.interrupted import killed_at_the_end
from tests.lab.measurements import MANAGER, record
from tests.lab.parameters import others_in_soak_only
from tests.lab.postgres import Cluster, wait_until

STALL_SECONDS = 3.0
TIMES = 3
TIMES_IN_A_SOAK = 10
# Clients that wait through a switchover, as the application's do.
PATIENT_SECONDS = 10.0
# How long a pool may wait for a transaction in the story that ends it itself; a run on a busy machine must come so far in that time.
LONG_STALL_SECONDS = 90.0
# From the end of that transaction: 8 s at most for another primary, and what looking takes.
RESUMED_SECONDS = 20.0

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


def paused(cluster: Cluster, host: str) -> bool:
    """Whether the clients of an application host wait."""
    [row] = [row for row in cluster.ask_pooler(host, "SHOW DATABASES") if row["name"] == "app"]
    return row["paused"] == "1"


@pytest.mark.parametrize("strategy", others_in_soak_only(["mitogen_linear", "linear"]))
def test_nobody_waits_any_more_when_the_controller_was_lost_in_the_middle(
    whole_cluster: Cluster, output: Path, strategy: str
) -> None:
    host, log = next(iter(whole_cluster.pools)), output / "killed.log"
    stall = ("--extra-vars", f"switchover_stall_seconds={widened(LONG_STALL_SECONDS)}")
    busy = whole_cluster.connect(host, "escala_probe")(5)
    try:
        with whole_cluster.measuring(output) as measurement:
            at = measurement.mark(f"a switchover by {strategy}")
            # The pool is paused until this transaction ends, so the run is lost neither before that nor after it.
            busy.execute("BEGIN", limit_seconds=5)
            busy.execute("SELECT txid_current()", limit_seconds=5)
            with killed_at_the_end("switchover.yml", *stall, strategy=strategy, with_workers=True, output=log) as run:
                eventually(
                    f"the clients of {host} wait",
                    lambda: run.poll() is not None or paused(whole_cluster, host),
                    within=LONG_STALL_SECONDS - 10,
                )
                assert run.poll() is None, log.read_text()[-3000:]
            measurement.mark("the controller is lost")
            busy.execute("COMMIT", limit_seconds=5)
            eventually(
                "nobody waits at any pool",
                lambda: not any(paused(whole_cluster, pool) for pool in whole_cluster.pools),
                within=RESUMED_SECONDS,
            )
            whole_cluster.wait_acknowledged(measurement, measurement.mark("nobody waits"))
            whole_cluster.wait_until_whole()
        found = whole_cluster.judge(measurement, output, f"a switchover by {strategy} whose controller is lost", at)
        assert found.report["rpo_rows"] == 0
        assert found.report["double_writer_seconds"] == 0
    finally:
        busy.close()
        for pool in whole_cluster.pools:
            if paused(whole_cluster, pool):
                whole_cluster.ask_pooler(pool, 'RESUME "app"')


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


@pytest.mark.soak_only
def test_a_standby_that_is_away_takes_nothing_over(whole_cluster: Cluster) -> None:
    primary = whole_cluster.primary()
    away = whole_cluster.others(primary)[0]
    whole_cluster.lab.verb("isolate", away)
    eventually("it no longer streams", lambda: away not in whole_cluster.standbys(primary), within=30)
    done = playbook("switchover.yml", "--extra-vars", f"switchover_target={away}")
    assert done.returncode != 0
    assert f"nobody can take over from {primary}: {away} does not" in " ".join(done.stdout.split())
    assert whole_cluster.primary() == primary
