import pytest

USER = {
    "address": "127.0.0.1",
    "port": 1,
    "root_user": "root",
    "root_password": "root password",
    "access_key": "app",
    "access_key_secret": "app secret",
    "policy_name": "application",
    "policy": {"Version": "2012-10-17", "Statement": []},
}


@pytest.fixture
def no_systemd(monkeypatch, tmp_path):
    """A machine whose systemctl knows no such service."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho ActiveState=inactive\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_a_host_without_minio_has_empty_disks_and_nothing_to_restart(run_module, no_systemd, tmp_path):
    result = run_module("minio_node_info", {"volumes": [str(tmp_path / "data")], "shared": ["/none"], "own": []})
    assert (result["changed"], result["restart"], result["restart_reason"]) == (False, "none", "it does not run")
    assert result["volumes"][str(tmp_path / "data")]["deployment"] == ""


@pytest.mark.parametrize("missing", ["access_key_secret", "policy_name", "policy"])
def test_a_user_that_is_to_be_there_needs_keys_and_a_policy(run_module, missing):
    result = run_module("minio_user", {**{key: USER[key] for key in USER if key != missing}, "ca_file": "/none"})
    assert missing in result["msg"]


def test_an_authority_that_is_not_there_is_said(run_module):
    result = run_module("minio_user", {**USER, "ca_file": "/none/ca.pem"})
    assert result["msg"].startswith("/none/ca.pem cannot be used")


def test_a_first_check_has_neither_authority_nor_server(run_module):
    result = run_module("minio_user", {**USER, "ca_file": "/none/ca.pem"}, check_mode=True)
    assert (result["changed"], result.get("failed", False)) == (True, False)


def test_nobody_there_is_a_failure_that_shows_no_secret(run_module):
    result = run_module("minio_user", {**USER, "ca_file": "/etc/ssl/certs/ca-certificates.crt"})
    assert result["msg"].startswith("user app: https://127.0.0.1:1: connection refused")
    assert "app secret" not in str(result)
    assert "root password" not in str(result)
