"""The shell of postgresql_migration: what each state returns, and what a check leaves alone."""

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_migration_steps as steps
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_migration import EntryError, MigrationError
from ansible_collections.escala.ha.plugins.module_utils._pg_migration_compare import Compared
from ansible_collections.escala.ha.plugins.module_utils._pg_migration_run import Copied, Seen, Switched
from tests.unit.plugins.module_utils.test_pg_migration_run import SERVED_BY_OLD

OPTIONS = {
    "source": "old",
    "source_address": "192.0.2.71",
    "nodes": ["192.0.2.31"],
    "programs": "/usr/lib/postgresql/17/bin",
}


@pytest.fixture
def run(run_module):
    return lambda state, check_mode=False, **more: run_module(
        "postgresql_migration", {**OPTIONS, **more, "state": state}, check_mode
    )


@pytest.mark.parametrize(
    ("state", "step", "returns", "expected"),
    [
        (
            "seen",
            "seen",
            Seen("source", ("public.notes",), ("192.0.2.21:40001",)),
            {"serves": "source", "tables": ["public.notes"], "connections": ["192.0.2.21:40001"], "changed": False},
        ),
        ("seen", "seen", Seen(None, (), ()), {"serves": None, "tables": [], "connections": [], "changed": False}),
        ("begun", "begin", True, {"changed": True, "msg": "the cluster follows old"}),
        ("begun", "begin", False, {"changed": False, "msg": "the cluster follows old"}),
        (
            "copied",
            "copied",
            Copied(False, 3, 8, 5 << 20, 70),
            {"done": False, "changed": False, "msg": "3 of 8 tables are copied, 5 MiB; 70 bytes of WAL are to follow"},
        ),
        (
            "ready",
            "ready",
            (SERVED_BY_OLD, False, 0),
            {"done": False, "serves": "source", "msg": "cluster can take over"},
        ),
        ("ready", "ready", (None, True, 0), {"done": True, "serves": None, "msg": "no migration has begun"}),
        (
            "switched",
            "switch",
            Switched("cluster", "old", 0.2),
            {"changed": True, "msg": "cluster serves, old follows it"},
        ),
        ("ended", "end", False, {"changed": False}),
    ],
)
def test_what_a_state_returns(run, monkeypatch, state, step, returns, expected):
    monkeypatch.setattr(steps, step, lambda *_arguments: returns)
    found = run(state)
    assert {name: found[name] for name in expected} == expected


def test_rows_that_differ_fail_the_comparison(run, monkeypatch):
    compared = {
        "public.notes": Compared("public.notes", 3, (), ()),
        "public.users": Compared("public.users", 3, ("(1)",), ()),
    }
    monkeypatch.setattr(steps, "compared", lambda _options, table, _time: compared[table])
    assert run("compared", table="public.notes")["msg"] == "public.notes: 3 rows, the same"
    found = run("compared", table="public.users")
    assert (found["failed"], found["msg"]) == (True, "public.users: of 3 rows 1 missing ((1))")
    assert run("compared")["failed"] is True


@pytest.mark.parametrize("state", ["switched", "ended"])
def test_a_check_changes_nothing(run, monkeypatch, state):
    for step in ("switch", "end"):
        monkeypatch.setattr(steps, step, lambda *_arguments: pytest.fail("it did something"))
    assert run(state, check_mode=True)["changed"] is True


def test_a_refusal_is_the_message(run, monkeypatch):
    def refuse(*_arguments):
        raise MigrationError("1 large objects: they are not replicated")

    monkeypatch.setattr(steps, "begin", refuse)
    found = run("begun", free_bytes={"db1": 4711})
    assert (found["failed"], found["msg"]) == (True, "1 large objects: they are not replicated")


@pytest.mark.parametrize(
    "error", [EntryError("old cannot be entered"), SessionError("connection", "old cannot be entered")]
)
def test_an_end_that_is_away_is_waited_for_and_a_refusal_ends_the_wait(run, monkeypatch, error):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(steps, "copied", fail)
    found = run("copied")
    assert (found.get("failed", False), found["done"], found["msg"]) == (False, False, "old cannot be entered")
    error = MigrationError("public.notes changed their definition since they were copied")
    assert run("copied")["failed"] is True
