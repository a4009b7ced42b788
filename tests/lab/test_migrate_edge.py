"""The clients move from the old server's address to the platform and back, at work all the while."""

from __future__ import annotations

import dataclasses
import http.client
import json
import re
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.lab.edge import get
from tests.lab.eventually import eventually
from tests.lab.handle import Lab, playbook
from tests.lab.interrupted import chance, kill_at_a_task
from tests.lab.load import BESIDE_A_RUN, PATIENCE_SECONDS, Load, running_load
from tests.lab.measurements import record
from tests.lab.recap import changed_hosts
from tests.lab.target import Target
from tests.lab.unnoticed import REQUESTS, assert_nobody_noticed

OLD_SERVER = "legacy1"
OLD_APPLICATION = "tenant-app-daemon"
# Every connection ends soon, so that the clients of a server without a balancer meet its address again and again.
CLOSE_EVERY = 4


@pytest.fixture
def old(lab: Lab, target: Target) -> Target:
    """The same users at the address that they have always known."""
    url = json.loads(lab.verb("endpoints", "--json").stdout)["legacy_url"]
    return dataclasses.replace(target, base_url=url, vip=urlsplit(url).hostname)


@pytest.fixture
def old_state(lab: Lab) -> Iterator[None]:
    """The clients are on the old server before and after the story, however it ended."""
    yield
    if _traces(lab):
        print(playbook("rollback_edge.yml").stdout)


@pytest.mark.usefixtures("whole_platform", "old_state")
@pytest.mark.soak(runs=3)
def test_no_client_notices_the_move_to_the_platform_or_back(
    lab: Lab, target: Target, old: Target, instances: list[str], output: Path
) -> None:
    client = _Client(old, token=_login(old))
    uploaded_before = client.upload(b"from before")
    # One server alone has to bear it, with a playbook beside it.
    with running_load(
        old, requests=REQUESTS, rate=BESIDE_A_RUN, close_every=CLOSE_EVERY, save_to=output / "load.json"
    ) as load:
        eventually("the old server answers the load", lambda: load.result.by_instance[OLD_SERVER] > 1000, within=30)
        assert set(load.result.by_instance) == {OLD_SERVER}
        seconds = _done("migrate_edge.yml", output)
        record("migrate_edge", seconds, "s", what="clients moved to the platform: the playbook's time")
        _wait_until_answered_by(load, instances, 500)
        _wait_until_left(load, [OLD_SERVER], 800)
        for place in (old, target):
            assert _Client(place, client.token).ask("GET", "/api/me")[0] == 200
        _assert_the_application_sees_the_client(lab, client)
        uploaded_after = client.upload(b"from after")
        for place in (old, target):
            reader = _Client(place, client.token)
            assert reader.ask("GET", f"/api/uploads/{uploaded_before}") == (200, b"from before")
            assert reader.ask("GET", f"/api/uploads/{uploaded_after}") == (200, b"from after")
        # Clients who keep their connections: the relay ends each with an answer that says so.
        with running_load(old, requests=500, rate=50) as kept:
            seconds = _done("rollback_edge.yml", output)
        kept.result.assert_unharmed()
        assert kept.result.broken == 0
        record("rollback_edge", seconds, "s", what="clients given back to the old server: the playbook's time")
        _wait_until_answered_by(load, [OLD_SERVER], 500)
        _wait_until_left(load, instances, 400)
    assert client.ask("GET", f"/api/uploads/{uploaded_after}") == (200, b"from after")
    assert_nobody_noticed(load.result, "migrate_edge", "clients moved from the old server to the platform and back")
    assert not _traces(lab)


@pytest.mark.usefixtures("whole_platform", "old_state")
@pytest.mark.soak_only
def test_a_move_that_was_killed_is_made_good_by_the_next(
    lab: Lab, old: Target, instances: list[str], output: Path
) -> None:
    with running_load(
        old, requests=2_000, rate=BESIDE_A_RUN, close_every=CLOSE_EVERY, save_to=output / "load.json"
    ) as load:
        kill_at_a_task("migrate_edge.yml", by=chance(), output=output / "killed.log", among=22)
        # On whichever side of the move it was: somebody answers.
        assert _answered_by(old) in [OLD_SERVER, *instances]
        _done("migrate_edge.yml", output)
        _wait_until_answered_by(load, instances, 100)
        _wait_until_left(load, [OLD_SERVER], 400)
        again = playbook("migrate_edge.yml")
        assert OLD_SERVER not in changed_hosts(again.stdout), again.stdout
        _done("rollback_edge.yml", output)
    load.result.assert_unharmed()
    assert not _traces(lab)


