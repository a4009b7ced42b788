"""The data nodes after etapa 3."""

import ipaddress
import json

import pytest

testinfra_hosts = ["ansible://postgres_servers"]

# Debian's own.
VERSIONS = {"bookworm": 15, "trixie": 17}


def ask(host, statement, database="postgres"):
    """One value, through the socket, as root enters by it."""
    return host.check_output("cd / && psql -XAtU escala_guard -d %s -c %s", database, statement)


@pytest.fixture
def version(host):
    return VERSIONS[host.system_info.codename]


@pytest.fixture
def state(host):
    return json.loads(host.check_output("escala-pg-guard status --json"))


@pytest.fixture
def address(host):
    return host.ansible.get_variables()["ansible_host"]


@pytest.mark.parametrize("name", ["escala-pg-guard", "postgresql@{}-main"])
def test_what_must_run_runs(host, name, version):
    assert host.service(name.format(version)).is_running


def test_the_server_is_of_the_version_that_debian_has(host, version):
    assert ask(host, "SELECT current_setting('server_version_num')::int / 10000") == str(version)


def test_the_guard_runs_after_a_reboot(host):
    assert host.service("escala-pg-guard").is_enabled


@pytest.mark.parametrize("port", [5432, 5433])
def test_it_listens_only_where_the_platform_reaches_it(host, address, port):
    listening = [socket for socket in host.socket.get_listening_sockets() if socket.endswith(f":{port}")]
    allowed = {f"tcp://{address}:{port}", f"tcp://127.0.0.1:{port}", f"tcp://::1:{port}"}
    assert f"tcp://{address}:{port}" in listening
    assert set(listening) <= allowed


def test_a_node_is_the_primary_or_streams_from_it(state):
    assert (state["role"] == "primary" and state["writable"]) or (state["role"] == "standby" and state["streaming"])


def test_every_start_is_one_as_a_standby(host, version):
    assert host.file(f"/var/lib/postgresql/{version}/main/standby.signal").exists
    unit = host.check_output(f"systemctl cat postgresql@{version}-main")
    assert "ExecStartPre=+/usr/sbin/escala-pg-guard gate" in unit


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("synchronous_commit", "on"),
        ("synchronous_standby_names", 'ANY 1 ("db1", "db2", "db3")'),
        ("data_checksums", "on"),
        ("wal_log_hints", "on"),
        ("ssl", "on"),
        ("password_encryption", "scram-sha-256"),
        ("restart_after_crash", "off"),
    ],
)
def test_what_availability_rests_on_is_in_force(host, setting, value):
    assert ask(host, f"SHOW {setting}") == value


def test_no_setting_waits_for_a_restart_or_is_refused(host):
    assert ask(host, "SELECT count(*) FROM pg_settings WHERE pending_restart") == "0"
    assert ask(host, "SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL") == "0"


def test_only_a_primary_has_slots(host, state):
    slots = ask(host, "SELECT string_agg(slot_name, ',' ORDER BY slot_name) FROM pg_replication_slots")
    # By the last one the old server follows, which the cluster has taken over from.
    others = {"db1", "db2", "db3", "escala_migration"} - {state["node"]}
    assert set(filter(None, slots.split(","))) == (others if state["role"] == "primary" else set())


def test_standbys_and_the_old_server_stream_encrypted(host, state):
    if state["role"] != "primary":
        pytest.skip("asked on the primary")
    query = "SELECT string_agg(application_name, ',') FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) WHERE ssl AND version = 'TLSv1.3'"
    assert set(ask(host, query).split(",")) == {"db1", "db2", "db3", "escala_migration"} - {state["node"]}


def test_nobody_enters_without_a_password_over_the_network(host, version):
    rules = host.file(f"/etc/postgresql/{version}/main/pg_hba.conf").content_string
    lines = [line.split() for line in rules.splitlines() if line.strip()]
    rules = [line for line in lines if not line[0].startswith("#")]
    assert {rule[0] for rule in rules} == {"local", "hostssl"}
    assert {rule[-1] for rule in rules if rule[0] == "hostssl"} == {"scram-sha-256"}
    # Adjacent hosts may share a network, and nobody else is in one.
    platform = {f"10.77.0.{number}" for number in (1, 21, 22, 31, 32, 33, 71)}
    entitled = [ipaddress.ip_network(rule[3]) for rule in rules if rule[0] == "hostssl"]
    assert {str(address) for network in entitled for address in network} <= platform
    assert all("peer" in rule for rule in rules if rule[0] == "local")


def test_the_application_is_no_superuser_and_nobody_else_enters_its_database(host):
    assert (
        ask(
            host,
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication FROM pg_roles WHERE rolname = 'app'",
        )
        == "f"
    )
    assert ask(host, "SELECT has_database_privilege('public', 'app', 'CONNECT')") == "f"


@pytest.mark.parametrize(
    ("path", "user", "mode"),
    [
        ("/etc/escala/postgresql.pgpass", "postgres", 0o600),
        ("/etc/postgresql/{}/main/pg_hba.conf", "root", 0o640),
        ("/etc/ssl/escala/postgresql.key", "root", 0o640),
        ("/var/lib/escala-pg-guard", "root", 0o700),
        ("/run/escala-pg-guard/control.sock", "root", 0o600),
        ("/var/lib/postgresql/{}/main", "postgres", 0o700),
    ],
)
def test_secrets_and_promises_are_nobody_else_s_to_read(host, version, path, user, mode):
    file = host.file(path.format(version))
    assert (file.user, oct(file.mode)) == (user, oct(mode))


def test_passwords_are_in_no_log_and_no_command_line(host):
    lines = host.file("/etc/escala/postgresql.pgpass").content_string.splitlines()
    passwords = [line.split(":")[-1] for line in lines if line and not line.startswith("#")]
    assert len(passwords) >= 2
    seen = host.check_output(
        "journalctl --no-pager -o cat; cat /var/log/postgresql/*; ps axww -o args; cat /proc/[0-9]*/environ | tr '\\0' '\\n'"
    )
    assert not [password for password in passwords if password in seen]


def test_the_guard_is_in_a_sandbox(host):
    # It starts, stops and kills PostgreSQL and copies its data, which takes root and rules the rest of the list out.
    assert host.run("systemd-analyze security --threshold=40 escala-pg-guard").rc == 0


def test_the_guard_tells_prometheus_what_it_sees(host, address, state):
    files = "--cacert /etc/ssl/escala/ca.pem --cert /etc/ssl/escala/postgresql.crt --key /etc/ssl/escala/postgresql.key"
    node = state["node"]
    said = host.check_output(f"curl -sS --fail {files} --resolve {node}:5433:{address} https://{node}:5433/metrics")
    assert f'escala_pg_guard_role{{role="{state["role"]}"}} 1' in said


def test_repmgr_knows_the_cluster(host):
    said = host.check_output(
        "setpriv --reset-env --reuid postgres --regid postgres --init-groups repmgr -f /etc/repmgr.conf cluster show --csv"
    )
    assert len(said.splitlines()) == 3
    # Its daemon would be a second one who promotes.
    assert not host.process.filter(comm="repmgrd")
