"""What PgBouncer shows, as Debian 12's 1.18 and Debian 13's 1.24 did on the lab."""

import csv
from pathlib import Path

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pgbouncer import (
    Console,
    ConsoleError,
    not_taken,
    observe,
    parse_databases,
    parse_pools,
    parse_servers,
    parse_version,
    pending_restart,
    unobserved,
)

RECORDINGS = Path(__file__).parent / "recordings"


@pytest.fixture(params=["1.18", "1.24"])
def version(request):
    return request.param


class Recorded:
    """A console that shows what was recorded; an empty cell is a null, as it is on the wire."""

    def __init__(self, version):
        self.version = version

    def ask(self, command, limit_seconds=2.0):
        with (RECORDINGS / f"pgbouncer_{self.version}_{command.split()[1].lower()}.csv").open() as file:
            return [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture
def console(version):
    return Recorded(version)


def test_the_version_is_read(console, version):
    assert parse_version(console.ask("SHOW VERSION")).startswith(version)


def test_another_program_is_told_apart():
    with pytest.raises(ValueError, match="calls itself Odyssey 1.3"):
        parse_version([{"version": "Odyssey 1.3"}])
    with pytest.raises(ValueError, match="calls itself nothing"):
        parse_version([])


def test_databases_are_read_without_the_console_s_own(console):
    databases = {one.name: one for one in parse_databases(console.ask("SHOW DATABASES"))}
    assert sorted(databases) == ["app", "app_direct", "app_ro"]
    assert databases["app"].hosts == ("10.77.0.72",)
    assert databases["app_ro"].hosts == ("10.77.0.72", "10.77.0.73")
    assert (databases["app_ro"].pool_size, databases["app_ro"].max_connections) == (7, 9)
    assert databases["app_direct"].pool_mode == "session"
    assert [one.name for one in databases.values() if one.paused] == ["app_direct"]
    assert not any(one.disabled for one in databases.values())


def test_pools_are_read(console):
    (pool,) = parse_pools(console.ask("SHOW POOLS"))
    assert (pool.database, pool.user, pool.pool_mode, pool.clients_waiting) == ("app", "app", "transaction", 0)
    assert pool.servers_active + pool.servers_idle == len(parse_servers(console.ask("SHOW SERVERS")))


def test_connections_to_servers_are_read_with_both_their_ends(console):
    servers = parse_servers(console.ask("SHOW SERVERS"))
    assert {(one.address, one.port, one.close_needed) for one in servers} == {("10.77.0.72", 5499, False)}
    assert {one.state for one in servers} == {"active", "idle"}
    assert all(one.local_port and one.local_address.startswith("10.77.0.") for one in servers)


@pytest.mark.parametrize(
    ("lines", "pending"),
    [
        ("listen_addr = 10.77.0.21,127.0.0.1\nunix_socket_mode = 0777\nserver_login_retry = 9", []),
        ("listen_addr = 10.77.0.99", ["listen_addr"]),
        ("listen_port = 7777\nunix_socket_mode = 0700", ["listen_port", "unix_socket_mode"]),
        ("not_a_setting = 1", []),
    ],
)
def test_what_only_a_start_brings_is_told_apart_from_what_a_reload_brings(lines, pending):
    text = f"; a comment\n[databases]\n%include /etc/pgbouncer/x.ini\n[pgbouncer]\n{lines}\n"
    assert pending_restart(text, Recorded("1.24").ask("SHOW CONFIG")) == pending


@pytest.mark.parametrize(
    ("lines", "untaken"),
    [
        ("server_login_retry = 0.2\npool_mode = Transaction\ntcp_keepalive = 0x1\nquery_wait_timeout = 10.0", []),
        ("max_prepared_statments = 300", ["max_prepared_statments = 300 (it knows no such setting)"]),
        # Names count as they are written.
        ("Pool_Mode = transaction", ["Pool_Mode = transaction (it knows no such setting)"]),
        (
            "pool_mode = transactoin\nstats_users = app",
            ["pool_mode = transactoin (it runs with transaction)", "stats_users = app (it runs with nothing)"],
        ),
        ("default_pool_size = 024", []),
        ("default_pool_size = 24", ["default_pool_size = 24 (it runs with 20)"]),
        (
            "max_client_conn = 2000\nzzz = 1",
            ["zzz = 1 (it knows no such setting)", "max_client_conn = 2000 (it runs with 100)"],
        ),
        # What only a start brings is another list's.
        ("listen_port = 7777\nunix_socket_mode = 0700", []),
        ("auth_file = ~/users", []),
        ("auth_file = ~/others", ["auth_file = ~/others (it runs with /etc/pgbouncer/users)"]),
        ("; pool_mdoe = x\n# pool_mdoe = x\nlogfile =", ["logfile =  (it runs with /etc/pgbouncer/log)"]),
    ],
)
def test_what_a_reload_did_not_take_is_said_with_why(lines, untaken):
    text = f"[databases]\n%include /etc/pgbouncer/x.ini\n[pgbouncer]\n{lines}\n"
    assert not_taken(text, Recorded("1.24").ask("SHOW CONFIG")) == untaken


def test_a_setting_of_a_newer_version_is_not_taken_by_an_older_one():
    text = "[pgbouncer]\nmax_prepared_statements = 200\n"
    assert not_taken(text, Recorded("1.24").ask("SHOW CONFIG")) == []
    assert not_taken(text, Recorded("1.18").ask("SHOW CONFIG")) == [
        "max_prepared_statements = 200 (it knows no such setting)"
    ]


def test_a_file_without_settings_waits_for_nothing(console):
    assert pending_restart("", console.ask("SHOW CONFIG")) == []
    assert not_taken("", console.ask("SHOW CONFIG")) == []


def test_a_number_that_is_none_is_said():
    with pytest.raises(ValueError, match="'many' as pool_size"):
        parse_databases([{"name": "app", "pool_size": "many"}])


def test_what_is_observed_has_the_shape_of_what_cannot_be(console):
    found = observe(console)
    assert found.keys() == unobserved("why").keys()
    assert found["problem"] is None
    assert found["databases"][0]["hosts"] == ["10.77.0.72"]


def test_a_console_that_is_not_there_says_so(tmp_path):
    with pytest.raises(ConsoleError, match="No such file or directory") as caught:
        Console(str(tmp_path), 1)
    assert caught.value.kind == "connection"
