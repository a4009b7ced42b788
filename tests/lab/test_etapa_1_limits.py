"""A client that asks for more than it may, or takes nothing of what it asked for, gets what it may; one that does not is never refused."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.lab.edge import Connection, get
from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.measurements import ENGINE
from tests.lab.target import Target
from tests.lab.test_etapa_1_throughput import BALANCER, switch

PER_SECOND, BURST = 20, 40
MODEST, GREEDY = 15, 100
CONNECTIONS = 8
CLIENT_TIMEOUT_SECONDS = 5
# Longer than a client may be silent, and shorter.
SECONDS, PAUSE_SECONDS = 8, 2
# More than the kernels on both sides keep of an answer that nobody takes.
LARGE = 8 * 2**20
FILE = "/large.bin"
# What comes beyond CONNECTIONS: a status, or an end without a word.
REFUSED = {"nginx": 429, "haproxy": None}[ENGINE]

pytestmark = [pytest.mark.either_engine, pytest.mark.usefixtures("limited", "whole_platform")]


@pytest.fixture(scope="module")
def limited(lab: Lab, target: Target) -> Iterator[None]:
    """A balancer that lets one address do little."""
    try:
        switch(
            ENGINE,
            load_balancer_requests_per_second_per_client=PER_SECOND,
            load_balancer_request_burst_per_client=BURST,
            load_balancer_connections_per_client=CONNECTIONS,
            load_balancer_client_timeout_seconds=CLIENT_TIMEOUT_SECONDS,
        )
        lab.make_holder(BALANCER, target.vip)
        yield
    finally:
        switch(ENGINE)


def statuses(target: Target, rate: float, seconds: float = SECONDS) -> Counter[int]:
    """What the requests of a while were answered, sent at a steady rate."""
    found: Counter[int] = Counter()
    connection = Connection(target, timeout=10)
    begun = time.monotonic()
    for number in range(round(rate * seconds)):
        due = begun + number / rate
        eventually("the next one is due", lambda: time.monotonic() >= due, within=5, every=0.002)  # noqa: B023  looked at at once
        connection.request("GET", "/health/live")
        answer = connection.getresponse()
        answer.read()
        found[answer.status] += 1
    connection.close()
    return found


def status(target: Target) -> int | None:
    """What a request on a connection of its own is answered; None where the balancer ends the connection without a word."""
    try:
        return get(target, "/health/live").status
    except TimeoutError:
        raise
    except OSError:
        return None


def statuses_of_another(lab: Lab, target: Target, requests: int) -> list[str]:
    """What the requests of a client with an address of its own are answered."""
    trust = f"--cacert /etc/tenant-app/files/ca.pem --resolve {target.server_name}:443:{target.vip}"
    ask = f"curl --silent --output /dev/null --write-out '%{{http_code}} ' {trust} {target.base_url}/health/live"
    return lab.on("app1", f"for number in $(seq {requests}); do {ask}; done").split()


def held(target: Target) -> Connection:
    """A connection with a request under way, of which the last byte is missing."""
    connection = Connection(target, timeout=10)
    connection.putrequest("POST", "/api/notes")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"{")
    return connection


def let_go(connection: Connection) -> int:
    """Send what is missing, and return what the request is answered."""
    with closing(connection):
        connection.send(b"}")
        return connection.getresponse().status


def test_who_holds_all_the_connections_it_may_have_is_refused_more_and_nobody_else_is(lab: Lab, target: Target) -> None:
    under_way = [held(target) for _ in range(CONNECTIONS)]
    eventually("one more is refused", lambda: status(target) == REFUSED, within=2, every=0.05)
    assert statuses_of_another(lab, target, 10) == ["200"] * 10
    assert [status(target) for _ in range(5)] == [REFUSED] * 5
    # Those within the limit were served all the while: the application has nothing against them but that they do not say who they are.
    assert let_go(under_way.pop()) == 401
    eventually("one more is served", lambda: status(target) == 200, within=2)
    assert [let_go(connection) for connection in under_way] == [401] * len(under_way)
    assert set(statuses(target, MODEST, PAUSE_SECONDS)) == {200}


@pytest.fixture
def large_answers(limited: None, whole_platform: None, lab: Lab, target: Target) -> Iterator[dict[str, dict[str, str]]]:
    """The paths of answers that a client has to take, each with the headers by which it gets them: a file of the frontend's, and an upload."""
    login = json.dumps({"tenant": target.tenant, "email": target.email, "password": target.password}).encode()
    answer = get(target, "/api/auth/login", method="POST", body=login, headers={"Content-Type": "application/json"})
    who = {"Authorization": f"Bearer {json.loads(answer.read())['accessToken']}"}
    body = b"\r\n".join(
        [
            b"--edge",
            b'Content-Disposition: form-data; name="file"; filename="large"',
            b"",
            bytes(LARGE),
            b"--edge--",
            b"",
        ]
    )
    multipart = who | {"Content-Type": "multipart/form-data; boundary=edge"}
    upload = json.loads(get(target, "/api/uploads", 30, method="POST", body=body, headers=multipart).read())
    path = f"/api/uploads/{upload['id']}"
    file = f"/srv/frontend/current/frontend{FILE}"
    lab.on(BALANCER, f"truncate --size {LARGE} {file}")
    yield {FILE: {}, path: who}
    lab.on(BALANCER, f"rm {file}")
    assert get(target, path, method="DELETE", headers=who).status == 204


