"""What PostgreSQL answers to the guard's one question, and what the guard tells it."""

from __future__ import annotations

import json

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_guard_sql as sql
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Answer, SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_sql import Server, Slot, status_from
from ansible_collections.escala.ha.plugins.module_utils._pg_state import Standby
from tests.unit.plugins.module_utils.pg_guard_world import config

# As PostgreSQL 17 answered on a primary with one standby, and on that standby.
PRIMARY = json.loads("""
{"recovery" : false, "version" : 170006, "received" : null, "replayed" : null, "written" : "0/5000148",
 "segment" : "000000020000000000000005", "lag" : null, "startup" : null, "receiver" : null, "conninfo" : "", "slot" : "",
 "synchronous" : "ANY 1 (\\"db1\\", \\"db2\\", \\"db3\\")",
 "standbys" : [["db2", "streaming", "quorum", "0/5000148"], ["db3", "startup", "async", null]],
 "slots" : [["db2", true, "reserved"], ["db3", false, "lost"]], "outside" : null, "commit" : "0/5000180"}
""")
STANDBY = json.loads("""
{"recovery" : true, "version" : 170006, "received" : "0/5000000", "replayed" : "0/5000148", "written" : null,
 "segment" : null, "lag" : 12.345678, "startup" : "RecoveryWalStream",
 "receiver" : {"status" : "streaming", "host" : "db1", "timeline" : 2}, "conninfo" : "host='db1' port='5432'", "slot" : "db2",
 "synchronous" : "", "standbys" : null, "slots" : null, "outside" : "192.0.2.71:5432", "commit" : null}
""")


def test_a_primary_says_how_far_it_wrote_and_on_which_timeline():
    found = status_from(PRIMARY)
    assert (found.in_recovery, found.lsn, found.written_timeline) == (False, 0x5000148, 2)
    assert found.standbys == (Standby("db2", "streaming", "quorum", 0x5000148), Standby("db3", "startup", "async", 0))
    assert found.slots == (Slot("db2", True, False), Slot("db3", False, True))
    assert found.replay_lag_seconds is None
    assert not found.waits_for_wal


def test_a_standby_is_as_far_as_it_received_or_replayed_whichever_is_more():
    found = status_from(STANDBY)
    assert (found.in_recovery, found.lsn, found.written_timeline) == (True, 0x5000148, None)
    assert status_from({**STANDBY, "received": "0/6000000"}).lsn == 0x6000000
    assert status_from({**STANDBY, "received": None}).lsn == 0x5000148
    assert status_from({**STANDBY, "received": None, "replayed": None}).lsn is None
    assert (found.receiver_status, found.receiver_host, found.conninfo) == ("streaming", "db1", STANDBY["conninfo"])
    assert (found.waits_for_wal, found.replay_lag_seconds) == (True, 12.345678)
    assert (found.outside, status_from(PRIMARY).outside) == ("192.0.2.71:5432", None)


@pytest.mark.parametrize(
    ("event", "waits"),
    [
        ("RecoveryRetrieveRetryInterval", True),
        ("RecoveryWalStream", True),
        ("RecoveryConflictSnapshot", False),
        ("RecoveryPause", False),
        ("DataFileRead", False),
        (None, False),
    ],
)
def test_only_one_who_waits_for_wal_has_replayed_all_that_is_there(event, waits):
    assert status_from({**STANDBY, "startup": event}).waits_for_wal is waits


def test_a_clock_that_differs_gives_no_lag_below_nothing():
    assert status_from({**STANDBY, "lag": -0.4}).replay_lag_seconds == 0.0


@pytest.mark.parametrize(
    "spoilt", [{}, {"recovery": True}, {**PRIMARY, "written": "5"}, {**PRIMARY, "segment": "x" * 24}]
)
def test_anything_else_is_no_status(spoilt):
    with pytest.raises((KeyError, ValueError)):
        status_from(spoilt)


def test_the_question_asks_for_all_that_is_read():
    for name in PRIMARY:
        assert f"'{name}'," in sql._STATUS


class Session:
    """Stands for a session with PostgreSQL, and notes what is said in it."""

    said: list
    broken: str = ""

    def __init__(self, info, limit_seconds):
        self.said.append(("opened", info, limit_seconds))

    def execute(self, statement, values=(), *, limit_seconds):
        assert limit_seconds > 0
        self.said.append((statement, *values))
        if self.broken and self.broken in statement:
            raise SessionError("refused", "no")
        if statement.startswith("SELECT format"):
            return Answer([[f"ALTER SYSTEM SET {values[0]} = '{values[1]}'"]], [])
        return Answer([], [])

    def close(self):
        self.said.append(("closed",))


