"""The roadmap's first step: one server, a balancer before two instances on it, and the old daemon beside them."""

import json
import socket

import pytest

testinfra_hosts = ["ansible://single1"]

PORTS = (3001, 3002)
OLD_PORT = 8080


@pytest.fixture
def variables(host):
    return host.ansible.get_variables()


@pytest.fixture
def ask(host, variables):
    """A client that speaks to the server's own address, and knows its name."""
    name, address = variables["load_balancer_server_names"][0], variables["ansible_host"]

    def run(path, *options, scheme="https"):
        resolve = " ".join(f"--resolve {name}:{port}:{address}" for port in (80, 443))
        command = f"curl --silent --include --http1.1 --max-time 10 --cacert /etc/ssl/escala/ca.pem {resolve} {' '.join(options)} {scheme}://{name}{path}"
        head, _, body = host.check_output(command).replace("\r", "").partition("\n\n")
        status, *lines = head.splitlines()
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
        return int(status.split()[1]), headers, body

    return run


@pytest.fixture
def token(host, ask):
    """Issued by the old daemon."""
    password = host.file("/etc/tenant-app/SEED_PASSWORD").content_string
    login = json.dumps({"tenant": "acme", "email": "owner@acme.example", "password": password})
    answer = host.check_output(
        "curl --silent --fail --header 'Content-Type: application/json' --data %s http://127.0.0.1:8080/api/auth/login",
        login,
    )
    return json.loads(answer)["accessToken"]


def test_both_instances_answer_in_turn_at_the_server_s_own_address(ask):
    served = [ask("/health/ready") for _ in range(8)]
    assert {status for status, _, _ in served} == {200}
    assert {headers["x-served-by"] for _, headers, _ in served} == {f"single1-{port}" for port in PORTS}


def test_the_frontend_is_served(ask):
    status, headers, _ = ask("/")
    assert (status, headers["content-type"]) == (200, "text/html")


def test_http_is_redirected(ask, variables):
    status, headers, _ = ask("/api/notes?page=2", scheme="http")
    assert (status, headers["location"]) == (
        308,
        f"https://{variables['load_balancer_server_names'][0]}/api/notes?page=2",
    )


@pytest.mark.parametrize("port", PORTS)
def test_the_instances_cannot_be_reached_from_outside(host, variables, port):
    assert host.socket(f"tcp://127.0.0.1:{port}").is_listening
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((variables["ansible_host"], port), 5)


def test_there_is_no_virtual_address(host, variables):
    assert not host.package("keepalived").is_installed
    addresses = json.loads(host.check_output("ip -json -4 address show scope global"))
    assert [entry["local"] for link in addresses for entry in link["addr_info"]] == [variables["ansible_host"]]


def test_the_old_daemon_goes_on(host):
    assert host.service("tenant-app-daemon").is_running
    answer = host.check_output(f"curl --silent --fail --include http://127.0.0.1:{OLD_PORT}/health/ready")
    assert "x-served-by: single1\r" in answer


def test_whoever_is_logged_in_at_the_old_daemon_stays_so(ask, token):
    status, _, body = ask("/api/me", f"--header 'Authorization: Bearer {token}'")
    assert (status, json.loads(body)["email"]) == (200, "owner@acme.example")


def test_both_sides_have_the_same_uploads(host, ask, token):
    bearer = f"--header 'Authorization: Bearer {token}'"
    old = host.check_output(
        f"echo hello | curl --silent --fail {bearer} --form 'file=@-;filename=a.txt' http://127.0.0.1:{OLD_PORT}/api/uploads"
    )
    assert ask(f"/api/uploads/{json.loads(old)['id']}", bearer)[::2] == (200, "hello")
    host.check_output("echo hello >/tmp/upload.txt")
    _, _, new = ask("/api/uploads", bearer, "--form file=@/tmp/upload.txt")
    path = f"/api/uploads/{json.loads(new)['id']}"
    assert host.check_output(f"curl --silent --fail {bearer} http://127.0.0.1:{OLD_PORT}{path}") == "hello"


def test_a_killed_instance_is_not_noticed_and_comes_back(host, ask):
    before = host.service("tenant-app@3001").systemd_properties["MainPID"]
    host.check_output("kill -KILL %s", before)
    assert {ask("/health/ready")[0] for _ in range(8)} == {200}
    host.check_output(
        "curl --silent --fail --retry 40 --retry-delay 1 --retry-all-errors --output /dev/null http://127.0.0.1:3001/health/ready"
    )
    assert host.service("tenant-app@3001").systemd_properties["MainPID"] != before
