"""The host that keeps the database's backups, after etapa 3."""

import json

import pytest

testinfra_hosts = ["ansible://backup_servers"]

UNITS = ["escala-pg-backup", "escala-pg-drill", "escala-pg-backup-status"]


@pytest.fixture
def node(host):
    """One of the nodes that bring WAL."""
    return host.get_host("ansible://db1", ansible_inventory=host.backend.ansible_inventory)


@pytest.mark.parametrize("unit", UNITS)
def test_what_is_done_at_its_time_is_done_after_a_reboot_too(host, unit):
    assert host.service(f"{unit}.timer").is_running
    assert host.service(f"{unit}.timer").is_enabled


def test_wal_is_received_as_it_is_written(host):
    assert host.service("escala-pg-receive").is_running
    assert host.service("escala-pg-receive").is_enabled
    assert [name for name in host.file("/var/lib/escala-backup/work/received").listdir() if name.endswith(".partial")]


def test_there_is_a_backup_and_it_was_restored(host):
    said = json.loads(host.check_output("runuser -u escala-backup -- escala-pg-backup status"))
    assert said["problems"] == []
    assert said["drill_passed"]
    assert said["receiving"]


def test_prometheus_is_told(host):
    host.run_test("systemctl start escala-pg-backup-status")
    metrics = host.file("/var/lib/escala-backup/metrics/escala_backup.prom")
    assert metrics.mode == 0o644
    assert "\nescala_backup_problems 0\n" in metrics.content_string


def test_no_server_of_postgresql_runs_here(host):
    assert not host.process.filter(comm="postgres")
    assert [socket for socket in host.socket.get_listening_sockets() if socket.endswith(":5432")] == []


@pytest.mark.parametrize("name", ["pg-backup.pgpass", "pg-backup.identity"])
def test_secrets_are_files_that_only_its_account_can_read(host, name):
    file = host.file(f"/etc/escala/{name}")
    assert (file.user, file.mode) == ("escala-backup", 0o600)


def test_what_is_kept_is_encrypted_and_for_nobody_else(host):
    files = host.check_output("find /var/lib/escala-backup/store -type f -printf '%m %f\\n'").splitlines()
    assert len(files) > 3
    assert {line.split()[0] for line in files} == {"600"}
    # Only what says whose archive it is, and what is said of a backup, is there to read.
    readable = {line.split()[1] for line in files if not line.endswith(".age")}
    assert readable == {"cluster.json", "backup.json"}


@pytest.mark.parametrize(
    "unit", ["escala-pg-backup", "escala-pg-drill", "escala-pg-receive", "escala-pg-backup-status"]
)
def test_its_units_are_in_a_sandbox(host, unit):
    assert host.run(f"systemd-analyze security --threshold=40 {unit}").rc == 0


@pytest.mark.parametrize(
    "asked", ["", "id", "push", "push ../x", "fetch /etc/passwd", "base", "drill", "has x; id", "fetch $(id)"]
)
def test_a_node_may_bring_wal_and_fetch_it_and_nothing_else(node, asked):
    said = node.run("runuser -u postgres -- ssh -F /etc/escala/pg-backup.ssh escala-backup %s < /dev/null", asked)
    assert said.rc != 0
    assert "uid=" not in said.stdout
    assert "root:" not in said.stdout


def test_a_node_gets_no_shell_and_no_tunnel(node):
    ssh = "runuser -u postgres -- ssh -F /etc/escala/pg-backup.ssh"
    # 255 is what testinfra takes for a fault of its own.
    for asked in (
        "-T",
        "-o ExitOnForwardFailure=yes -W 127.0.0.1:22",
        "-N -o ExitOnForwardFailure=yes -L 127.0.0.1:9999:127.0.0.1:22",
    ):
        assert node.run(f"timeout 5 {ssh} {asked} escala-backup < /dev/null || exit 9").rc == 9
