"""The guard's doors, with real sockets and certificates: who is let in, to what, and how much of it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import stat
import threading
import time

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_guard_server import ControlServer, ask_daemon
from ansible_collections.escala.ha.plugins.module_utils._pg_peers import client_context
from tests.unit.plugins.module_utils.pg_guard_pki import Daemon, Platform, door


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    return Platform(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def daemon():
    return Daemon()


@pytest.fixture
def port(platform, daemon):
    with door(platform.identity("db1"), ["db1", "db2", "db3"], daemon.doors) as found:
        yield found


def connect(port, identity):
    """A connection that asks as whoever the identity is."""
    context = client_context(identity)
    connection = http.client.HTTPConnection("db1", port)
    connection.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 5.0), server_hostname="db1")
    return connection


def ask(connection, method, path, body=None, headers=None):
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_every_host_of_the_platform_may_read(platform, port, daemon):
    connection = connect(port, platform.identity("app1"))
    assert ask(connection, "GET", "/state") == (200, '{"version": 1}')
    assert ask(connection, "GET", "/metrics") == (200, "escala_pg_guard_joined 1\n")
    assert ask(connection, "GET", "/")[0] == 404
    assert daemon.asked == [(0, 0.0)]


def test_only_nodes_ask_for_votes(platform, port, daemon):
    assert ask(connect(port, platform.identity("app1")), "POST", "/vote", b"{}") == (
        403,
        "only nodes ask for votes\n",
    )
    assert daemon.ballots == []
    assert ask(connect(port, platform.identity("db2")), "POST", "/vote", b'{"a": 1}') == (200, '{"granted": true}')
    assert daemon.ballots == [{"a": 1}]


def test_there_is_no_other_way_to_post_and_no_command_by_the_network(platform, port, daemon):
    connection = connect(port, platform.identity("db2"))
    for path in ("/command", "/state", "/vote/", "/vote?x=1"):
        assert ask(connection, "POST", path, b'{"verb": "fence"}')[0] == 404
    assert (daemon.ballots, daemon.commands) == ([], [])


@pytest.mark.parametrize(
    "length", [str((1 << 16) + 1), "", "-1", "abc", "1e3", "\N{SUPERSCRIPT TWO}", "9" * 5000, "0" * 5000]
)
def test_a_body_without_a_length_or_over_the_limit_is_refused_unread(platform, port, daemon, length):
    connection = connect(port, platform.identity("db2"))
    connection.putrequest("POST", "/vote")
    connection.putheader("Content-Length", length)
    connection.endheaders()
    assert connection.getresponse().status == 413
    assert daemon.ballots == []


def test_after_a_refused_body_the_connection_is_over_so_that_it_is_no_next_question(platform, port, daemon):
    connection = connect(port, platform.identity("db2"))
    stray = b"GET /state HTTP/1.1\r\nHost: db1\r\n\r\n"
    connection.sock.sendall(b"POST /vote HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + stray)
    answers = b""
    while True:
        try:
            part = connection.sock.recv(4096)
        except ConnectionError:
            break
        if not part:
            break
        answers += part
    assert answers.count(b"HTTP/1.1 ") == 1
    assert daemon.asked == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("no ballot"), 400), (OSError("disk full"), 503), (TimeoutError("the WAL receiver still runs"), 503)],
)
def test_a_vote_that_was_not_given_is_no_200(platform, port, daemon, error, status):
    daemon.error = error
    assert ask(connect(port, platform.identity("db2")), "POST", "/vote", b"{}") == (status, f"{error}\n")


def test_a_body_that_is_no_json_is_the_askers_fault(platform, port, daemon):
    assert ask(connect(port, platform.identity("db2")), "POST", "/vote", b"{")[0] == 400
    assert daemon.ballots == []


def test_one_who_waits_is_answered_when_something_changes(platform, port, daemon):
    connection = connect(port, platform.identity("db2"))
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(ask(connection, "GET", "/state?after=1&wait=2")))
    began = time.monotonic()
    waiter.start()
    while not daemon.asked:
        pass
    daemon.change()
    waiter.join(5.0)
    assert answers == [(200, '{"version": 2}')]
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("after=7&wait=0.01", (7, 0.01)),
        ("wait=3600", (0, 2.0)),
        ("wait=-1", (0, 0.0)),
        ("wait=inf", (0, 2.0)),
        ("wait=nan", (0, 0.0)),
        ("after=7&wait=-inf", (7, 0.0)),
        ("after=x&wait=1", (0, 0.0)),
        ("wait=", (0, 0.0)),
    ],
)
def test_nobody_waits_for_longer_than_the_guard_allows(platform, port, daemon, query, asked):
    assert ask(connect(port, platform.identity("db2")), "GET", f"/state?{query}")[0] == 200
    assert daemon.asked == [asked]


def refused(port, context):
    """Whether nobody gets an answer with this."""
    try:
        raw = socket.create_connection(("127.0.0.1", port), 5.0)
        with raw, context.wrap_socket(raw, server_hostname="db1") as tls:
            tls.sendall(b"GET /state HTTP/1.1\r\nHost: db1\r\n\r\n")
            return tls.recv(1) == b""
    except OSError:
        return True


def test_without_a_certificate_of_the_platform_there_is_no_answer(platform, port, daemon, tmp_path):
    nobody = ssl.create_default_context(cafile=platform.authority.file)
    nobody.verify_flags &= ~ssl.VERIFY_X509_STRICT
    assert refused(port, nobody)
    foreign = Platform(tmp_path).identity("db2")
    stranger = ssl.create_default_context(cafile=platform.authority.file)
    stranger.verify_flags &= ~ssl.VERIFY_X509_STRICT
    stranger.load_cert_chain(foreign.certificate_file, foreign.key_file)
    assert refused(port, stranger)
    old = client_context(platform.identity("db2"))
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert refused(port, old)
    assert daemon.asked == []


def test_one_who_says_nothing_keeps_nobody_else_away(platform, port):
    with socket.create_connection(("127.0.0.1", port), 5.0):
        assert ask(connect(port, platform.identity("db2")), "GET", "/state")[0] == 200


def test_a_renewed_certificate_is_served_without_a_restart(platform, daemon):
    identity = platform.identity("db1")
    with door(identity, ["db2"], daemon.doors) as port:
        assert ask(connect(port, platform.identity("db2")), "GET", "/state")[0] == 200
        before = connect(port, platform.identity("db2")).sock.getpeercert()["serialNumber"]
        platform.identity("db1")
        os.utime(identity.certificate_file, ns=(1, 1))
        assert connect(port, platform.identity("db2")).sock.getpeercert()["serialNumber"] != before


def test_a_server_without_its_certificate_does_not_begin(platform, daemon, tmp_path):
    identity = platform.identity("db1")._replace(key_file=str(tmp_path / "nowhere"))
    with pytest.raises(OSError, match="nowhere"), door(identity, [], daemon.doors):
        pass


@pytest.fixture
def control(tmp_path, daemon):
    path = str(tmp_path / "control.sock")
    server = ControlServer(path, daemon.doors)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True).start()
    yield path
    server.shutdown()
    server.server_close()


def test_the_operators_socket_is_for_root_alone(control):
    assert stat.S_IMODE(os.stat(control).st_mode) == 0o600


def test_an_operator_gets_an_answer_for_a_question(control, daemon):
    assert ask_daemon(control, {"verb": "status"}, 5.0) == {"ok": True, "reason": "done"}
    assert daemon.commands == [{"verb": "status"}]


@pytest.mark.parametrize("error", [ValueError("the verbs are status"), OSError("disk full")], ids=str)
def test_a_refusal_is_an_answer_with_the_reason(control, daemon, error):
    daemon.error = error
    assert ask_daemon(control, {"verb": "x"}, 5.0) == {"ok": False, "reason": str(error)}


@pytest.mark.parametrize("line", [b"\n", b"nonsense\n", b'{"verb":\n'])
def test_what_is_no_json_is_refused_and_the_next_is_answered(control, daemon, line):
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(control)
        channel.sendall(line)
        assert json.loads(channel.makefile().readline())["ok"] is False
    assert daemon.commands == []
    assert ask_daemon(control, {}, 5.0)["ok"] is True


def test_the_socket_of_a_former_guard_is_replaced(control, daemon):
    successor = Daemon()
    server = ControlServer(control, successor.doors)
    threading.Thread(target=server.handle_request, daemon=True).start()
    assert ask_daemon(control, {"verb": "status"}, 5.0)["ok"] is True
    assert (len(successor.commands), daemon.commands) == (1, [])
    server.server_close()


def test_without_a_guard_there_is_no_answer(tmp_path):
    with pytest.raises(FileNotFoundError):
        ask_daemon(str(tmp_path / "nowhere"), {}, 1.0)
