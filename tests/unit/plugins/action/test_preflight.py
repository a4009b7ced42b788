"""What the controller adds to the preflight's modules: its clock, and what ansible-vault has encrypted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible.playbook.task import Task
from ansible.plugins.action import ActionBase

from ansible_collections.escala.ha.plugins.action import preflight_check, preflight_info


@pytest.fixture
def run_action(monkeypatch):
    """Run an action with options; what its module would be given is kept in `asked`, and `answer` is what it says."""

    def run(module, options, answer, loader=None):
        asked = {}

        def execute(_self, module_args=None, **_more):
            asked.update(module_args or {})
            return dict(answer)

        monkeypatch.setattr(ActionBase, "_execute_module", execute)
        task = Task()
        task.args = options
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="unused"))
        action = module.ActionModule(task, connection, None, loader or DataLoader(), None, None)
        return action.run(task_vars={}), asked

    return run


def test_the_controller_s_clock_is_put_around_the_host_s(run_action):
    result, _asked = run_action(preflight_info, {}, {"clock": {"begun": 1, "ended": 2}})
    assert result["clock"]["asked_at"] <= result["clock"]["answered_at"]


def test_a_host_that_did_not_answer_has_no_clock(run_action):
    result, _asked = run_action(preflight_info, {}, {"unreachable": True, "msg": "timed out"})
    assert "clock" not in result


def hosts_with_key(path):
    return {"hosts": {"lb1": {"values": {"edge_certificate_key_file": str(path)}}, "app1": {}}}


def test_a_key_that_is_encrypted_is_opened_for_the_module_and_forgotten(run_action, tmp_path):
    secret = VaultSecret(b"password")
    key = tmp_path / "edge.key"
    key.write_bytes(VaultLib([("default", secret)]).encrypt(b"the key", secret))
    loader = DataLoader()
    loader.set_vault_secrets([("default", secret)])
    read = {}
    get_real_file = loader.get_real_file

    def remember(path):
        where = get_real_file(path)
        read[path] = Path(where).read_text()
        return where

    loader.get_real_file = remember
    _result, asked = run_action(preflight_check, hosts_with_key(key), {}, loader)
    assert read == {str(key): "the key"}
    where = asked["opened"][str(key)]
    assert where != str(key)
    assert not Path(where).exists()


@pytest.mark.parametrize("exists", [True, False])
def test_a_key_that_cannot_be_opened_is_left_to_the_module(run_action, tmp_path, exists):
    key = tmp_path / "edge.key"
    if exists:
        key.write_text("$ANSIBLE_VAULT;1.1;AES256\n3132\n")
    _result, asked = run_action(preflight_check, hosts_with_key(key), {})
    assert asked["opened"] == {str(key): str(key)}