def asking(target: Target, path: str, headers: dict[str, str]) -> Connection:
    """A connection on which something was asked for, and nothing was taken yet."""
    connection = Connection(target, timeout=10)
    connection.request("GET", path, headers=headers)
    return connection


def taken(connection: Connection) -> int:
    """How much of its answer there still is to be had."""
    with closing(connection):
        try:
            return len(connection.getresponse().read())
        except http.client.IncompleteRead as short:
            return len(short.partial)
        except TimeoutError:
            raise
        except OSError:
            return 0


_SETTINGS, _HEADERS, _RST_STREAM = 4, 1, 3
_WITH_ITS_END = 5
_NO_WINDOW = struct.pack(">HI", 4, 0)
_STATUS_200 = b"\x88"


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def asking_by_http_2(target: Target, path: str) -> ssl.SSLSocket:
    """A connection on which something was asked for by a client whose window lets nothing of it come."""
    context = ssl.create_default_context(cafile=target.ca_file)
    context.set_alpn_protocols(["h2"])
    plain = socket.create_connection((target.vip, 443), 10)
    tls = context.wrap_socket(plain, server_hostname=target.server_name)
    # HPACK's own table has GET and https; the names of path and authority are its fourth and first.
    texts = [(4, path.encode()), (1, target.server_name.encode())]
    head = b"\x82\x87" + b"".join(bytes([name, len(text)]) + text for name, text in texts)
    settings, request = _frame(_SETTINGS, 0, 0, _NO_WINDOW), _frame(_HEADERS, _WITH_ITS_END, 1, head)
    tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + request)
    return tls


def answered_and_ended(tls: ssl.SSLSocket) -> tuple[bool, bool]:
    """Whether the request had its 200, and whether it was then given up: its stream, or all of the connection."""
    said = b""
    answered = False
    with tls:
        while part := tls.recv(65536):
            said += part
            while len(said) >= 9 and len(said) >= (end := 9 + int.from_bytes(said[:3], "big")):
                kind, payload, said = said[3], said[9:end], said[end:]
                answered = answered or (kind == _HEADERS and payload.startswith(_STATUS_200))
                if kind == _RST_STREAM:
                    return answered, True
    return answered, True


def test_who_takes_nothing_of_its_answer_is_let_go_and_others_are_served(
    target: Target, large_answers: dict[str, dict[str, str]]
) -> None:
    silent = {path: asking(target, path, headers) for path, headers in large_answers.items()}
    by_http_2 = asking_by_http_2(target, FILE)
    assert set(statuses(target, MODEST)) == {200}
    assert {path: taken(connection) < LARGE for path, connection in silent.items()} == dict.fromkeys(silent, True)
    assert answered_and_ended(by_http_2) == (True, True)
    # Who only takes a rest gets all of it.
    resting = [asking(target, path, headers) for path, headers in large_answers.items()]
    assert set(statuses(target, MODEST, PAUSE_SECONDS)) == {200}
    assert [taken(connection) for connection in resting] == [LARGE, LARGE]


def test_who_asks_too_much_gets_what_it_may_and_429_beyond(target: Target) -> None:
    modest = statuses(target, MODEST)
    assert set(modest) == {200}, modest
    greedy = statuses(target, GREEDY)
    assert set(greedy) == {200, 429}, greedy
    allowed = PER_SECOND * SECONDS + BURST
    assert 0.7 * allowed <= greedy[200] <= 1.5 * allowed, greedy
    # What was refused is not held against it.
    again = statuses(target, MODEST)
    assert again[200] >= 0.9 * again.total(), again
