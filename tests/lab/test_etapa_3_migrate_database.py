"""The database goes from the old server to the cluster under load, back with what was written since, and to the cluster again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from lab.inventory import CLUSTER_LOADED, cluster_is_loaded
from tests.lab.database_migration import (
    BACK,
    SWITCH,
    THERE,
    change_places,
    done,
    for_all_ends,
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
from tests.lab.handle import playbook
from tests.lab.interrupted import chance, kill_at_a_task
from tests.lab.postgres import Cluster
from tests.lab.target import Target

# So often each way, and each time at another task.
KILLS = 5
MORE_NOTES = """INSERT INTO notes SELECT gen_random_uuid(), tenant_id, title, 'one of many', NULL, created_by, created_at, updated_at
FROM (SELECT * FROM notes LIMIT 100) AS n CROSS JOIN generate_series(1, 2000)"""

pytestmark = pytest.mark.etapa_3


def application_uses_the_poolers(use: bool) -> None:
    """Host by host, as a release comes to them: by the poolers, or past them to the old server."""
    cluster_is_loaded(use)
    done("etapa_1_load_balancer.yml", "--limit", "app_servers")


@pytest.fixture
def not_migrated(whole_cluster: Cluster, whole_platform: None) -> Iterator[Cluster]:
    """The state before: the old server serves the application, and the cluster is empty. Afterwards the cluster has it all again."""
    done("end_database_migration.yml")
    CLUSTER_LOADED.unlink(missing_ok=True)
    on_the_old_server(whole_cluster.lab, "ALTER DATABASE app CONNECTION LIMIT -1", "postgres")
    if old_server(whole_cluster.lab) in whole_cluster.lab.group("legacy_servers"):
        # With today's password, which a rotation since has not told it.
        done("../lab/playbooks/legacy1.yml")
    application_uses_the_poolers(False)
    on_the_primary(whole_cluster, "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner")
    try:
        yield whole_cluster
    finally:
        if let_in(whole_cluster) != (False, True):
            done(THERE)
            application_uses_the_poolers(True)
            done(THERE, *SWITCH)
        done("end_database_migration.yml")
        application_uses_the_poolers(True)


@pytest.mark.usefixtures("whole_platform")
def test_back_to_the_old_server_and_to_the_cluster_again_under_load(
    whole_cluster: Cluster, target: Target, output: Path
) -> None:
    """On a platform whose old server follows, as the lab's does until the first failover."""
    with users(target, output) as load:
        change_places(whole_cluster, load, [BACK, THERE], output)
    judge(whole_cluster.lab, load.result)
    done("end_database_migration.yml")
    assert let_in(whole_cluster) == (False, True)


@pytest.mark.soak_only
@pytest.mark.soak(runs=5)
def test_there_and_back_and_there_again_under_load(not_migrated: Cluster, target: Target, output: Path) -> None:
    on_the_old_server(not_migrated.lab, MORE_NOTES)
    with users(target, output) as load:
        said = done(THERE)
        assert "public.notes: " in said
        nothing_changes(THERE)
        application_uses_the_poolers(True)
        assert let_in(not_migrated) == (True, False)
        for steps in ([THERE], [BACK], [THERE]):
            change_places(not_migrated, load, steps, output)
            nothing_changes(*steps, *(SWITCH if steps == [THERE] else ()))
    judge(not_migrated.lab, load.result)
    done("end_database_migration.yml")
    assert let_in(not_migrated) == (False, True)
    for_all_ends(not_migrated, "DELETE FROM notes WHERE body = 'one of many'")


