import socket
import ssl
import threading

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _load_balancer_edge as edge
from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint, Response

REQUIRED = ["Referrer-Policy", "X-Content-Type-Options", "X-Frame-Options"]
GOOD = {
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "server": "nginx",
}


def faults(hsts_seconds=31536000, **changes):
    headers = {**GOOD, **{name.replace("_", "-"): value for name, value in changes.items()}}
    answer = Response(200, {name: value for name, value in headers.items() if value is not None}, b"")
    return edge.header_faults(answer, REQUIRED, hsts_seconds)


def test_good_headers_have_no_fault():
    assert faults() == []
    assert faults(x_frame_options=None, content_security_policy="frame-ancestors 'none'") == []
    assert faults(hsts_seconds=0, strict_transport_security=None) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"x_content_type_options": None}, "no X-Content-Type-Options"),
        ({"strict_transport_security": None}, "no Strict-Transport-Security"),
        ({"strict_transport_security": "max-age=60"}, "Strict-Transport-Security for 60 s, limit is 31536000 s"),
        ({"server": "nginx/1.26.3"}, "Server says nginx/1.26.3"),
    ],
)
def test_a_fault_is_named(changes, fault):
    assert faults(**changes) == [fault]


def test_each_place_is_judged():
    answers = {"/": Response(200, GOOD, b""), "/health/ready": Response(200, {}, b"")}
    verdict = edge.judge_headers(answers, REQUIRED, 1)
    assert verdict["reason"].startswith(
        "/health/ready: no Referrer-Policy, no X-Content-Type-Options, no X-Frame-Options"
    )
    assert edge.judge_headers({"/": Response(200, GOOD, b"")}, REQUIRED, 1)["passed"]


def test_one_kind_of_request_that_is_served_fails_the_check():
    assert edge.judge_strangers({"TLS": "", "HTTP": ""})["passed"]
    verdict = edge.judge_strangers({"TLS": "", "HTTP": "answered 308 to https://unknown-name.invalid/"})
    assert verdict["reason"].startswith("HTTP: answered 308 to https://unknown-name.invalid/, expected a refusal")
    assert verdict["evidence"]["requests"]["TLS"] == "refused"


@pytest.fixture
def answering():
    """A server that says one thing to whoever connects, and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))
    said = []

    def serve():
        while True:
            try:
                connection, _peer = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(said[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield said, Endpoint("127.0.0.1", listener.getsockname()[1], "app.example.com", 2)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"", ""),
        (b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n", ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "answered 200"),
        (b"HTTP/1.1 308 X\r\nLocation: https://x/\r\nContent-Length: 0\r\n\r\n", "answered 308 to https://x/"),
    ],
)
def test_a_client_error_and_a_closed_connection_are_refusals(answering, said, fault):
    replies, endpoint = answering
    replies.append(said)
    assert edge.request_for_a_stranger(endpoint, "/", tls=False) == fault


def test_a_handshake_that_is_refused_is_no_fault(answering):
    replies, endpoint = answering
    # The alert "unrecognized_name".
    replies.append(bytes([0x15, 3, 3, 0, 2, 2, 112]))
    assert edge.handshake_for_a_stranger(endpoint) == ""


def test_nobody_there_is_no_refusal():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gone = Endpoint("127.0.0.1", port, "app.example.com", 1)
    verdict = edge.check_strangers(gone, gone, "/")
    assert not verdict["passed"]
    assert "connection refused" in verdict["reason"]
    assert not edge.check_headers(gone, ["/"], REQUIRED, 1)["passed"]
    assert issubclass(ssl.SSLError, OSError)
