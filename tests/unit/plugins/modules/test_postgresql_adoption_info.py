import json

import pytest

from tests.unit.plugins.module_utils.test_postgresql_adoption import SEEN

OPTIONS = {
    "version": 17,
    "port": 5432,
    "data_directory": "/var/lib/postgresql/17/main",
    "configuration_file": "/etc/postgresql/17/main/postgresql.conf",
    "owners": {"app": "app"},
    "accounts": [{"name": "app", "password": "k0wn-secret", "databases": ["app"], "addresses": ["192.0.2.21"]}],
    "settings": {"max_connections": 200, "ssl": True, "timezone": "Etc/UTC"},
}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """What a server would answer, by a program in the way of the one that asks it as its own user."""
    answer = tmp_path / "answer"
    program = tmp_path / "setpriv"
    program.write_text(
        f"#!/bin/sh\n[ -f {answer} ] || {{ echo nobody listens >&2; exit 2; }}\n"
        f'case "$*" in *relpersistence*app*|*app*relpersistence*) exec cat {tmp_path}/unlogged;; *relpersistence*) echo "[]";;'
        f" *) exec cat {answer};; esac\n"
    )
    (tmp_path / "unlogged").write_text("[]")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return answer


def test_a_server_that_fits_is_not_refused(run_module, server):
    server.write_text(json.dumps(SEEN))
    result = run_module("postgresql_adoption_info", OPTIONS)
    assert (result["changed"], result["refusals"], result["notes"]) == (False, [], [])


def test_one_that_does_not_fit_is_told_why_and_a_password_is_not_shown(run_module, server):
    server.write_text(json.dumps({**SEEN, "slots": ["a"], "logins": ["report"]}))
    result = run_module("postgresql_adoption_info", OPTIONS)
    assert len(result["refusals"]) == len(result["notes"]) == 1
    assert "k0wn-secret" not in json.dumps(result)


def test_one_that_does_not_answer_is_told(run_module, server):
    result = run_module("postgresql_adoption_info", OPTIONS)
    [said] = result["refusals"]
    assert "port 5432: nobody listens. Start it" in said


def test_what_a_standby_never_has_is_looked_for_in_every_database(run_module, server):
    server.write_text(json.dumps(SEEN))
    (server.parent / "unlogged").write_text('["cache"]')
    [said] = run_module("postgresql_adoption_info", OPTIONS)["refusals"]
    assert "by this: cache in app." in said


def test_a_database_that_cannot_be_looked_into_is_no_database_without_such_tables(run_module, server):
    server.write_text(json.dumps(SEEN))
    (server.parent / "unlogged").unlink()
    [said] = run_module("postgresql_adoption_info", OPTIONS)["refusals"]
    assert said.startswith("not every database can be looked into as postgres: app: cat:")
