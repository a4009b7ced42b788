"""The newest minor version on every data node while users write, on the Debian whose archive has an older one as well."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.lab.handle import playbook
from tests.lab.interrupted import chance, kill_at_a_task
from tests.lab.load import UsersLoad, running_load
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster
from tests.lab.recap import changed_hosts
from tests.lab.target import Target

UPGRADE = "upgrade_database.yml"
STALL_SECONDS = 3.0
PACKAGES = "postgresql-15", "postgresql-client-15", "libpq5"
# Where a run without a check is killed.
TASKS = 60

pytestmark = [pytest.mark.etapa_3, pytest.mark.topology("database_debian12"), pytest.mark.soak_only]


def versions(cluster: Cluster) -> set[str]:
    """What the nodes run, as Debian numbers it."""
    shown = [str(cluster.ask(node, "SHOW server_version")[0][0]) for node in cluster.nodes]
    return {match[1] for one in shown if (match := re.search(r"\(\S+ (\S+)\)", one))}


def available(cluster: Cluster) -> list[str]:
    """The versions that the archive has, newest first."""
    node = next(iter(cluster.nodes))
    shown = cluster.lab.on(node, f"apt-cache madison {PACKAGES[0]}")
    return [line.split("|")[1].strip() for line in shown.splitlines() if "|" in line]


def go_back(cluster: Cluster, version: str) -> None:
    """The older version on every node, as on hosts that were not looked after for a while."""
    wanted = " ".join(f"{package}={version}" for package in PACKAGES)
    install = f"DEBIAN_FRONTEND=noninteractive apt-get -q -y --allow-downgrades install {wanted}"
    primary = cluster.primary()
    for node in cluster.others(primary):
        cluster.lab.on(node, install)
        cluster.wait_until_whole()
    done = playbook("switchover.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    cluster.lab.on(primary, install)
    cluster.wait_until_whole()
    assert versions(cluster) == {version}


@pytest.fixture
def outdated(whole_cluster: Cluster, whole_platform: None) -> Cluster:
    newest, *older = available(whole_cluster)
    assert older, f"the archive has {newest} only"
    go_back(whole_cluster, older[0])
    return whole_cluster


@pytest.mark.soak(runs=3)
def test_every_node_has_the_newest_and_clients_waited_once(outdated: Cluster, target: Target, output: Path) -> None:
    what = "a minor upgrade of all nodes"
    load = running_load(
        target, requests=100, rate=60, writes_per_second=10, save_to=output / "load.json", kind=UsersLoad
    )
    with load as users, outdated.measuring(output) as measurement:
        since = time.monotonic()
        done = playbook(UPGRADE)
        outdated.wait_acknowledged(measurement, time.monotonic())
    (output / "run.log").write_text(done.stdout)
    assert done.returncode == 0, done.stdout[-3000:]
    print(users.result)
    record("upgrade_failed", len(users.result.failures), "requests", 0, what=f"{what}: failed", of=MANAGER)
    outdated.judge(measurement, output, what, since).hold("upgrade", what, limit=STALL_SECONDS, figure="stall")
    users.result.assert_unharmed()
    assert versions(outdated) == {available(outdated)[0]}
    assert changed_hosts(playbook(UPGRADE).stdout) == {}


def test_a_run_that_is_killed_is_made_good_by_the_next(outdated: Cluster, output: Path) -> None:
    what = "a minor upgrade that is killed, and run again"
    by = chance()
    with outdated.measuring(output) as measurement:
        since = time.monotonic()
        kill_at_a_task(UPGRADE, by=by, output=output / "killed.log", among=TASKS)
        outdated.wait_until_whole()
        done = playbook(UPGRADE)
        assert done.returncode == 0, done.stdout[-3000:]
        outdated.wait_acknowledged(measurement, time.monotonic())
    outdated.judge(measurement, output, what, since).hold("upgrade_killed", what, figure="stall")
    assert versions(outdated) == {available(outdated)[0]}
