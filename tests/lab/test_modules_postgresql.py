"""The modules that look at the database cluster say what is so, from the controller and from a node, and name what is not well.

`pgbouncer_admin` is tried on a pooler that applications use, which afterwards lets everybody in and on as before, whatever came of it.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import ROOT
from tests.lab.postgres import INVENTORY, Cluster, Refused

ON_A_NODE = {
    "passfile": "/etc/escala/postgresql.pgpass",
    "ca_file": "/etc/ssl/escala/ca.pem",
    "guard_certificate_file": "/etc/ssl/escala/postgresql.crt",
    "guard_key_file": "/etc/ssl/escala/postgresql.key",
}

POOLER = "app1"
# An account that neither PgBouncer nor anybody else runs as.
STRANGER = ("--become", "--become-user=nobody")

pytestmark = pytest.mark.etapa_3


@pytest.fixture(name="whole")
def _whole(cluster: Cluster) -> Cluster:
    """Nothing here breaks a host, so that it is enough to begin with a cluster that is whole."""
    cluster.wait_until_whole()
    return cluster


def module(host: str, name: str, options: dict[str, Any], *words: str) -> dict[str, Any]:
    """Run one module on a host, as Ansible does, and return its result, failed or not."""
    command = [str(Path(sys.executable).parent / "ansible"), host, *words]
    done = subprocess.run(
        [*command, "--module-name", f"escala.ha.{name}", "--args", json.dumps(options)],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert " => " in done.stdout, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout.partition(" => ")[2])
    # What is printed leaves it out.
    return {"failed": done.returncode != 0} | result


def from_here(cluster: Cluster) -> dict[str, Any]:
    """The options with which this machine asks the servers."""
    return {
        "nodes": cluster.nodes,
        "passfile": str(INVENTORY / ".state/postgresql.pgpass"),
        "ca_file": str(cluster.ca_file),
    }


def check(cluster: Cluster, *words: str, **options: Any) -> dict[str, Any]:
    """The verdicts of the check by name, taken from here."""
    limits = {"timeout_seconds": 5, "fail": False, **options}
    result = module("localhost", "postgresql_replication_check", from_here(cluster) | limits, *words)
    assert result["changed"] is False
    return {verdict["name"]: verdict for verdict in result["verdicts"]}


def failed(verdicts: dict[str, Any]) -> set[str]:
    return {name for name, verdict in verdicts.items() if not verdict["passed"]}


@contextmanager
def done(cluster: Cluster, node: str, statement: str, undone: str, database: str = "postgres") -> Iterator[None]:
    """Have a statement in force on a node for a while, as its superuser."""

    def run(words: str) -> None:
        cluster.lab.on(node, f"cd / && psql --username=escala_guard --dbname={database} --command={shlex.quote(words)}")

    run(statement)
    try:
        yield
    finally:
        run(undone)


def tokens(cluster: Cluster) -> int:
    [[count]] = cluster.ask(cluster.primary(), "SELECT count(*) FROM escala_monitor.token")
    return int(count or 0)


def test_the_observation_names_the_primary_and_every_stream(whole: Cluster) -> None:
    primary = whole.primary()
    result = module("localhost", "postgresql_replication_info", from_here(whole))
    assert (result["primary"], result["claimants"], result["changed"]) == (primary, [primary], False)
    nodes = {node["name"]: node for node in result["nodes"]}
    assert all(node["reachable"] and node["tls"]["version"] == "TLSv1.3" for node in nodes.values())
    assert {name: nodes[name]["upstream"] for name in nodes if name != primary} == dict.fromkeys(
        whole.others(primary), primary
    )
    assert len({node["system_identifier"] for node in nodes.values()}) == 1


def test_a_node_that_does_not_answer_is_an_observation(whole: Cluster) -> None:
    nodes = {**whole.nodes, "db9": "10.77.0.99"}
    result = module(
        "localhost",
        "postgresql_replication_info",
        from_here(whole) | {"nodes": nodes, "request_timeout_seconds": 1},
    )
    assert [(node["name"], node["reachable"]) for node in result["nodes"]][-1] == ("db9", False)
    assert result["primary"] == whole.primary()


def test_a_token_goes_through_a_whole_and_in_check_mode_none_is_written(whole: Cluster) -> None:
    verdicts = check(whole)
    assert failed(verdicts) == set()
    before = tokens(whole)
    verdicts = check(whole, "--check")
    assert failed(verdicts) == set()
    assert "no token was written" in verdicts["postgresql_token_arrives"]["reason"]
    assert tokens(whole) == before
    check(whole)
    assert tokens(whole) == before + 1


def test_the_guards_are_asked_from_a_node(whole: Cluster) -> None:
    node = whole.others(whole.primary())[0]
    result = module(node, "postgresql_replication_check", {"nodes": whole.nodes, **ON_A_NODE}, "--become")
    assert result["passed"], result["msg"]
    assert "postgresql_guards_agree" in [verdict["name"] for verdict in result["verdicts"]]


def test_a_standby_that_does_not_replay_is_named(whole: Cluster) -> None:
    standby = whole.others(whole.primary())[-1]
    with done(whole, standby, "SELECT pg_wal_replay_pause()", "SELECT pg_wal_replay_resume()"):
        verdicts = check(whole, timeout_seconds=0, request_timeout_seconds=1)
    assert failed(verdicts) == {"postgresql_standbys_stream", "postgresql_token_arrives"}
    assert f"{standby} has paused its replay" in verdicts["postgresql_standbys_stream"]["reason"]
    assert f"{standby} has replayed" in verdicts["postgresql_token_arrives"]["reason"]


def test_wrong_words_are_said_node_by_node(whole: Cluster) -> None:
    wrong = {"password": "not this one", "passfile": None, "timeout_seconds": 0}
    verdicts = check(whole, **wrong)
    for node in whole.nodes:
        reason = verdicts["postgresql_nodes_answer"]["reason"]
        assert f'{node} does not answer: FATAL: password authentication failed for user "escala_monitor"' in reason
    swapped = dict(zip(whole.nodes, reversed(whole.nodes.values()), strict=True))
    reason = check(whole, nodes=swapped, timeout_seconds=0)["postgresql_nodes_answer"]["reason"]
    assert "does not match host name" in reason


def catalogue(cluster: Cluster, node: str) -> dict[str, Any]:
    return module(node, "repmgr_cluster_info", {"nodes": cluster.nodes}, "--become")


def test_the_catalogue_is_right_and_registering_again_changes_nothing(whole: Cluster) -> None:
    def right() -> bool:
        # After a failover the guard brings it up to date in the background.
        found = catalogue(whole, whole.primary())
        assert (found["problem"], found["differences"]) == (None, [])
        return True

    eventually("repmgr's catalogue is as the cluster is", right, within=60)
    for node in whole.nodes:
        result = module(node, "repmgr_node", {"name": node}, "--become")
        assert (result["changed"], result["command"]) == (False, [])


def test_a_catalogue_that_is_wrong_is_named_and_put_right(whole: Cluster) -> None:
    primary = whole.primary()
    wrong, other = whole.others(primary)
    spoil = f"UPDATE repmgr.nodes n SET upstream_node_id = o.node_id FROM repmgr.nodes o WHERE (n.node_name, o.node_name) = ('{wrong}', '{other}')"  # noqa: S608  names of our own
    with done(whole, primary, spoil, "SELECT", "repmgr"):
        difference = f"repmgr has {other} as upstream of {wrong}, and it streams from {primary}"
        assert difference in catalogue(whole, primary)["differences"]
        checked = module(wrong, "repmgr_node", {"name": wrong}, "--become", "--check")
        assert checked["changed"] is True
        assert difference in catalogue(whole, primary)["differences"]
        mended = module(wrong, "repmgr_node", {"name": wrong}, "--become")
        assert (mended["changed"], mended["record"]["upstream"]) == (True, primary)
    assert catalogue(whole, primary)["differences"] == []


def test_a_node_that_is_gone_for_ever_is_forgotten_from_another(whole: Cluster) -> None:
    primary = whole.primary()
    ghost = """INSERT INTO repmgr.nodes (node_id, upstream_node_id, active, node_name, type, conninfo, repluser, config_file)
        SELECT 99, node_id, true, 'gone', 'standby', 'host=10.77.0.99 connect_timeout=2 dbname=repmgr', repluser, config_file
        FROM repmgr.nodes WHERE type = 'primary'"""
    with done(whole, primary, ghost, "DELETE FROM repmgr.nodes WHERE node_id = 99", "repmgr"):
        differences = catalogue(whole, primary)["differences"]
        assert {"gone is registered and no data node", "repmgr has gone as active, and it does not answer"} <= set(
            differences
        )
        forget = {"name": "gone", "state": "unregistered"}
        assert module(primary, "repmgr_node", forget, "--become")["changed"] is True
        assert module(primary, "repmgr_node", forget, "--become")["changed"] is False
    assert catalogue(whole, primary)["differences"] == []


def admin(action: str, *words: str, **options: Any) -> dict[str, Any]:
    """What pgbouncer_admin returns on the pooler's host, for the database `app` unless another is named."""
    asked = {"action": action, "database": "app", "timeout_seconds": 3} | options
    return module(POOLER, "pgbouncer_admin", asked, *(words or ("--become",)))


