"""The etapa's first run on untouched hosts is killed within tasks of chance: what is half made is finished by the run after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.handle import Lab, playbook
from tests.lab.interrupted import chance, kill_at_a_task
from tests.lab.postgres import Cluster
from tests.lab.recap import changed_hosts
from tests.lab.test_etapa_3_repeated import PLAYBOOK

# A first run has a few more, the last of them for the second application host.
TASKS = 120
# Ansible's own way lets a module under way end alone, Mitogen's ends it in its middle.
STRATEGIES = ("linear", "mitogen_linear")
KILLS = 2

pytestmark = [pytest.mark.first_run, pytest.mark.soak_only]


@pytest.mark.soak(runs=5)
def test_a_first_run_that_is_killed_at_any_task_is_made_good_by_the_next(
    lab: Lab, cluster: Cluster, output: Path
) -> None:
    _untouched(lab, cluster)
    assert playbook("secrets.yml").returncode == 0
    by = chance()
    for number in range(KILLS):
        log = output / f"killed_{number}.log"
        kill_at_a_task(PLAYBOOK, by=by, output=log, among=TASKS, strategy=by.choice(STRATEGIES))
    for name, arguments in (("checked", ("--check", "--diff")), ("done", ())):
        run = playbook(PLAYBOOK, *arguments)
        (output / f"{name}.log").write_text(run.stdout + run.stderr)
        assert run.returncode == 0, run.stdout[-3000:]
    cluster.wait_until_whole()
    assert changed_hosts(playbook(PLAYBOOK).stdout) == {}


def _untouched(lab: Lab, cluster: Cluster) -> None:
    """Have the data nodes begin as untouched Debian again; the poolers keep what they have."""
    for node in cluster.nodes:
        if lab.hosts()[node]["state"] != "off":
            lab.verb("kill", node)
    lab.verb("up", "--topology", "database", "--fresh")
