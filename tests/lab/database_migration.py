"""The database's way from an old server or an older cluster to this one and back, as a story takes it."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from tests.lab.eventually import widened
from tests.lab.handle import Lab, playbook
from tests.lab.interrupted import kill_at_a_task
from tests.lab.load import BESIDE_A_RUN, Load, Result, UsersLoad, running_load
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster
from tests.lab.target import Target

STALL_SECONDS = 10.0
WRITES_PER_SECOND = 20
# The old server's own application is there, and would be shut out.
SWITCH = ("-e", "migrate_database_switch=true", "-e", "migrate_database_clients_may_end=true")
THERE, BACK = "migrate_database.yml", "rollback_database.yml"
# Of the way back, of which a check names one more.
BACK_TASKS = 30


def old_server(lab: Lab) -> str:
    """The customer's one server, where the topology has it the older one for the database alone, or the primary of the cluster before this one, if there is
    one just now.
    """
    nodes = lab.group("previous_postgres_servers")
    if nodes:
        return next((node for node in nodes if guard_says(lab, node).get("role") == "primary"), "")
    return (lab.group("old_database_servers") or lab.group("legacy_servers"))[0]


def guard_says(lab: Lab, node: str) -> dict[str, Any]:
    """Nothing where no guard answers. Unlike the database it can be asked of either cluster, whoever serves."""
    said: dict[str, Any] = json.loads(lab.on(node, "escala-pg-guard status --json", check=False) or "{}")
    return said


def _upgraded(lab: Lab) -> bool:
    return bool(lab.group("previous_postgres_servers"))


def on_the_old_server(lab: Lab, statement: str, database: str = "app") -> str:
    psql = f"psql --no-psqlrc -X -At -v ON_ERROR_STOP=1 -d {database} -c {shlex.quote(statement)}"
    return lab.on(old_server(lab), f"su postgres -c {shlex.quote(psql)}").strip()


def for_all_ends(cluster: Cluster, statement: str) -> None:
    on_the_old_server(cluster.lab, statement)
    on_the_primary(cluster, statement)


def on_the_primary_itself(cluster: Cluster, *statements: str) -> None:
    """Beside the database that is migrated."""
    said = " ".join(f"-c {shlex.quote(statement)}" for statement in statements)
    cluster.lab.on(
        primary(cluster), f"psql -X -v ON_ERROR_STOP=1 -h /run/postgresql -U escala_guard -d postgres {said}"
    )


def primary(cluster: Cluster) -> str:
    """Whoever is it just now, by what the guards say: the database itself lets nobody in whom the stories ask by."""
    return next(
        (node for node, said in cluster.guards().items() if json.loads(said or "{}").get("role") == "primary"), ""
    )


def on_the_primary(cluster: Cluster, statement: str) -> str:
    psql = f"psql --no-psqlrc -X -At -v ON_ERROR_STOP=1 -h /run/postgresql -U escala_guard -d app -c {shlex.quote(statement)}"
    return cluster.lab.on(primary(cluster), psql).strip()


def done(name: str, *arguments: str) -> str:
    found = playbook(name, *arguments)
    assert found.returncode == 0, found.stdout[-3000:]
    return found.stdout


def refused(name: str, *arguments: str) -> str:
    found = playbook(name, *arguments)
    assert found.returncode != 0, found.stdout[-3000:]
    return " ".join(found.stdout.split())


def nothing_changes(name: str, *arguments: str) -> None:
    """A run again of what is done."""
    again = done(name, *arguments).rpartition("PLAY RECAP")[2]
    assert again.count("changed=0") == again.count("changed="), again


def let_in(cluster: Cluster) -> tuple[bool, bool]:
    """Whether the old server and the cluster let the application in."""
    limit = "SELECT datconnlimit <> 0 FROM pg_database WHERE datname = 'app'"
    return on_the_old_server(cluster.lab, limit) == "t", on_the_primary(cluster, limit) == "t"


def users(target: Target, output: Path) -> contextlib.AbstractContextManager[Load]:
    return running_load(
        target,
        requests=100,
        rate=BESIDE_A_RUN,
        writes_per_second=WRITES_PER_SECOND,
        save_to=output / "load.json",
        kind=UsersLoad,
    )


def stall(load: Load, since: float) -> float:
    """The longest time without an acknowledged write since then."""
    moments = [since, *(at for at in load.result.acknowledged_at if at > since)]
    return max((after - before for before, after in pairwise(moments)), default=time.monotonic() - since)


def change_places(cluster: Cluster, load: Load, steps: Iterable[str], output: Path) -> None:
    """One playbook after the other, and how long no write was acknowledged by each."""
    for number, name in enumerate(steps):
        back = name == BACK
        arguments = () if back else SWITCH
        asked = time.monotonic()
        said = done(name, *arguments)
        (output / f"{number}.log").write_text(said)
        assert let_in(cluster) == ((True, False) if back else (False, True))
        stalls = stall(load, asked)
        place = "previous cluster" if _upgraded(cluster.lab) else "old server"
        name = "major_upgrade_stall" if _upgraded(cluster.lab) else "migration_stall"
        what = f"the database {f'back to the {place}' if back else 'to the cluster'}, under load: no write acknowledged for"
        if _upgraded(cluster.lab) and not back:
            what = "the database to the cluster of a newer version, under load: no write acknowledged for"
        record(f"{name}_back" if back else name, stalls, "s", STALL_SECONDS, what=what, of=MANAGER)
        assert stalls <= widened(STALL_SECONDS)


def judge(lab: Lab, result: Result) -> None:
    print(result)
    name = "major_upgrade" if _upgraded(lab) else "migration"
    what = f"the database to the cluster{' of a newer version' if _upgraded(lab) else ''} or back, under load"
    record(f"{name}_failed", len(result.failures), "requests", 0, what=f"{what}: requests that failed", of=MANAGER)
    record(f"{name}_lost", len(result.lost), "writes", 0, what=f"{what}: acknowledged writes lost", of=MANAGER)
    assert not result.refused
    result.assert_unharmed()


def killed_there_and_back(cluster: Cluster, times: int, by: Random, output: Path) -> None:
    """Each run killed at a task of chance, and the next one brings it to its end: never do both let the application in."""
    for number in range(times):
        kill_at_a_task(THERE, *SWITCH, by=by, output=output / f"there-{number}.log")
        assert let_in(cluster).count(True) <= 1
        done(THERE, *SWITCH)
        assert let_in(cluster) == (False, True)
        kill_at_a_task(BACK, by=by, output=output / f"back-{number}.log", among=BACK_TASKS)
        assert let_in(cluster).count(True) <= 1
        done(BACK)
        assert let_in(cluster) == (True, False)