@pytest.mark.soak_only
def test_what_cannot_be_carried_or_gone_back_to_is_refused(not_migrated: Cluster) -> None:
    lab = not_migrated.lab
    on_the_old_server(
        lab,
        "CREATE TABLE keyless (a int); CREATE UNLOGGED TABLE passing (a int PRIMARY KEY); SELECT lo_from_bytea(4711, 'x')",
    )
    said = refused(THERE)
    for part in ("public.keyless without a primary key", "public.passing unlogged", "1 large objects"):
        assert part in said
    assert let_in(not_migrated) == (True, True)
    on_the_old_server(lab, "DROP TABLE keyless, passing; SELECT lo_unlink(4711)")
    on_the_primary(not_migrated, "CREATE TABLE somebody (a int)")
    assert "the cluster's database is not empty: it has public.somebody" in refused(THERE)
    on_the_primary(not_migrated, "DROP TABLE somebody")
    done(THERE)
    # The cluster's copy lets nobody write, whoever finds its address.
    with pytest.raises(SessionError, match="too many connections"):
        not_migrated.ask(primary(not_migrated), "SELECT 1")
    for other in ("add_standby.yml", "remove_standby.yml", "upgrade_database.yml"):
        assert "The application is served outside of the cluster" in refused(other)
    # The application's instances on the poolers' own hosts, who are connected to the old server itself as yet.
    assert "do not come by the pooler of their host" in refused(THERE, *SWITCH)
    application_uses_the_poolers(True)
    if old_server(lab) in lab.group("legacy_servers"):
        # The old server's own application.
        assert "do not come by a pooler, and would be shut out" in refused(THERE, *SWITCH[:2])
    on_the_old_server(lab, "ALTER TABLE notes ADD COLUMN later int")
    assert "public.notes changed their definition since they were copied" in refused(THERE, *SWITCH)
    on_the_old_server(lab, "ALTER TABLE notes DROP COLUMN later")
    done(THERE, *SWITCH)
    on_the_old_server(lab, "ALTER DATABASE app CONNECTION LIMIT -1")
    assert f"somebody has opened {old_server(lab)}'s database since it was left" in refused(BACK)
    on_the_old_server(lab, "ALTER DATABASE app CONNECTION LIMIT 0")
    done("end_database_migration.yml")
    assert "no migration is under way" in refused(BACK)


# An extension of a package of its own, which a server of any version has.
EXTENSION = "hypopg"
FILLER = "/var/lib/postgresql/filler"
ALL_BUT_500_MIB = f"fallocate -l $(( $(df --output=avail -B1 /var/lib/postgresql | tail -1) - 524288000 )) {FILLER}"


@pytest.mark.soak_only
def test_a_cluster_that_cannot_take_it_is_refused(not_migrated: Cluster) -> None:
    """Too small a disk, an extension that is missing, letters in another order: all of it is said at once, and nothing has begun."""
    lab = not_migrated.lab
    small = not_migrated.others(primary(not_migrated))[0]
    version = on_the_old_server(lab, "SELECT current_setting('server_version_num')::int / 10000")
    package = f"postgresql-{version}-{EXTENSION}"
    lab.on(old_server(lab), f"DEBIAN_FRONTEND=noninteractive apt-get -q -y install {package}")
    on_the_old_server(lab, f"CREATE EXTENSION {EXTENSION}")
    lab.on(small, ALL_BUT_500_MIB)
    empty = "CREATE DATABASE app OWNER app TEMPLATE template0"
    on_the_primary_itself(not_migrated, "DROP DATABASE app WITH (FORCE)", f"{empty} LOCALE 'C'")
    try:
        said = refused(THERE)
    finally:
        lab.on(small, f"rm {FILLER}")
        on_the_old_server(lab, f"DROP EXTENSION {EXTENSION}")
        on_the_primary_itself(not_migrated, "DROP DATABASE app WITH (FORCE)", empty)
        done("etapa_3_postgresql.yml", "--limit", "postgres_servers")
    for part in (
        f"MiB free on each node: {small} has ",
        f"lack the extensions {EXTENSION}",
        "the cluster's by C: make the cluster's anew",
    ):
        assert part in said
    assert let_in(not_migrated) == (True, True)


