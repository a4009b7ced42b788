"""The nodes of MinIO: in a sandbox, over TLS, and for nobody without a key."""

import pytest

testinfra_hosts = ["ansible://storage_servers"]


@pytest.fixture
def address(host):
    return host.ansible.get_variables()["ansible_host"]


def test_it_runs_in_a_sandbox_and_starts_after_a_reboot(host):
    service = host.service("minio")
    assert service.is_running
    assert service.is_enabled
    assert host.run("systemd-analyze security --threshold=40 minio").rc == 0


def test_it_speaks_tls_and_nothing_else(host, address):
    at = f"{address}:9000/minio/health/live"
    assert host.run(f"curl --silent --fail --cacert /etc/ssl/escala/ca.pem https://{at}").rc == 0
    assert "Client sent an HTTP request to an HTTPS server" in host.run(f"curl --silent http://{at}").stdout


@pytest.mark.parametrize("path", ["uploads", "uploads?list-type=2", "minio/v2/metrics/cluster"])
def test_without_a_key_nobody_sees_anything(host, address, path):
    asked = f"curl --silent --output /dev/null --write-out %{{http_code}} --cacert /etc/ssl/escala/ca.pem 'https://{address}:9000/{path}'"
    assert host.check_output(asked) == "403"


def test_no_secret_is_for_others_to_read_or_on_a_command_line(host):
    password = host.file("/etc/minio/root_password")
    assert (password.user, password.mode) == ("root", 0o600)
    # The pattern comes from the file: grep's own command line is looked at too.
    assert host.run("grep -lF -f /etc/minio/root_password /proc/[0-9]*/cmdline").stdout == ""
