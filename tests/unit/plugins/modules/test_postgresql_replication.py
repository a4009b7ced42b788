"""The shells of the modules that look at a database cluster: what they hand on where nobody answers."""

import socket

import pytest

from ansible_collections.escala.ha.plugins.modules import postgresql_replication_check, postgresql_replication_info

MODULES = {
    "postgresql_replication_check": postgresql_replication_check,
    "postgresql_replication_info": postgresql_replication_info,
}


@pytest.fixture
def nobody(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    authority = tmp_path / "ca.pem"
    authority.write_text("")
    place = {"nodes": {"db1": "127.0.0.1", "db2": "127.0.0.1"}, "port": port, "guard_port": port}
    return {**place, "password": "nobody may read this", "ca_file": str(authority), "request_timeout_seconds": 1}


def test_an_observation_does_not_fail(run_module, nobody):
    result = run_module("postgresql_replication_info", nobody)
    assert (result.get("failed", False), result["changed"], result["primary"]) == (False, False, None)
    assert [node["reachable"] for node in result["nodes"]] == [False, False]
    assert all(node["problem"] for node in result["nodes"])


def test_a_check_fails_with_every_reason(run_module, nobody):
    result = run_module("postgresql_replication_check", {**nobody, "timeout_seconds": 0})
    assert result["failed"] is True
    assert "db1 does not answer" in result["msg"]
    assert [verdict["passed"] for verdict in result["verdicts"]] == [False] * 9
    assert "nobody may read this" not in str(result["verdicts"])


def test_the_guards_are_judged_where_there_is_a_certificate_to_ask_with(run_module, nobody):
    files = {"guard_certificate_file": "/nowhere.crt", "guard_key_file": "/nowhere.key"}
    result = run_module("postgresql_replication_check", {**nobody, **files, "timeout_seconds": 0, "fail": False}, True)
    assert result.get("failed", False) is False
    assert [verdict["name"] for verdict in result["verdicts"]][-3:] == [
        "postgresql_guards_agree",
        "postgresql_certificates",
        "postgresql_token_arrives",
    ]


@pytest.mark.parametrize("name", MODULES)
def test_a_library_that_is_missing_is_named(run_module, nobody, monkeypatch, name):
    monkeypatch.setattr(MODULES[name], "HAS_PSYCOPG", False)
    result = run_module(name, nobody)
    assert result["failed"] is True
    assert "psycopg" in result["msg"]