@pytest.mark.usefixtures("whole_platform", "old_state")
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        # The login's answer has a text under that key as well, and it is no token of anybody's key.
        ("migrate_edge_token_key=tokenType", "the platform answered 401 to a token of the old server"),
        ("migrate_edge_login_path=/api/nothing", "answered 404 without accessToken"),
        ("migrate_edge_address=10.77.0.21", "connection refused"),
        ("migrate_edge_ca_file=/nowhere/ca.pem", "/nowhere/ca.pem does not exist"),
    ],
)
def test_clients_stay_where_the_platform_would_not_know_them(lab: Lab, broken: str, said: str) -> None:
    run = playbook("migrate_edge.yml", "--extra-vars", broken)
    assert run.returncode != 0
    assert "Nothing was changed. Mend these first:" in run.stdout
    assert said in " ".join(run.stdout.split())
    assert OLD_SERVER not in changed_hosts(run.stdout)
    assert not _traces(lab)


@pytest.mark.usefixtures("whole_platform", "old_state")
@pytest.mark.soak_only
def test_clients_that_speak_https_to_the_old_server_move_too_and_a_second_run_changes_nothing_either_way(
    lab: Lab, old: Target, instances: list[str], output: Path
) -> None:
    """A port on which nothing listens will do, since the redirect comes before; and a certificate that covers the server."""
    certificate = "/etc/ssl/escala/postgresql"
    settings = {
        "edge_relay_tls_ports": [8443],
        "edge_relay_certificate_file": f"{certificate}.crt",
        "edge_relay_certificate_key_file": f"{certificate}.key",
    }
    run = playbook("migrate_edge.yml", "--extra-vars", json.dumps(settings))
    assert run.returncode == 0, run.stdout[-3000:]
    secure = dataclasses.replace(old, base_url=f"https://{old.vip}:8443", server_name=OLD_SERVER)
    assert _answered_by(secure) in instances
    for unit in ("escala-edge-relay", "escala-edge-redirect"):
        lab.on(OLD_SERVER, f"systemd-analyze security --threshold=40 {unit}")
    assert _answered_by(old) in instances
    again = playbook("migrate_edge.yml", "--extra-vars", json.dumps(settings))
    assert OLD_SERVER not in changed_hosts(again.stdout), again.stdout
    checked = playbook("rollback_edge.yml", "--check")
    assert checked.returncode == 0
    assert OLD_SERVER in changed_hosts(checked.stdout), checked.stdout
    _done("rollback_edge.yml", output)
    for way in ([], ["--check"]):
        again = playbook("rollback_edge.yml", *way)
        assert OLD_SERVER not in changed_hosts(again.stdout), again.stdout


@pytest.mark.soak_only
@pytest.mark.usefixtures("whole_platform", "old_state")
def test_without_the_relay_the_old_server_answers_and_both_come_back(
    lab: Lab, old: Target, instances: list[str], output: Path
) -> None:
    _done("migrate_edge.yml", output)
    lab.on(OLD_SERVER, "kill -KILL $(cat /run/escala-edge-relay/nginx.pid)")
    eventually("the old server answers for its relay", lambda: _answered_by(old) == OLD_SERVER, within=1, every=0.05)
    eventually("the relay is back by itself", lambda: _answered_by(old) in instances, within=5)
    lab.on(OLD_SERVER, "systemctl restart nftables")
    eventually("the firewall's restart takes nothing away", lambda: _answered_by(old) in instances, within=2)
    lab.verb("stop", OLD_SERVER)
    lab.verb("start", OLD_SERVER)
    eventually(
        "the old address leads to the platform after a reboot", lambda: _answered_by(old) in instances, within=60
    )


@pytest.mark.usefixtures("whole_platform", "old_state")
@pytest.mark.soak_only
def test_a_port_that_was_relayed_a_moment_ago_is_answered_when_the_next_move_begins(
    lab: Lab, old: Target, instances: list[str], output: Path
) -> None:
    """As after a rollback: the kernel follows nothing, and what it still knew of the port once led another connection's answer astray."""
    _done("migrate_edge.yml", output)
    relayed = _ConnectionFrom(old)
    assert relayed.answered_by() in instances
    # No move follows another within a second. For two minutes after its end is how long the kernel would remember it of its own accord.
    eventually("the kernel forgets what has ended", lambda: relayed.port not in _followed(lab), within=5)
    lab.on(
        OLD_SERVER, "systemctl stop escala-edge-redirect escala-edge-relay && nft delete table inet escala_edge_relay"
    )
    direct = _ConnectionFrom(old, relayed.port)
    lab.on(OLD_SERVER, f"systemctl kill --signal=STOP {OLD_APPLICATION}")
    try:
        direct.ask()
        lab.on(OLD_SERVER, "systemctl start escala-edge-relay")
        assert "redirect to" in lab.on(OLD_SERVER, "nft list table inet escala_edge_relay")
    finally:
        lab.on(OLD_SERVER, f"systemctl kill --signal=CONT {OLD_APPLICATION}")
    assert direct.answered_by() == OLD_SERVER


