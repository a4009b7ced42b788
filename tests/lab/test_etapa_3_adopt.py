"""The old server becomes the first node of a cluster, others join it, and it is left: under load, there and back, though a run is killed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.inventory import cluster_is_loaded
from lab.paths import INVENTORY
from tests.lab.database_migration import STALL_SECONDS, done, nothing_changes, on_the_old_server, stall, users
from tests.lab.eventually import eventually, widened
from tests.lab.handle import Lab, playbook
from tests.lab.interrupted import chance, kill_at_a_task
from tests.lab.load import Load, Result
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster, keep_logs
from tests.lab.recap import changed_hosts
from tests.lab.target import Target
from tests.lab.test_etapa_3_grow import Members

ADOPT, ADD, REMOVE, SWITCH, DEPLOY = (
    "adopt_database.yml",
    "add_standby.yml",
    "remove_standby.yml",
    "switchover.yml",
    "deploy_app.yml",
)
# Until the guard runs, which is what can be broken off of it.
ADOPT_TASKS = 60
# Of a switchover, which holds the clients.
SWITCH_SECONDS = 3.0
UNIT = "postgresql@17-main"

pytestmark = [pytest.mark.etapa_3, pytest.mark.topology("adoption"), pytest.mark.soak_only]


@pytest.fixture
def old(lab: Lab) -> str:
    return lab.group("legacy_servers")[0]


@pytest.fixture
def members(lab: Lab, old: str, output: Path) -> Iterator[Members]:
    """The old server, and those that are to join it."""
    hosts = lab.hosts()
    nodes = {name: hosts[name]["address"] for name in (old, *lab.group("future_postgres_servers"))}
    pools = {name: facts["address"] for name, facts in hosts.items() if "app_servers" in facts["groups"]}
    file = INVENTORY / "hosts-adopted.yml"
    begun = time.time()
    found = Members(Cluster(lab, nodes, pools), file, output)
    try:
        yield found
    finally:
        keep_logs(found.cluster, output, begun)
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def at_work(target: Target, output: Path, phase: str) -> Iterator[Load]:
    folder = output / phase
    folder.mkdir()
    with users(target, folder) as load:
        yield load


def unharmed(result: Result, what: str) -> None:
    print(result)
    name = f"adopt_{what.replace(' ', '_')}"
    record(f"{name}_failed", len(result.failures), "requests", 0, what=f"{what}, under load: failed", of=MANAGER)
    record(f"{name}_lost", len(result.lost), "writes", 0, what=f"{what}, under load: acknowledged and lost", of=MANAGER)
    result.assert_unharmed()


def test_the_old_server_becomes_the_first_node_and_is_left(
    lab: Lab, members: Members, old: str, target: Target, output: Path
) -> None:
    alone = [old]

    # It is run by the customer's own daemon, with the application beside it.
    said = members.refused(ADOPT, alone, ended=False)
    assert f"it does not run in the unit {UNIT}: end whatever runs it instead" in said
    assert "who is connected would be shut out: app of" in said
    said = members.refused("etapa_3_postgresql.yml", alone, ended=False)
    assert f"{old} has a PostgreSQL that this collection did not make. adopt_database.yml" in said

    # What its administrator does: from here on the application is served by its new hosts only.
    lab.on(
        old, f"systemctl disable --now tenant-app-daemon; systemctl unmask postgresql; systemctl enable --now {UNIT}"
    )
    eventually("the platform serves", lambda: lab.on(old, f"systemctl is-active {UNIT}").strip() == "active", within=30)
    done("preflight.yml", *members.having(alone, ended=False))
    for statement in ("ALTER SYSTEM SET work_mem = '5MB'", "SELECT pg_create_physical_replication_slot('forgotten')"):
        on_the_old_server(lab, statement)
    said = members.refused(ADOPT, alone, ended=False)
    assert "ALTER SYSTEM has set work_mem" in said
    assert "it has the replication slots forgotten" in said
    for statement in ("ALTER SYSTEM RESET ALL", "SELECT pg_drop_replication_slot('forgotten')"):
        on_the_old_server(lab, statement)
    before = on_the_old_server(lab, "SELECT system_identifier FROM pg_control_system()")
    check = done(ADOPT, *members.having(alone, ended=False), "--check", "--diff")
    assert members.cluster.secrets["secret_database_app_password"] not in check

    # Under load, and killed on the way: the application finds it where it was.
    with at_work(target, output, "adopt") as load:
        since = time.monotonic()
        kill_at_a_task(
            ADOPT, *members.having(alone, ended=False), by=chance(), output=output / "killed.log", among=ADOPT_TASKS
        )
        members.become(ADOPT, alone)
        stalls = stall(load, since)
    record(
        "adopt_stall",
        stalls,
        "s",
        STALL_SECONDS,
        what="the old server becomes a node, under load: no write acknowledged for",
        of=MANAGER,
    )
    assert stalls <= widened(STALL_SECONDS)
    unharmed(load.result, "the old server becomes a node")
    nothing_changes(ADOPT, *members.having(alone, ended=False))
    assert on_the_old_server(lab, "SELECT system_identifier FROM pg_control_system()") == before

    # The application comes by the poolers from here on, and standbys join.
    cluster_is_loaded(True)
    first, second, third = lab.group("future_postgres_servers")
    said = members.refused(ADD, [first, old])
    assert "would be the same node 1; give the one that is new another postgresql_node_id" in said
    members.variables[first] = {"postgresql_node_id": 11}
    with at_work(target, output, "joined") as load:
        done(DEPLOY, *members.having(alone, ended=False))
        members.become(ADD, [first, old])
        members.become(ADD, sorted([first, second, old]))
    unharmed(load.result, "two standbys join the old server")

    # There, back with what was written since, and there again.
    cluster = Cluster(
        lab, {name: members.cluster.nodes[name] for name in sorted([first, second, old])}, members.cluster.pools
    )
    with at_work(target, output, "moved") as load, cluster.measuring(output) as measurement:
        since = time.monotonic()
        for goal in (first, old, first):
            done(SWITCH, *members.having(sorted([first, second, old]), ended=False), "-e", f"switchover_target={goal}")
            assert cluster.primary() == goal
            cluster.wait_until_whole()
        cluster.wait_acknowledged(measurement, time.monotonic())
    unharmed(load.result, "from the old server to a new node and back and there")
    found = cluster.judge(measurement, output, "from the old server to a new node and back and there", since)
    found.hold(
        "adopt_moved", "from the old server to a new node and back and there", limit=SWITCH_SECONDS, figure="stall"
    )

    # And without it.
    with at_work(target, output, "left") as load:
        members.become(REMOVE, [first, second])
        members.become(ADD, [first, second, third])
    unharmed(load.result, "the old server leaves and another joins")
    assert lab.on(old, f"systemctl is-active {UNIT} escala-pg-guard", check=False).split() == ["inactive", "inactive"]
    assert changed_hosts(playbook("etapa_3_postgresql.yml", *members.having([first, second, third])).stdout) == {}
