"""A server that somebody else made becomes a node only where nothing of it would end unsaid."""

from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._postgresql_adoption import Host, Wish, notes, refusals

WISH = Wish(
    version=17,
    port=5432,
    data_directory="/var/lib/postgresql/17/main",
    configuration_file="/etc/postgresql/17/main/postgresql.conf",
    owners={"app": "app"},
    accounts=[
        {"name": "app", "password": "known", "databases": ["app"], "addresses": ["192.0.2.21", "192.0.2.22"]},
        {"name": "watcher", "password": "new", "databases": ["app", "repmgr"], "addresses": ["198.51.100.0/24"]},
    ],
    settings={
        "shared_preload_libraries": "pg_stat_statements",
        "max_connections": 200,
        "ssl": True,
        "timezone": "Etc/UTC",
    },
)
HOST = Host(in_unit=True, is_moved=False, unlogged={"app": []})
MD5 = "md59cfb2a8356a0c33a1bd8a0ad8d6b4f19"
SEEN = {
    "version": 17,
    "in_recovery": False,
    "port": 5432,
    "data_directory": "/var/lib/postgresql/17/main",
    "configuration_file": "/etc/postgresql/17/main/postgresql.conf",
    "checksums": True,
    "wal_level": "replica",
    "timezone": "Etc/UTC",
    "altered": [],
    "libraries": [],
    "archives": "",
    "tablespaces": [],
    "databases": {"app": "app", "postgres": "postgres"},
    "slots": [],
    "sessions": [],
    "logins": ["postgres"],
    "stored": [{"name": "postgres", "stored": ""}],
    "settings": {
        "max_connections": "200",
        "ssl": "on",
        "timezone": "Etc/UTC",
        "data_directory": "/var/lib/postgresql/17/main",
    },
}


def told(wish=WISH, host=HOST, **seen):
    return refusals({**SEEN, **seen}, host, wish)


def session(user="app", address="192.0.2.21", application="node", tls=True, database="app"):
    return {"user": user, "database": database, "application": application, "address": address, "tls": tls}


def test_a_server_as_a_node_has_it_is_taken_also_with_clients_and_an_administrator():
    sessions = [
        session(),
        session(address="192.0.2.22"),
        session("watcher", "198.51.100.7", database="repmgr"),
        session("postgres", None, "psql"),
        session("escala_guard", None, ""),
    ]
    assert told(sessions=sessions) == []
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
        ({"host": HOST._replace(in_unit=False)}, "it does not run in the unit postgresql@17-main"),
        ({"host": HOST._replace(is_moved=True)}, "/var/lib/postgresql/17/main is a link or a mount point"),
        ({"checksums": False}, "its data has no checksums, by which damage is noticed"),
        ({"wal_level": "minimal"}, "its wal_level is minimal"),
        (
            {"host": HOST._replace(unlogged={"app": ["cache", "s.queue"]})},
            "by this: cache in app, s.queue in app. ALTER",
        ),
        ({"timezone": "America/Sao_Paulo"}, "its timezone is America/Sao_Paulo, and would be Etc/UTC"),
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
            "who is connected would be shut out: app of node in app from 192.0.2.9",
        ),
        ({"sessions": [session(tls=False)]}, "shut out: app of node in app from 192.0.2.21 without TLS. Only"),
        ({"sessions": [session(database="reports")]}, "app of node in reports from 192.0.2.21. Only"),
        ({"sessions": [session("watcher")]}, "watcher of node in app from 192.0.2.21. Only"),
        ({"sessions": [session("app", "198.51.100.7")]}, "app of node in app from 198.51.100.7. Only"),
        ({"sessions": [session(address=None)]}, "app of node in app from its own socket"),
        ({"sessions": [session("other", "192.0.2.21", "")]}, "other of no name in app from 192.0.2.21"),
        ({"sessions": [session("postgres", "192.0.2.21")]}, "postgres of node in app from 192.0.2.21"),
    ],
)
def test_what_would_end_unsaid_is_refused_with_the_next_step(seen, says):
    [said] = told(**seen)
    assert says in said


@pytest.mark.parametrize("zone", ["UTC", "etc/utc", "GMT"])
def test_of_one_clock_there_are_several_names(zone):
    assert told(timezone=zone) == []


def test_what_the_inventory_has_of_it_is_no_loss():
    settings = {
        **WISH.settings,
        "shared_preload_libraries": "pg_stat_statements, timescaledb",
        "archive_command": "wal-g push %p",
        "timezone": "America/Sao_Paulo",
    }
    wish = WISH._replace(settings=settings)
    assert told(wish, libraries=["timescaledb"], archives="wal-g push %p", timezone="America/Sao_Paulo") == []


def test_an_operator_may_do_without_checksums():
    assert told(WISH._replace(checksums=False), checksums=False) == []


def test_whoever_may_end_is_no_hindrance():
    assert told(WISH._replace(sessions_may_end=True), sessions=[session(address="192.0.2.9")]) == []


def test_all_reasons_are_said_at_once():
    host = HOST._replace(in_unit=False)
    seen = {"version": 16, "tablespaces": ["a"], "sessions": [session(address="192.0.2.9")], "databases": {}}
    assert len(told(host=host, **seen)) == 5


def test_what_is_otherwise_afterwards_is_said():
    seen = {
        **SEEN,
        "settings": {
            "work_mem": "64MB",
            "lc_messages": "pt_BR.UTF-8",
            "log_timezone": "",
            "ssl": "off",
            "hba_file": "/etc/x",
        },
        "databases": {"app": "app", "postgres": "postgres", "reports": "app"},
        "logins": ["app", "postgres", "Report"],
    }
    ends, changes, databases, logins = notes(seen, WISH)
    assert ends.endswith("again: lc_messages = pt_BR.UTF-8, log_timezone = '', work_mem = 64MB")
    assert changes.endswith("keep them: ssl from off to on")
    assert databases.endswith(": reports")
    assert logins.endswith(": Report")