def _followed(lab: Lab) -> set[int]:
    """The ports from which clients came to the old server's port, of all connections that its kernel remembers."""
    known = lab.on(OLD_SERVER, "cat /proc/net/nf_conntrack")
    return {int(port) for port in re.findall(r"\bsport=(\d+)", known)}


class _ConnectionFrom:
    """One connection to a place from a port of the client's choice, for one request."""

    def __init__(self, place: Target, port: int = 0) -> None:
        self._connection = http.client.HTTPConnection(
            place.vip, urlsplit(place.base_url).port, PATIENCE_SECONDS, source_address=("", port)
        )
        self._connection.connect()
        self.port = int(self._connection.sock.getsockname()[1])
        self._asked = False

    def ask(self) -> None:
        self._connection.request("GET", "/health/ready", headers={"Connection": "close"})
        self._asked = True

    def answered_by(self) -> str:
        if not self._asked:
            self.ask()
        answer = self._connection.getresponse()
        answer.read()
        self._connection.close()
        assert answer.status == 200
        return answer.headers.get("X-Served-By", "")


class _Client:
    """Plain requests of one user at one place."""

    def __init__(self, place: Target, token: str = "") -> None:
        self.place = place
        self.token = token

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Content-Type": kind} if kind else {})
        answer = get(self.place, path, 15, method=method, headers=headers, body=body)
        return answer.status, answer.read()

    def upload(self, content: bytes) -> str:
        mark = uuid.uuid4().hex
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="story.txt"\r\nContent-Type: text/plain\r\n\r\n'
        body = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
        status, said = self.ask("POST", "/api/uploads", body, f"multipart/form-data; boundary={mark}")
        assert status == 201, said
        return str(json.loads(said)["id"])


def _login(place: Target) -> str:
    body = json.dumps({"tenant": place.tenant, "email": place.email, "password": place.password}).encode()
    status, said = _Client(place).ask("POST", "/api/auth/login", body, "application/json")
    assert status == 200, said
    return str(json.loads(said)["accessToken"])


def _answered_by(place: Target) -> str:
    try:
        answer = get(place, "/health/ready", 2)
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    return answer.headers.get("X-Served-By", "") if answer.status == 200 else ""


def _assert_the_application_sees_the_client(lab: Lab, client: _Client) -> None:
    """Neither the relay's address nor a balancer's, but the one from which the request came."""
    mark = f"who-asks-{uuid.uuid4().hex}"
    answer = get(client.place, "/api/me", headers={"Authorization": f"Bearer {client.token}", "X-Request-Id": mark})
    instance = answer.headers["X-Served-By"]
    host, _, port = instance.partition("-")
    with socket.create_connection((client.place.vip, urlsplit(client.place.base_url).port), 5) as connection:
        address = connection.getsockname()[0]
    found = eventually(
        f"{instance} has logged the request",
        lambda: lab.on(
            host, f"journalctl --no-pager -o cat -u tenant-app@{port} --since -1min | grep {mark}", check=False
        ),
        within=10,
    )
    assert json.loads(found)["ip"] == address


def _traces(lab: Lab) -> str:
    """What the migration has on the old server: its units and its table."""
    return lab.on(OLD_SERVER, "ls /etc/systemd/system | grep escala-edge; nft list tables | grep escala; true")


def _done(name: str, output: Path) -> float:
    begin = time.monotonic()
    run = playbook(name)
    (output / f"{name}.log").write_text(run.stdout + run.stderr)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    return time.monotonic() - begin


def _wait_until_answered_by(load: Load, names: list[str], more: int) -> None:
    counts = load.result.by_instance
    before = {name: counts[name] for name in names}
    eventually(
        f"{', '.join(names)} answer the load",
        lambda: all(counts[name] > before[name] + more for name in names),
        within=60,
    )


def _wait_until_left(load: Load, names: list[str], requests: int) -> None:
    """Whoever has been left gets nothing of so many requests, as soon as the connections from before have ended."""
    counts = load.result.by_instance

    def left() -> bool:
        before = {name: counts[name] for name in names}
        enough = load.result.requests + requests
        eventually(f"{requests} more requests are sent", lambda: load.result.requests > enough, within=60)
        return {name: counts[name] for name in names} == before

    eventually(f"{', '.join(names)} get nothing of {requests} requests", left, within=30)
