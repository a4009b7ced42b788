"""The etapa's first run on untouched hosts is killed within a task of chance: what is half made is finished by the run after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.handle import Lab, playbook
from tests.lab.interrupted import chance, kill_at_a_task
from tests.lab.postgres import Cluster
from tests.lab.test_etapa_3_repeated import PLAYBOOK, changes

# A first run has a few more, the last of them for the second application host.
TASKS = 120
# Ansible's own way lets a module under way end alone, Mitogen's ends it in its middle.
STRATEGIES = ("linear", "mitogen_linear")
_SOAK_KILLS = 2

pytestmark = pytest.mark.first_run


@pytest.mark.soak(runs=5)
def test_a_first_run_that_is_killed_at_any_task_leaves_hosts_that_can_be_gone_on_with(
    request: pytest.FixtureRequest, lab: Lab, cluster: Cluster, output: Path
) -> None:
    many = request.config.getoption("--soak")
    if many:
        _untouched(lab, cluster)
    assert playbook("secrets.yml").returncode == 0
    by = chance()
    for number in range(_SOAK_KILLS if many else 1):
        kill_at_a_task(
            PLAYBOOK, by=by, output=output / f"killed_{number}.log", among=TASKS, strategy=by.choice(STRATEGIES)
        )
    checked = playbook(PLAYBOOK, "--check", "--diff")
    (output / "checked.log").write_text(checked.stdout + checked.stderr)
    assert checked.returncode == 0, checked.stdout[-3000:]
    if not many:
        # The scenario is the next run, and what it makes of these hosts is put to every story after it.
        return
    done = playbook(PLAYBOOK)
    (output / "done.log").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-3000:]
    assert changes(playbook(PLAYBOOK).stdout) == {}
    cluster.wait_until_whole()


def _untouched(lab: Lab, cluster: Cluster) -> None:
    """Have the data nodes begin as untouched Debian again; the poolers keep what they have."""
    for node in cluster.nodes:
        if lab.hosts()[node]["state"] != "off":
            lab.verb("kill", node)
    lab.verb("up", "--topology", "database", "--fresh")