def flags(cluster: Cluster) -> dict[str | None, tuple[str | None, str | None]]:
    """Of each database of the pooler whether it is paused, and whether it is disabled."""
    return {row["name"]: (row["paused"], row["disabled"]) for row in cluster.ask_pooler(POOLER, "SHOW DATABASES")}


@pytest.fixture
def pooler(whole: Cluster) -> Iterator[Cluster]:
    """No client of it waits or is refused before the test, and none does after it."""
    before = flags(whole)
    assert set(before.values()) == {("0", "0")}, f"somebody else is at work: {before}"
    yield whole
    for name, (paused, disabled) in flags(whole).items():
        if paused != "0":
            whole.ask_pooler(POOLER, f"RESUME {name}")
        if disabled != "0":
            whole.ask_pooler(POOLER, f"ENABLE {name}")
    assert flags(whole) == before


@contextmanager
def client(cluster: Cluster) -> Iterator[Callable[[], str | None]]:
    """A session through the pooler, and the process on the server that answers it within 2 s; one that does not raises Refused."""
    session = cluster.connect(POOLER, "escala_probe")(2)

    def server() -> str | None:
        [[process]] = session.execute("SELECT pg_backend_pid()", limit_seconds=2).rows
        return process

    try:
        yield server
    finally:
        session.close()


