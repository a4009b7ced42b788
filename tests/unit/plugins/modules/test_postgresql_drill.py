import json

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_drill_run
from ansible_collections.escala.ha.plugins.module_utils._pg_state import NodeState, Promise
from ansible_collections.escala.ha.plugins.modules import pg_guard_degrade

WHERE = {"pool_address": "192.0.2.21", "nodes": {"db1": "192.0.2.31"}, "password": "x", "ca_file": "/ca.pem"}


def drill(folder, **options):
    return {"directory": str(folder), **WHERE, **options}


def test_a_mark_is_noted(run_module, tmp_path):
    result = run_module("postgresql_failover_drill", drill(tmp_path, state="marked", what="db1 killed"))
    assert (result["changed"], result["msg"]) == (False, "noted: db1 killed")


def test_a_drill_that_measured_nothing_says_so_in_one_line(run_module, tmp_path):
    result = run_module("postgresql_failover_drill", drill(tmp_path, state="concluded"))
    assert result["msg"].startswith("The drill measured nothing: no fault is noted in ")


@pytest.mark.parametrize(("fail", "failed"), [(True, True), (False, False)])
def test_a_missed_limit_fails_the_task_unless_it_is_only_to_be_known(run_module, tmp_path, monkeypatch, fail, failed):
    verdict = _pg_drill_run.rejoined({"db1": "away"}, 60)
    concluded = {"report": {"rto_seconds": 4}, "verdicts": [verdict], "lines": [], "files": {}}
    monkeypatch.setattr(_pg_drill_run, "conclude", lambda *_: concluded)
    result = run_module("postgresql_failover_drill", drill(tmp_path, state="concluded", fail=fail))
    assert (result.get("failed", False), result["passed"], result["report"]["rto_seconds"]) == (failed, False, 4)
    assert "db1: away" in result["msg"]


def test_a_ledger_that_reaches_no_pool_says_so_in_one_line(run_module, tmp_path):
    options = {**drill(tmp_path, seconds=1), "pool_address": "127.0.0.1", "pool_port": 1}
    result = run_module("postgresql_ledger", options)
    assert result["msg"].startswith("Nothing was measured, since the pool leads to no writer: ")


def test_a_fault_in_check_mode_is_only_said(run_module):
    result = run_module("postgresql_fault", {"fault": "postmaster_killed", "unit": "none.service"}, check_mode=True)
    assert (result["changed"], result["what"]) == (True, "kill -9 of the postmaster")
    assert result["commands"] == [["systemctl", "kill", "--signal=KILL", "--kill-whom=main", "none.service"]]


def test_a_fault_that_cannot_be_put_in_force_breaks_nothing(run_module):
    result = run_module("postgresql_fault", {"fault": "frozen", "unit": "none.service"})
    assert result["msg"] == "Nothing was broken: none.service does not run here, so there is nothing to freeze"


