"""The shells of repmgr's modules, on a host where neither repmgr nor PostgreSQL is."""

import pytest

from ansible_collections.escala.ha.plugins.modules import repmgr_cluster_info, repmgr_node

MODULES = {"repmgr_cluster_info": (repmgr_cluster_info, {}), "repmgr_node": (repmgr_node, {"name": "db1"})}


@pytest.fixture
def nothing_here(tmp_path):
    config = tmp_path / "repmgr.conf"
    config.write_text("node_id=1\nnode_name='db1'\nconninfo='host=db1'\n")
    return {"config_file": str(config), "socket_directory": str(tmp_path), "request_timeout_seconds": 1}


def test_an_observation_does_not_fail(run_module, nothing_here):
    result = run_module("repmgr_cluster_info", nothing_here)
    assert (result.get("failed", False), result["changed"], result["nodes"]) == (False, False, [])
    assert "PostgreSQL does not answer" in result["problem"]


def test_a_node_whose_server_is_down_is_not_registered(run_module, nothing_here):
    result = run_module("repmgr_node", {**nothing_here, "name": "db1"})
    assert result["failed"] is True
    assert "db1 is not registered: connection to server on socket" in result["msg"]


def test_a_configuration_that_is_missing_is_named(run_module, nothing_here):
    result = run_module("repmgr_node", {**nothing_here, "name": "db1", "config_file": "/nowhere/repmgr.conf"})
    assert "/nowhere/repmgr.conf" in result["msg"]


@pytest.mark.parametrize("name", MODULES)
def test_a_library_that_is_missing_is_named(run_module, nothing_here, monkeypatch, name):
    module, options = MODULES[name]
    monkeypatch.setattr(module, "HAS_PSYCOPG", False)
    result = run_module(name, {**nothing_here, **options})
    assert result["failed"] is True
    assert "psycopg" in result["msg"]
