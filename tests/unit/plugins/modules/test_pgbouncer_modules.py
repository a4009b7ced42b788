"""The shells of PgBouncer's modules: what becomes of a PgBouncer that is not there, and of options that cannot be meant."""

import pytest


def test_a_pooler_that_is_not_there_does_not_fail_the_observation(run_module, tmp_path):
    result = run_module("pgbouncer_info", {"socket_directory": str(tmp_path)})
    assert result.get("failed", False) is False
    assert (result["version"], result["databases"], result["pending_restart"], result["not_taken"]) == (
        None,
        [],
        [],
        [],
    )
    assert "No such file or directory" in result["problem"]


def test_a_configuration_that_is_not_there_does_not_either(run_module, tmp_path):
    result = run_module("pgbouncer_info", {"socket_directory": str(tmp_path), "configuration": str(tmp_path / "ini")})
    assert result.get("failed", False) is False
    assert str(tmp_path / "ini") in result["problem"]


def test_a_pooler_that_is_not_there_cannot_be_brought_to_anything(run_module, tmp_path):
    options = {"action": "pause", "database": "app", "socket_directory": str(tmp_path)}
    result = run_module("pgbouncer_admin", options)
    assert result["failed"] is True
    assert "is the service pgbouncer running?" in result["msg"]


@pytest.mark.parametrize("action", ["pause", "resume", "reconnect", "disable", "enable", "kill"])
def test_all_but_a_reload_are_of_one_database(run_module, action):
    result = run_module("pgbouncer_admin", {"action": action})
    assert result["failed"] is True
    assert "database" in result["msg"]
