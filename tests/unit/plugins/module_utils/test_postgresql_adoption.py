"""A server that somebody else made becomes a node only where nothing of it would end unsaid."""

from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._postgresql_adoption import Wish, notes, refusals

WISH = Wish(
    version=17,
    port=5432,
    data_directory="/var/lib/postgresql/17/main",
    configuration_file="/etc/postgresql/17/main/postgresql.conf",
    owners={"app": "app", "repmgr": "repmgr"},
    logins=[{"name": "app", "password": "known"}, {"name": "repmgr", "password": "new"}],
    addresses=["192.0.2.21", "192.0.2.22"],
    settings={"shared_preload_libraries": "pg_stat_statements", "max_connections": 200, "ssl": True},
)
MD5 = "md59cfb2a8356a0c33a1bd8a0ad8d6b4f19"
SEEN = {
    "version": 17,
    "in_recovery": False,
    "port": 5432,
    "data_directory": "/var/lib/postgresql/17/main",
    "configuration_file": "/etc/postgresql/17/main/postgresql.conf",
    "checksums": True,
    "altered": [],
    "libraries": [],
    "archives": "",
    "tablespaces": [],
    "databases": {"app": "app", "postgres": "postgres"},
    "slots": [],
    "sessions": [],
    "logins": ["postgres"],
    "stored": [{"name": "postgres", "stored": ""}],
    "settings": {"max_connections": "100", "data_directory": "/var/lib/postgresql/17/main"},
}


def told(in_unit=True, wish=WISH, **seen):
    return refusals({**SEEN, **seen}, in_unit, wish)


def session(user="app", address="192.0.2.21", application="node", tls=True):
    return {"user": user, "application": application, "address": address, "tls": tls}


def test_a_server_as_a_node_has_it_is_taken_also_with_clients_and_an_administrator():
    sessions = [
        session(),
        session(address="192.0.2.22"),
        session("postgres", None, "psql"),
        session("escala_guard", None, ""),
    ]
    wish = WISH._replace(owners={"app": "app"})
    assert told(wish=wish, sessions=sessions) == []
    assert notes(SEEN, WISH) == []


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ({"in_recovery": True}, "it is a standby: name its primary"),
        ({"version": 16}, "it is PostgreSQL 16, and postgresql_version 17: set that to 16"),
        ({"port": 5433}, "it listens on port 5433, and postgresql_port is 5432: set that to 5433"),
        (
            {"data_directory": "/srv/pg"},
            "its data_directory is /srv/pg, and must be where Debian has it, /var/lib/postgresql/17/main",
        ),
        ({"configuration_file": "/srv/pg/postgresql.conf"}, "its configuration_file is /srv/pg/postgresql.conf"),
        ({"in_unit": False}, "it does not run in the unit postgresql@17-main"),
        ({"altered": ["work_mem", "jit"]}, "ALTER SYSTEM has set jit, work_mem"),
        ({"libraries": ["pg_stat_statements", "timescaledb"]}, "it has loaded timescaledb: add that"),
        (
            {"archives": "wal-g push %p"},
            "it archives its WAL by 'wal-g push %p', which would end: name a host in backup_servers",
        ),
        ({"tablespaces": ["fast"]}, "it has the tablespaces fast"),
        ({"slots": ["debezium"]}, "it has the replication slots debezium"),
        ({"databases": {"postgres": "postgres"}}, "it has no database app"),
        (
            {"databases": {"app": "root"}},
            "its database app belongs to root, and would be app's: ALTER DATABASE app OWNER TO app",
        ),
        ({"logins": ["app"], "stored": [{"name": "app", "stored": MD5}]}, "it knows app with another password"),
        (
            {"sessions": [session(address="192.0.2.9")]},
            "who is connected would be shut out: app of node from 192.0.2.9",
        ),
        ({"sessions": [session(tls=False)]}, "shut out: app of node from 192.0.2.21 without TLS. Only"),
        ({"sessions": [session(address=None)]}, "app of node from its own socket"),
        ({"sessions": [session("other", "192.0.2.21", "")]}, "other of no name from 192.0.2.21"),
        ({"sessions": [session("postgres", "192.0.2.21")]}, "postgres of node from 192.0.2.21"),
    ],
)
def test_what_would_end_unsaid_is_refused_with_the_next_step(seen, says):
    wish = WISH._replace(owners={"app": "app"})
    [said] = told(wish=wish, **seen)
    assert said.startswith(says) or says in said


def test_a_database_of_the_platforms_own_is_made_and_need_not_be_there():
    assert told(wish=WISH._replace(owners={"app": "app"})) == []


def test_what_the_inventory_has_of_it_is_no_loss():
    settings = {
        **WISH.settings,
        "shared_preload_libraries": "pg_stat_statements, timescaledb",
        "archive_command": "wal-g push %p",
    }
    wish = WISH._replace(owners={"app": "app"}, settings=settings)
    assert told(wish=wish, libraries=["timescaledb"], archives="wal-g push %p") == []


def test_whoever_may_end_is_no_hindrance():
    wish = WISH._replace(owners={"app": "app"}, sessions_may_end=True)
    assert told(wish=wish, sessions=[session(address="192.0.2.9")]) == []


def test_all_reasons_are_said_at_once():
    assert (
        len(told(in_unit=False, version=16, tablespaces=["a"], sessions=[session(address="192.0.2.9")], databases={}))
        == 6
    )


def test_what_is_otherwise_afterwards_is_said():
    seen = {
        **SEEN,
        "settings": {"work_mem": "65536kB", "log_timezone": "", "hba_file": "/etc/x"},
        "logins": ["app", "postgres", "report"],
        "checksums": False,
    }
    settings, logins, checksums = notes(seen, WISH)
    assert settings.endswith("log_timezone = '', work_mem = 65536kB")
    assert logins.startswith("report may log in from nowhere")
    assert "no checksums" in checksums
