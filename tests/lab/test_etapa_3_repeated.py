"""The etapa's playbook follows reality: after a failover a run changes nothing, and one that was killed at a task of chance is made good by the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import playbook
from tests.lab.interrupted import chance, kill_at_a_task
from tests.lab.postgres import Cluster
from tests.lab.recap import changed_hosts

PLAYBOOK = "etapa_3_postgresql.yml"

pytestmark = pytest.mark.etapa_3


def test_a_run_after_a_failover_changes_nothing_and_disturbs_nobody(whole_cluster: Cluster, output: Path) -> None:
    old = whole_cluster.primary()
    # One that is only killed may be the next primary again.
    whole_cluster.lab.verb("kill", old)
    eventually("another node is primary", lambda: whole_cluster.primary() != old, within=30)
    whole_cluster.lab.verb("start", old)
    whole_cluster.wait_until_whole()
    new = whole_cluster.primary()
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark("a run of the etapa")
        done = playbook(PLAYBOOK)
        stall = whole_cluster.stall(measurement, at)
    assert done.returncode == 0, done.stdout[-3000:]
    assert changed_hosts(done.stdout) == {}
    assert whole_cluster.primary() == new
    assert stall < 1, "clients noticed a run that changes nothing"


@pytest.mark.soak(runs=3)
def test_a_run_that_is_killed_at_any_task_is_made_good_by_the_next(
    request: pytest.FixtureRequest, whole_cluster: Cluster, output: Path
) -> None:
    primary = whole_cluster.primary()
    # The data nodes alone take half the time, and a soak has time for the poolers as well.
    soak = request.config.getoption("--soak")
    where = () if soak else ("--limit", "postgres_servers")
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark("a run that is killed")
        # So that there is something to change, and to be halfway through.
        change = (*where, "--extra-vars", '{"postgresql_settings": {"log_min_duration_statement": "900ms"}}')
        kill_at_a_task(PLAYBOOK, *change, by=chance(), output=output / "killed.log", among=65)
        again = playbook(PLAYBOOK, *change)
        assert again.returncode == 0, again.stdout[-3000:]
        whole_cluster.wait_until_whole()
        for node in whole_cluster.nodes:
            assert whole_cluster.ask(node, "SHOW log_min_duration_statement") == [["900ms"]], node
        # What was left halfway is whole now: of the same wish nothing is left to be done, which a soak has time to see.
        if soak:
            assert changed_hosts(playbook(PLAYBOOK, *change).stdout) == {}
    found = whole_cluster.judge(measurement, output, "a run of the etapa killed and repeated", at)
    assert whole_cluster.primary() == primary
    assert found.writers() == [primary]
    found.hold("etapa_3_killed", "a run of the etapa killed and repeated", limit=3.0, figure="stall")
