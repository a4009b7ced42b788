"""The application's hosts after etapa 1."""

import pytest

testinfra_hosts = ["ansible://app_servers"]

PORTS = (3001, 3002)


@pytest.fixture(params=PORTS)
def port(request):
    return request.param


@pytest.fixture
def process(host, port):
    return host.process.get(
        user="tenant-app", pid=int(host.service(f"tenant-app@{port}").systemd_properties["MainPID"])
    )


def test_an_instance_runs_on_each_port_and_after_a_reboot(host, port):
    service = host.service(f"tenant-app@{port}")
    assert service.is_running
    assert service.is_enabled


def test_an_instance_listens_only_where_the_balancers_reach_it(host, port):
    address = host.ansible.get_variables()["ansible_host"]
    assert host.socket(f"tcp://{address}:{port}").is_listening
    assert not host.socket(f"tcp://127.0.0.1:{port}").is_listening


def test_an_instance_is_ready_under_its_own_name(host, port):
    variables = host.ansible.get_variables()
    answer = host.check_output(
        "curl --silent --fail --include http://%s:%s/health/ready", variables["ansible_host"], str(port)
    )
    assert f"x-served-by: {variables['inventory_hostname']}-{port}" in answer.lower()


def test_an_instance_is_in_a_sandbox(host, port):
    assert host.run(f"systemd-analyze security --threshold=40 tenant-app@{port}").rc == 0


def test_the_witness_is_in_a_sandbox(host):
    assert host.run("systemd-analyze security --threshold=40 escala-virtual-ip-witness").rc == 0


def test_secrets_are_files_that_only_root_can_read(host):
    names = host.file("/etc/tenant-app/credentials").listdir()
    assert sorted(names) == ["DATABASE_URL", "JWT_SECRET"]
    for name in names:
        file = host.file(f"/etc/tenant-app/credentials/{name}")
        assert (file.user, file.group, file.mode) == ("root", "root", 0o600)


def test_secrets_are_in_neither_environment_nor_command_line(host, process):
    secrets = [
        host.file(f"/etc/tenant-app/credentials/{name}").content_string for name in ("DATABASE_URL", "JWT_SECRET")
    ]
    seen = host.check_output("tr '\\0' '\\n' </proc/%s/environ", str(process.pid)) + process.args
    assert "JWT_SECRET_FILE=" in seen
    assert not [secret for secret in secrets if secret in seen]


def test_the_release_belongs_to_root(host):
    assert host.check_output("find -L /opt/tenant-app/current ! -user root -o -perm /022 ! -type l") == ""


def test_a_killed_instance_comes_back(host, port, process):
    address = host.ansible.get_variables()["ansible_host"]
    host.check_output("kill -KILL %s", str(process.pid))
    host.check_output(
        "curl --silent --fail --retry 40 --retry-delay 1 --retry-all-errors --output /dev/null http://%s:%s/health/ready",
        address,
        str(port),
    )
    assert host.service(f"tenant-app@{port}").systemd_properties["MainPID"] != str(process.pid)
