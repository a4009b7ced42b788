"""Data nodes leave the cluster and join it while users write, one at a time; a new host takes a dead one's place; runs are killed on the way."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.paths import INVENTORY
from tests.lab.eventually import eventually
from tests.lab.handle import playbook
from tests.lab.interrupted import chance, kill_at_a_task
from tests.lab.load import UsersLoad, running_load
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster
from tests.lab.recap import changed_hosts
from tests.lab.target import Target

ADD, REMOVE = "add_standby.yml", "remove_standby.yml"
# Where a run without a check is killed, which would take as long as the run.
ADD_TASKS, REMOVE_TASKS = 160, 175
# What a retry bears.
STALL_SECONDS = 3.0
# Two nodes alone cannot fail over by themselves.
BY_HAND = ("--extra-vars", '{"pg_guard_automatic": false}')

pytestmark = pytest.mark.etapa_3


@pytest.fixture
def others_inventory() -> Iterator[Path]:
    """A place beside the lab's own inventory, whose variables count there too."""
    file = INVENTORY / "hosts-grown.yml"
    yield file
    file.unlink(missing_ok=True)


class Members:
    """The playbooks, with an inventory that names some of the data nodes, and says of the others that they are there no more."""

    def __init__(self, cluster: Cluster, file: Path, output: Path) -> None:
        self.cluster, self._file, self._output = cluster, file, output
        self._number = 0
        # Of some of the nodes, beside what the lab's inventory says.
        self.variables: dict[str, dict[str, int]] = {}

    def having(self, nodes: list[str], *, ended: bool = True) -> tuple[str, ...]:
        """What ansible-playbook is told, so that these are the data nodes, and the others are ended."""
        inventory = json.loads((INVENTORY / "hosts.yml").read_text().partition("\n")[2])
        children = inventory["all"]["children"]
        children.setdefault("postgres_servers", {})["hosts"] = {node: self.variables.get(node, {}) for node in nodes}
        former = [node for node in self.cluster.nodes if node not in nodes]
        children["postgres_former_servers"] = {"hosts": {node: {} for node in former} if ended else {}}
        self._file.write_text(json.dumps(inventory, indent=1))
        return ("--inventory", str(self._file), *(() if len(nodes) != 2 else BY_HAND))

    def become(self, name: str, nodes: list[str], kill_by: random.Random | None = None) -> None:
        """Run a playbook to its end; after one that is killed on the way, where it is to be."""
        arguments = self.having(nodes)
        self._number += 1
        if kill_by:
            tasks = ADD_TASKS if name == ADD else REMOVE_TASKS
            log = self._output / f"{self._number}-killed.log"
            kill_at_a_task(name, *arguments, by=kill_by, output=log, among=tasks)
        done = playbook(name, *arguments, "--extra-vars", '{"postgresql_join_report_seconds": 1}')
        (self._output / f"{self._number}.log").write_text(done.stdout)
        assert done.returncode == 0, done.stdout[-3000:]
        assert self.names() == sorted(nodes)

    def names(self) -> list[str]:
        """The nodes that confirm the primary's commits, and itself."""
        primary = self.cluster.primary()
        [[names]] = self.cluster.ask(primary, "SHOW synchronous_standby_names")
        return sorted(node for node in self.cluster.nodes if f'"{node}"' in (names or f'"{primary}"'))

    def refused(self, name: str, nodes: list[str], *arguments: str, ended: bool = True) -> str:
        """What a run says that changes nothing."""
        done = playbook(name, *self.having(nodes, ended=ended), *arguments)
        assert done.returncode != 0, done.stdout[-3000:]
        assert changed_hosts(done.stdout) == {}
        return " ".join(done.stdout.split())


@pytest.fixture
def members(whole_cluster: Cluster, whole_platform: None, others_inventory: Path, output: Path) -> Iterator[Members]:
    """A cluster of all nodes, and in the end again."""
    found = Members(whole_cluster, others_inventory, output)
    yield found
    whole_cluster.heal()
    eventually("there is a primary", whole_cluster.primary, within=60)
    everybody = list(whole_cluster.nodes)
    # The nodes that are in it, and then one more each time.
    names = found.names()
    for node in [each for each in everybody if each not in names]:
        names.append(node)
        playbook(ADD, *found.having(sorted(names)))


def change(
    members: Members, target: Target, output: Path, steps: list[tuple[str, list[str]]], kills: int, what: str
) -> None:
    """Step by step under load, some of the runs killed on the way, and what it cost."""
    name = f"grow_{what.replace(' ', '_')}"
    by = chance()
    killed = set(by.sample(range(len(steps)), kills))
    cluster = members.cluster
    load = running_load(
        target, requests=100, rate=60, writes_per_second=10, save_to=output / "load.json", kind=UsersLoad
    )
    with load as users, cluster.measuring(output) as measurement:
        since = time.monotonic()
        for number, (step, nodes) in enumerate(steps):
            members.become(step, nodes, by if number in killed else None)
        cluster.wait_until_whole()
        cluster.wait_acknowledged(measurement, time.monotonic())
    print(users.result)
    record(f"{name}_failed", len(users.result.failures), "requests", 0, what=f"{what}, under load: failed", of=MANAGER)
    found = cluster.judge(measurement, output, what, since)
    found.hold(name, what, limit=STALL_SECONDS, figure="stall")
    assert not users.result.refused
    users.result.assert_unharmed()