def test_the_operators_own_command_is_run_where_there_is_no_systemd(run_module, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    options = {"fault": "host_power_off", "power_off_command": ["/bin/mkdir", str(tmp_path / "db1-off")]}
    result = run_module("postgresql_fault", options)
    assert result["commands"] == [options["power_off_command"]]
    assert (tmp_path / "db1-off").is_dir()


def test_a_pooler_in_check_mode_has_nobody_wait(run_module):
    result = run_module("pgbouncer_hold", {"target_address": "192.0.2.32"}, check_mode=True)
    assert (result["changed"], result["held_seconds"], result["moved"]) == (True, None, False)


def test_a_pooler_that_does_not_run_is_one_line(run_module, tmp_path):
    result = run_module("pgbouncer_hold", {"target_address": "192.0.2.32", "socket_directory": str(tmp_path)})
    assert result["failed"]
    assert "\n" not in result["msg"]


def test_a_switchover_in_check_mode_says_who_would_take_over(run_module):
    standby = {"name": "db2", "address": "192.0.2.32", "reachable": True, "in_recovery": True, "lsn": 1, "lag_bytes": 0}
    streams = [{"name": "db2", "state": "streaming", "sync_state": "quorum"}]
    primary = {**standby, "name": "db1", "in_recovery": False, "standbys": streams}
    options = {"state": "ready", "primary": "db1", "nodes": [primary, standby]}
    result = run_module("postgresql_switchover", options, check_mode=True)
    assert (result["changed"], result["target"], result["target_address"]) == (False, "db2", "192.0.2.32")


def test_a_switchover_without_a_primary_says_why(run_module):
    options = {"state": "ready", "reason": "two nodes claim timeline 4"}
    result = run_module("postgresql_switchover", options, check_mode=True)
    assert result["msg"].startswith("Nothing was handed over: there is no primary to switch from: two nodes claim")


def test_a_node_without_a_guard_degrades_nothing(run_module):
    result = run_module("pg_guard_degrade", {"without": ["db2"]})
    assert result["failed"]


@pytest.fixture
def guard(tmp_path, monkeypatch):
    """Put a program in the guard's place that has this state, and return what it was asked beside that."""

    def says(state, primary, answer="goes on", code=0):
        program, asked = tmp_path / "escala-pg-guard", tmp_path / "asked"
        status = json.dumps({**state.to_json(), "primary": primary})
        program.write_text(
            f"#!/bin/sh\nif [ $1 = status ]; then echo '{status}'; exit 0; fi\necho $* >> {asked}\necho '{answer}'\nexit {code}\n"
        )
        program.chmod(0o755)
        monkeypatch.setattr(pg_guard_degrade, "PROGRAM", str(program))
        return lambda: asked.read_text().splitlines() if asked.exists() else []

    return says


STANDBY = NodeState("db2", "standby", timeline=3, joined=True)


@pytest.mark.parametrize("accept_loss", [False, True])
@pytest.mark.parametrize("check_mode", [False, True])
def test_a_standby_that_hears_the_primary_leaves_it_to_that_one(run_module, guard, accept_loss, check_mode):
    asked = guard(STANDBY, "db1")
    result = run_module("pg_guard_degrade", {"without": ["db3"], "accept_loss": accept_loss}, check_mode)
    assert (result.get("failed", False), result["changed"]) == (False, False)
    assert result["msg"] == "db1 is the primary, so this is for it to do; nothing is done on db2"
    assert asked() == []


def test_the_primary_takes_them_out_itself(run_module, guard):
    asked = guard(STANDBY._replace(role="primary", writable=True), "db2")
    result = run_module("pg_guard_degrade", {"without": ["db3"]})
    assert (result["changed"], result["msg"], asked()) == (True, "goes on", ["degrade --without db3"])


def test_a_primary_that_is_to_be_taken_out_and_lives_is_refused_on_every_other(run_module, guard):
    asked = guard(STANDBY, "db1")
    result = run_module("pg_guard_degrade", {"without": ["db1", "db3"], "accept_loss": True})
    assert result["failed"]
    assert result["msg"].startswith("Nothing was changed: db1 is heard")
    assert asked() == []


@pytest.mark.parametrize(("promise", "failed"), [(Promise(3, "db2"), False), (Promise(3, "db1"), True)])
def test_without_a_primary_the_last_one_goes_on_and_another_only_by_an_operators_word(
    run_module, guard, promise, failed
):
    asked = guard(STANDBY._replace(promise=promise), None)
    result = run_module("pg_guard_degrade", {"without": ["db1", "db3"]})
    assert result.get("failed", False) == failed
    assert bool(asked()) != failed
    accepted = run_module("pg_guard_degrade", {"without": ["db1", "db3"], "accept_loss": True})
    assert (accepted["changed"], asked()[-1]) == (True, "degrade --without db1 db3")


def test_what_the_guard_refuses_is_said(run_module, guard):
    guard(STANDBY._replace(promise=Promise(3, "db2")), None, "db1 is the primary: ask on db1", code=1)
    result = run_module("pg_guard_degrade", {"without": ["db3"]})
    assert result["msg"] == "The guard refused: db1 is the primary: ask on db1"