@pytest.mark.soak_only
def test_wal_that_is_gone_before_it_was_copied_is_told(not_migrated: Cluster) -> None:
    lab = not_migrated.lab
    done(THERE)
    on_the_primary(not_migrated, "ALTER SUBSCRIPTION escala_migration DISABLE")
    on_the_old_server(lab, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'", "postgres")
    try:
        on_the_old_server(lab, "SELECT pg_reload_conf()", "postgres")
        for _segment in range(8):
            on_the_old_server(
                lab, "SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1 << 20)), pg_switch_wal()"
            )
        slot = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'escala_migration'"
        eventually(
            "the old server has removed what was not copied",
            lambda: on_the_old_server(lab, f"CHECKPOINT; {slot}").endswith("lost"),
            within=60,
        )
        on_the_primary(not_migrated, "ALTER SUBSCRIPTION escala_migration ENABLE")
        assert "the old server has removed WAL that was not copied yet" in refused(THERE)
    finally:
        on_the_old_server(lab, "ALTER SYSTEM RESET max_slot_wal_keep_size", "postgres")
        on_the_old_server(lab, "SELECT pg_reload_conf()", "postgres")
    # By the way that it says.
    done("end_database_migration.yml")
    done(THERE)


@pytest.mark.soak_only
def test_while_the_other_end_is_behind_the_two_do_not_change_places(not_migrated: Cluster) -> None:
    lab = not_migrated.lab
    done(THERE)
    application_uses_the_poolers(True)
    done(THERE, *SWITCH)
    # Rows cannot be written, and the table can be looked at.
    held = "psql -X -d app -c 'BEGIN; LOCK TABLE notes IN EXCLUSIVE MODE; SELECT pg_sleep(300)'"
    lab.on(old_server(lab), f"systemd-run --unit=holds-notes --uid=postgres {held}")
    try:
        eventually(
            "a table is locked at the end that follows",
            lambda: (
                on_the_old_server(
                    lab, "SELECT count(*) FROM pg_locks WHERE relation = 'notes'::regclass AND mode = 'ExclusiveLock'"
                )
                != "0"
            ),
            within=30,
        )
        on_the_primary(not_migrated, MORE_NOTES)
        assert "bytes behind, 1048576 are allowed: wait until it has caught up" in refused(BACK)
        assert let_in(not_migrated) == (False, True)
    finally:
        lab.on(old_server(lab), "systemctl stop holds-notes")
    done(BACK)
    assert let_in(not_migrated) == (True, False)


@pytest.mark.soak_only
def test_connections_of_a_host_that_lost_its_power_are_in_nobodys_way(not_migrated: Cluster) -> None:
    lab = not_migrated.lab
    host, address = next(iter(not_migrated.pools.items()))
    connected = f"SELECT client_port FROM pg_stat_activity WHERE datname = 'app' AND client_addr = '{address}'"  # noqa: S608  the lab's own
    done(THERE)
    before = set(on_the_old_server(lab, connected).split())
    assert before
    lab.verb("kill", host)
    lab.verb("start", host)
    application_uses_the_poolers(True)
    assert before & set(on_the_old_server(lab, connected).split())
    done(THERE, *SWITCH)
    assert let_in(not_migrated) == (False, True)


@pytest.mark.soak_only
def test_a_failover_in_the_midst_of_the_copy_loses_nothing(not_migrated: Cluster) -> None:
    lab = not_migrated.lab
    on_the_old_server(lab, MORE_NOTES)
    copying = "SELECT count(*) > 0 FROM pg_stat_progress_copy"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(playbook, THERE)
        eventually(
            "tables are copied", lambda: on_the_old_server(lab, copying, "postgres") == "t", within=120, every=0.05
        )
        before = primary(not_migrated)
        lab.on(before, f"kill -9 {not_migrated.postmaster(before)}")
        print(first.result().stdout[-1500:])
    eventually("another node is primary", lambda: primary(not_migrated) not in ("", before), within=60)
    said = done(THERE)
    rows = on_the_old_server(lab, "SELECT count(*) FROM notes")
    assert f"public.notes: {rows} rows, the same" in said
    assert on_the_primary(not_migrated, "SELECT count(*) FROM notes") == rows
    application_uses_the_poolers(True)
    done(THERE, *SWITCH)
    done("end_database_migration.yml")
    for_all_ends(not_migrated, "DELETE FROM notes WHERE body = 'one of many'")


@pytest.mark.soak_only
@pytest.mark.soak(runs=1)
def test_a_run_that_is_killed_anywhere_is_ended_by_the_next_one(
    not_migrated: Cluster, target: Target, output: Path
) -> None:
    """Of a run that is killed clients may see errors, since what it had them wait for does not come; nothing acknowledged is lost by it."""
    by = chance()
    with users(target, output) as load:
        kill_at_a_task(THERE, by=by, output=output / "copy.log")
        done(THERE)
        application_uses_the_poolers(True)
        killed_there_and_back(not_migrated, KILLS, by, output)
        done(THERE, *SWITCH)
    print(load.result)
    assert not load.result.lost
    done("end_database_migration.yml")