def test_one_leaves_and_joins_again_though_a_run_is_killed(members: Members, target: Target, output: Path) -> None:
    everybody, primary = list(members.cluster.nodes), members.cluster.primary()
    leaving = chance().choice(members.cluster.others(primary))
    without = [node for node in everybody if node != leaving]
    change(members, target, output, [(REMOVE, without), (ADD, everybody)], kills=1, what="a node leaves and joins")
    assert members.cluster.primary() == primary


@pytest.mark.soak_only
@pytest.mark.soak(runs=3)
def test_from_three_to_one_and_back_though_runs_are_killed(members: Members, target: Target, output: Path) -> None:
    everybody, primary = list(members.cluster.nodes), members.cluster.primary()
    other = members.cluster.others(primary)[-1]
    pair = [node for node in everybody if node != other]
    steps = [(REMOVE, pair), (REMOVE, [primary]), (ADD, pair), (ADD, everybody)]
    change(members, target, output, steps, kills=3, what="from three nodes to one and back")
    assert members.cluster.primary() == primary
    # Nothing is left to be done, whichever way it is asked.
    assert changed_hosts(playbook(ADD, *members.having(everybody)).stdout) == {}
    assert changed_hosts(playbook(REMOVE, *members.having(everybody)).stdout) == {}


@pytest.mark.soak_only
@pytest.mark.soak(runs=3)
def test_a_new_host_takes_a_dead_one_s_place(members: Members, target: Target, output: Path) -> None:
    """Its power goes, its disks are new, and it has the name and the address of the one before."""
    cluster, everybody = members.cluster, list(members.cluster.nodes)
    dead = chance().choice(cluster.others(cluster.primary()))
    cluster.lab.verb("kill", dead)
    topology = json.loads(cluster.lab.verb("status", "--json").stdout)["topology"]
    cluster.lab.verb("up", "--topology", topology, "--fresh")
    assert not cluster.lab.on(dead, "find /var/lib/postgresql -name PG_VERSION")
    change(members, target, output, [(ADD, everybody)], kills=1, what="a new host in place of a dead one")
    assert changed_hosts(playbook(ADD, *members.having(everybody)).stdout) == {}


@pytest.mark.soak_only
def test_what_may_not_join_or_leave_is_refused_and_changes_nothing(members: Members) -> None:
    cluster, everybody = members.cluster, list(members.cluster.nodes)
    primary = cluster.primary()
    one, other = cluster.others(primary)
    for names, said in (
        ([one, other], f"{primary} is the primary: name it in postgres_servers again"),
        ([primary], f"the cluster knows {one}, {other}, which the inventory does not name"),
    ):
        assert said in members.refused(REMOVE, names)
    assert f"the cluster knows {other}, which the inventory does not name" in members.refused(ADD, [primary, one])
    # By their own votes two cannot go on, and nobody has said that they need not.
    automatic = ("--extra-vars", '{"pg_guard_automatic": true}')
    assert "cannot fail over by themselves" in members.refused(REMOVE, [primary, one], *automatic)
    assert "run it without --limit" in members.refused(REMOVE, [primary, one], "--limit", one)
    assert "run it without --limit" in members.refused(ADD, everybody, "--limit", one)
    # One that is not named as former, and runs.
    assert f"{other} answers" in members.refused(REMOVE, [primary, one], ended=False)
    cluster.lab.on(one, "systemctl stop escala-pg-guard postgresql@*")
    assert f"{one} does not answer" in members.refused(REMOVE, [primary, one])
    # Ansible by itself would go on with the host that is to be ended, and leave the primary alone.
    cluster.lab.verb("stop", one)
    assert "did not get through what comes before this" in members.refused(REMOVE, [primary, one])
    cluster.lab.verb("start", one)
    cluster.wait_until_whole()
    assert members.names() == everybody


@pytest.mark.soak_only
def test_a_disk_that_is_too_small_for_a_copy_is_refused(members: Members) -> None:
    cluster, everybody = members.cluster, list(members.cluster.nodes)
    new = cluster.others(cluster.primary())[0]
    members.become(REMOVE, [node for node in everybody if node != new])
    cluster.lab.on(new, "rm -rf /var/lib/postgresql/*")
    cluster.lab.on(
        new,
        "fallocate -l $(( $(df --output=avail -B1 /var/lib/postgresql | tail -1) - 524288000 )) /var/lib/postgresql/filler",
    )
    try:
        assert f"1 GiB, and {new} has " in members.refused(ADD, everybody)
    finally:
        cluster.lab.on(new, "rm /var/lib/postgresql/filler")
    members.become(ADD, everybody)