@pytest.fixture
def said(monkeypatch):
    Session.said, Session.broken = [], ""
    monkeypatch.setattr(sql, "Session", Session)
    return Session.said


def test_an_upstream_is_set_lastingly_slot_first_and_in_force_at_once(said):
    Server(config().here).set_upstream("host='db2'", "db1", 3.0)
    assert [one[0] for one in said[1:]] == [
        "SELECT format('ALTER SYSTEM SET %I = %L', $1::text, $2::text)",
        "ALTER SYSTEM SET primary_slot_name = 'db1'",
        "SELECT format('ALTER SYSTEM SET %I = %L', $1::text, $2::text)",
        "ALTER SYSTEM SET primary_conninfo = 'host='db2''",
        "SELECT pg_reload_conf()",
        "closed",
    ]


def test_nothing_that_the_guard_does_waits_for_a_standby_and_it_enters_by_the_socket(said):
    Server(config().here).create_slot("db2", 1.5)
    [_word, info, limit] = said[0]
    assert "host='/var/run/postgresql'" in info
    assert "synchronous_commit=local" in info
    assert limit == 1.5


@pytest.mark.parametrize("broken", ["ALTER SYSTEM", "pg_reload_conf"])
def test_a_session_is_closed_and_the_fault_is_told_whatever_fails_in_it(said, broken):
    Session.broken = broken
    with pytest.raises(SessionError):
        Server(config().here).set_synchronous("ANY 1 (db1)", 3.0)
    assert said[-1] == ("closed",)


def test_a_promotion_is_waited_for_within_its_limit(said):
    assert Server(config().here).promote(10.0) is False
    assert said[1] == ("SELECT pg_promote(true, $1::int)", 10)
    assert said[0][2] == 11.0


def test_names_of_slots_are_values_and_no_text_of_a_statement(said):
    Server(config().here).drop_slot("db2", 3.0)
    Server(config().here).checkpoint(60.0)
    assert said[1] == ("SELECT pg_drop_replication_slot($1::name)", "db2")
    assert said[4] == ("CHECKPOINT",)


class Catalogued(Session):
    """A session of a server with these databases, of which those named have repmgr's tables."""

    databases: tuple = ()
    tables: tuple = ()

    def execute(self, statement, values=(), *, limit_seconds):
        super().execute(statement, values, limit_seconds=limit_seconds)
        if "pg_database" in statement:
            return Answer([[str(self.databases.count(values[0]))]], [])
        if "to_regclass" in statement:
            opened = [one[1] for one in self.said if one[0] == "opened"][-1]
            return Answer([["f" if any(f"dbname='{name}'" in opened for name in self.tables) else "t"]], [])
        return Answer([], [])


@pytest.mark.parametrize(
    ("databases", "tables", "found"),
    [((), (), False), (("repmgr",), (), False), (("repmgr",), ("repmgr",), True), (("repmgr",), ("postgres",), False)],
)
def test_the_catalogue_is_brought_up_to_date_where_there_is_one(said, monkeypatch, databases, tables, found):
    monkeypatch.setattr(sql, "Session", Catalogued)
    monkeypatch.setattr(Catalogued, "databases", databases)
    monkeypatch.setattr(Catalogued, "tables", tables)
    assert Server(config().here).catalogue("repmgr", "db2", 3.0) is found
    assert ((sql._CATALOGUE, "db2") in said) is found
    opened, closed = ([one for one in said if one[0] == word] for word in ("opened", "closed"))
    assert len(opened) == len(closed) == 1 + bool(databases)


def test_a_catalogue_that_cannot_be_written_is_a_fault_and_its_session_is_closed(said, monkeypatch):
    monkeypatch.setattr(sql, "Session", Catalogued)
    monkeypatch.setattr(Catalogued, "databases", ("repmgr",))
    monkeypatch.setattr(Catalogued, "tables", ("repmgr",))
    Session.broken = "UPDATE repmgr.nodes"
    with pytest.raises(SessionError):
        Server(config().here).catalogue("repmgr", "db2", 3.0)
    assert said[-1] == ("closed",)
