"""The application's hosts after etapa 3: a pooler each, which follows the primary, and instances that use it."""

import json

import pytest

testinfra_hosts = ["ansible://app_servers"]


@pytest.fixture
def address(host):
    return host.ansible.get_variables()["ansible_host"]


@pytest.fixture
def follow(host):
    return json.loads(host.file("/run/escala-pg-follow/state.json").content_string)


def ask(host, conninfo, statement):
    """Ask with what the host has, psycopg; returns exit status, rows and what went wrong."""
    program = (
        "import psycopg,json,sys\n"
        f"with psycopg.connect({conninfo!r}, autocommit=True) as c:\n"
        f" print(json.dumps([[str(v) for v in r] for r in psycopg.ClientCursor(c).execute({statement!r}).fetchall()]))"
    )
    return host.run("python3 -c %s", program)


@pytest.mark.parametrize("name", ["pgbouncer", "escala-pg-follow"])
def test_the_pooler_and_its_follower_run_and_start_after_a_reboot(host, name):
    service = host.service(name)
    assert service.is_running
    assert service.is_enabled


@pytest.mark.parametrize("name", ["pgbouncer", "escala-pg-follow"])
def test_they_are_in_a_sandbox(host, name):
    assert host.run(f"systemd-analyze security --threshold=40 {name}").rc == 0


def test_the_pooler_listens_only_where_its_clients_are(host, address):
    listening = {socket for socket in host.socket.get_listening_sockets() if socket.endswith(":6432")}
    assert {f"tcp://{address}:6432", "tcp://127.0.0.1:6432"} >= {one for one in listening if one.startswith("tcp://")}
    assert f"tcp://{address}:6432" in listening


def test_writes_go_to_the_primary_and_reads_to_the_standbys(follow):
    assert follow["writer"]
    assert len(follow["readers"]) == 2
    assert follow["writer"] not in follow["readers"]


def test_prepared_statements_of_the_application_survive_the_pool(host):
    said = ask(host, "host=/run/pgbouncer port=6432 user=root dbname=pgbouncer", "SHOW CONFIG")
    settings = {name: value for name, value, *_ in json.loads(said.stdout)}
    assert int(settings["max_prepared_statements"]) > 0
    assert settings["pool_mode"] == "transaction"
    assert settings["client_tls_sslmode"] == "require"
    assert settings["server_tls_sslmode"] == "verify-full"


@pytest.mark.parametrize("path", ["/etc/pgbouncer/userlist.txt", "/etc/pgbouncer/escala-hba.conf"])
def test_what_lets_clients_in_is_for_the_pooler_only(host, path):
    file = host.file(path)
    assert (file.user, file.group, oct(file.mode)) == ("root", "postgres", oct(0o640))


def test_the_pooler_holds_no_password_in_clear(host):
    lines = host.file("/etc/pgbouncer/userlist.txt").content_string.splitlines()
    secrets = [line.split('"')[3] for line in lines if line.startswith('"') and not line.startswith('"root"')]
    assert secrets
    assert all(secret.startswith("SCRAM-SHA-256$") for secret in secrets)


def test_nobody_is_let_in_without_tls(host, address):
    said = ask(host, f"host={address} port=6432 user=app dbname=app sslmode=disable password=x", "SELECT 1")
    assert said.rc != 0
    assert "SSL required" in said.stderr