def once(action: str, cluster: Cluster, is_so: tuple[str, str]) -> None:
    """In check mode it is only said, then it is done and seen, and the second time there is nothing left to do."""
    before = flags(cluster)["app"]
    checked = admin(action, "--become", "--check")
    assert (checked["changed"], flags(cluster)["app"]) == (True, before)
    done_now = admin(action)
    assert (done_now["changed"], flags(cluster)["app"]) == (True, is_so)
    assert (str(int(done_now["database"]["paused"])), str(int(done_now["database"]["disabled"]))) == is_so
    again = admin(action)
    assert (again["changed"], flags(cluster)["app"], again["database"]["name"]) == (False, is_so, "app")
    assert admin(action, "--become", "--check")["changed"] is False


def test_clients_of_a_paused_database_wait_and_go_on_when_it_is_resumed(pooler: Cluster) -> None:
    with client(pooler) as waiting, client(pooler) as served:
        once("pause", pooler, ("1", "0"))
        with pytest.raises(Refused, match="no answer within the limit"):
            waiting()
        # Those of the other database are not asked to wait.
        assert flags(pooler)["app_ro"] == ("0", "0")
        once("resume", pooler, ("0", "0"))
        assert served()


def test_a_pause_is_undone_where_a_transaction_does_not_end_in_time(pooler: Cluster) -> None:
    session = pooler.connect(POOLER, "escala_probe")(2)
    try:
        session.execute("BEGIN", limit_seconds=2)
        result = admin("pause", timeout_seconds=1)
        assert result["failed"]
        assert "app still has 1 transactions under way after 1 s" in result["msg"]
        assert "as escala_probe): it goes on as before" in result["msg"]
        assert flags(pooler)["app"] == ("0", "0")
        session.execute("COMMIT", limit_seconds=2)
    finally:
        session.close()
    assert admin("pause")["changed"]


def test_a_disabled_database_takes_no_new_client_until_it_is_enabled(pooler: Cluster) -> None:
    with client(pooler) as known:
        once("disable", pooler, ("0", "1"))
        assert known()
        with pytest.raises(Refused, match="disabled"), client(pooler):
            pass
        once("enable", pooler, ("0", "0"))
    with client(pooler) as new:
        assert new()


def test_killed_connections_are_gone_and_clients_wait_until_it_is_resumed(pooler: Cluster) -> None:
    with client(pooler) as broken:
        assert broken()
        once("kill", pooler, ("1", "0"))
        with pytest.raises(Refused):
            broken()
    once("resume", pooler, ("0", "0"))
    with client(pooler) as new:
        assert new()


def test_after_a_reconnect_no_client_has_the_connection_that_it_had(pooler: Cluster) -> None:
    with client(pooler) as asking:
        before = asking()
        checked = admin("reconnect", "--become", "--check")
        assert (checked["changed"], asking()) == (True, before)
        assert admin("reconnect")["changed"]
        assert asking() != before
        # Without connections there is nothing to be done.
        assert admin("pause")["changed"]
        assert admin("reconnect")["changed"] is False


def test_a_reload_is_one_each_time_and_none_in_check_mode(pooler: Cluster) -> None:
    [[since]] = pooler.ask(pooler.primary(), "SELECT extract(epoch FROM now())")
    said = f"journalctl --unit=pgbouncer --since=@{since} --output=cat --grep='RELOAD command issued' | wc -l"
    # Its follower has it reload too, when the route changes, which in a cluster that is whole it does not.
    for words, count in ((("--become", "--check"), 0), (("--become",), 1), (("--become",), 2)):
        result = admin("reload", *words, database=None)
        assert (result["changed"], result["database"]) == (True, None)
        assert int(pooler.lab.on(POOLER, said)) == count


@pytest.mark.parametrize(
    ("options", "words", "complaint"),
    [
        ({"database": "orders"}, ("--become",), "PgBouncer has no database orders; there are app, app_ro"),
        ({"database": ""}, ("--become",), "no database is named; there are app, app_ro"),
        ({"port": 6431}, ("--become",), "is the service pgbouncer running?"),
        ({}, STRANGER, "run this as root (become), or as the account that PgBouncer runs as"),
    ],
    ids=["no such database", "no database", "wrong port", "wrong account"],
)
def test_what_cannot_be_done_is_said_in_one_line_and_nothing_is(
    pooler: Cluster, options: dict[str, Any], words: tuple[str, ...], complaint: str
) -> None:
    before = flags(pooler)
    for action in ("pause", "kill"):
        result = admin(action, *words, **options)
        assert result["failed"]
        assert complaint in result["msg"]
        assert "\n" not in result["msg"]
        assert "Traceback" not in result["msg"]
    assert flags(pooler) == before
