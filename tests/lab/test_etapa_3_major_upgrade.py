"""PostgreSQL's next major version on new hosts, under load: a rehearsal, the way there, the way back with what was written since, and failovers meanwhile."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab.paths import INVENTORY
from tests.lab.database_migration import (
    BACK,
    SWITCH,
    THERE,
    change_places,
    done,
    guard_says,
    judge,
    killed_there_and_back,
    let_in,
    nothing_changes,
    old_server,
    on_the_old_server,
    on_the_primary,
    on_the_primary_itself,
    primary,
    refused,
    users,
)
from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.interrupted import chance, kill_at_a_task
from tests.lab.postgres import Cluster, keep_logs
from tests.lab.target import Target

END = "end_database_migration.yml"
GROUPS = "previous_postgres_servers", "postgres_servers"
VERSION = "SELECT current_setting('server_version_num')::int / 10000"
KILLS = 3

pytestmark = [pytest.mark.etapa_3, pytest.mark.topology("major_upgrade"), pytest.mark.soak_only]


def both_are_whole(lab: Lab) -> bool:
    """By what the guards say: the database lets nobody in on one side or the other."""
    states = [guard_says(lab, node) for group in GROUPS for node in lab.group(group)]
    return all(
        sum(said.get("role") == "primary" for said in one) == 1
        and sum(bool(said.get("streaming")) for said in one) == 2
        for one in (states[:3], states[3:])
    )


def leads_to(lab: Lab, host: str) -> str | None:
    """The node to which the pooler of a host sends writes."""
    said = json.loads(lab.on(host, "cat /run/escala-pg-follow/state.json", check=False) or "{}")
    course = said.get("previous") if said.get("outside") != "here" and said.get("previous") else said
    found: str | None = course.get("writer")
    return found


@contextlib.contextmanager
def the_one_before_is_all() -> Iterator[None]:
    """An inventory that forgets this cluster, as if the upgrade had not been."""
    path = INVENTORY / "hosts.yml"
    text = path.read_text()
    inventory = yaml.safe_load(text)
    children = inventory["all"]["children"]
    children["postgres_servers"] = children.pop("previous_postgres_servers")
    path.write_text(json.dumps(inventory))
    try:
        yield
    finally:
        path.write_text(text)


@pytest.fixture
def not_upgraded(
    request: pytest.FixtureRequest, cluster: Cluster, whole_platform: None, output: Path
) -> Iterator[Cluster]:
    """The cluster before this one serves, and this one is empty and shut; afterwards it is so again. Keeps all logs when the story failed."""
    begun, failed_before = time.time(), request.session.testsfailed
    cluster.heal()
    eventually("both clusters are whole", lambda: both_are_whole(cluster.lab), within=60)
    assert int(on_the_old_server(cluster.lab, VERSION)) < int(on_the_primary(cluster, VERSION))
    assert let_in(cluster) == (True, False)
    try:
        yield cluster
    finally:
        if request.session.testsfailed > failed_before:
            keep_logs(cluster, output, begun)
        cluster.heal()
        cluster.lab.start_all()
        eventually("both clusters are whole again", lambda: both_are_whole(cluster.lab), within=60)
        if let_in(cluster) != (True, False):
            done(BACK)
        done(END)


@pytest.mark.soak(runs=3)
def test_there_and_back_under_load(not_upgraded: Cluster, target: Target, output: Path) -> None:
    with users(target, output) as load:
        # The rehearsal: all is copied and compared, and nobody notices.
        said = done(THERE)
        assert "public.notes: " in said
        nothing_changes(THERE)
        assert let_in(not_upgraded) == (True, False)
        for steps in ([THERE], [BACK], [THERE]):
            change_places(not_upgraded, load, steps, output)
            nothing_changes(*steps, *(SWITCH if steps == [THERE] else ()))
    judge(not_upgraded.lab, load.result)


def test_a_failover_of_the_cluster_that_still_serves_is_followed_and_the_copy_begun_again(
    not_upgraded: Cluster, target: Target, output: Path
) -> None:
    lab = not_upgraded.lab
    done(THERE)
    before = old_server(lab)
    with users(target, output) as load:
        lab.verb("kill", before)
        eventually("another node serves", lambda: old_server(lab) not in ("", before), within=60)
        lab.verb("start", before)
        assert "has no replication slot of ours any more, as after a failover there" in refused(THERE)
        done(END)
        done(THERE)
        change_places(not_upgraded, load, [THERE], output)
    print(load.result)
    assert not load.result.lost


def test_a_failover_of_the_cluster_that_serves_now_ends_the_way_back_and_nothing_else(
    not_upgraded: Cluster, target: Target, output: Path
) -> None:
    lab = not_upgraded.lab
    done(THERE)
    with users(target, output) as load:
        done(THERE, *SWITCH)
        before = primary(not_upgraded)
        # The cluster that follows may fail over as it likes.
        older = old_server(lab)
        lab.verb("kill", older)
        eventually("another node of the one before is primary", lambda: old_server(lab) not in ("", older), within=60)
        lab.verb("start", older)
        eventually("both clusters are whole", lambda: both_are_whole(lab), within=60)
        change_places(not_upgraded, load, [BACK, THERE], output)
        lab.verb("kill", before)
        eventually("another node serves", lambda: primary(not_upgraded) not in ("", before), within=60)
        lab.verb("start", before)
    not_upgraded.wait_until_whole()
    print(load.result)
    assert not load.result.lost
    assert "the previous cluster does not follow any more" in refused(BACK)
    assert let_in(not_upgraded) == (False, True)
    done(END)
    # Whoever has no memory, as after a boot, is led there too, and the one before may be gone by then.
    host = next(iter(not_upgraded.pools))
    lab.on(
        host,
        "systemctl stop escala-pg-follow; rm -f /run/escala-pg-follow/state.json; systemctl start escala-pg-follow",
    )
    eventually("it leads to this cluster", lambda: leads_to(lab, host) == primary(not_upgraded), within=30)
    with the_one_before_is_all():
        assert "would be led to a cluster that has not their data" in refused("etapa_3_postgresql.yml")
    # By hand, since the next story wants the one before to serve again.
    on_the_primary_itself(
        not_upgraded, "ALTER DATABASE app RESET escala.outside", "ALTER DATABASE app CONNECTION LIMIT 0"
    )
    on_the_primary(not_upgraded, "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner")
    on_the_old_server(lab, "ALTER DATABASE app CONNECTION LIMIT -1", "postgres")


def test_what_would_act_on_the_wrong_cluster_is_refused(not_upgraded: Cluster) -> None:
    assert "Take out the one whose database is not to be carried" in refused(
        THERE, "-e", "database_migration_source=legacy1"
    )
    for name in ("switchover.yml", "add_standby.yml", "remove_standby.yml", "upgrade_database.yml"):
        assert "The application is served outside of the cluster, by the cluster before this one" in refused(name)
    assert "a migration from" in refused("rotate_passwords.yml")
    assert let_in(not_upgraded) == (True, False)


@pytest.mark.soak(runs=1)
def test_a_run_that_is_killed_anywhere_is_ended_by_the_next_one(
    not_upgraded: Cluster, target: Target, output: Path
) -> None:
    by = chance()
    with users(target, output) as load:
        kill_at_a_task(THERE, by=by, output=output / "copy.log")
        done(THERE)
        killed_there_and_back(not_upgraded, KILLS, by, output)
    print(load.result)
    assert not load.result.lost
