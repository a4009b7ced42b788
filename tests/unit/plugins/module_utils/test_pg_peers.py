"""How a guard is asked: within its time, by its name, over a connection that is kept and made anew when it must be."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_peers import Peer, read_states, server_context
from tests.unit.plugins.module_utils.pg_guard_pki import Daemon, Platform, door


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    return Platform(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def daemon():
    return Daemon()


@pytest.fixture
def port(platform, daemon):
    with door(platform.identity("db1"), ["db2"], daemon.doors) as found:
        yield found


def ask_once(platform, port):
    return Peer("db1", "127.0.0.1", port, platform.identity("db2"), 1.0).state()


@pytest.fixture
def peer(platform, port):
    with contextlib.closing(Peer("db1", "127.0.0.1", port, platform.identity("db2"), 2.0)) as found:
        yield found


def test_a_state_is_read_and_the_next_question_waits_for_another(peer, daemon):
    assert peer.state() == {"version": 1}
    assert peer.state(0.01) == {"version": 1}
    daemon.change()
    assert peer.state(2.0) == {"version": 2}
    assert daemon.asked == [(0, 0.0), (1, 0.01), (1, 2.0)]


def test_a_ballot_is_given_and_answered(peer, daemon):
    assert peer.post("/vote", {"candidate": "db2"}) == {"granted": True}
    assert daemon.ballots == [{"candidate": "db2"}]


@pytest.mark.parametrize("error", [ValueError("no ballot"), OSError("disk full")], ids=str)
def test_whatever_the_reason_there_is_no_answer_it_is_an_oserror(peer, daemon, error):
    daemon.error = error
    with pytest.raises(OSError, match="db1 answers"):
        peer.post("/vote", {})
    assert peer.state() == {"version": 1}


def test_one_connection_serves_for_many_questions(peer):
    peer.state()
    first = peer._connection.sock
    peer.post("/vote", {})
    peer.state()
    assert peer._connection.sock is first


def test_a_guard_that_is_not_there_is_no_answer(platform):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        ask_once(platform, port)


def test_another_name_than_the_one_that_is_asked_is_no_answer(platform, port):
    with pytest.raises(OSError, match="certificate"):
        Peer("db3", "127.0.0.1", port, platform.identity("db2"), 1.0).state()


def test_a_guard_of_another_platform_is_no_answer(platform, daemon, tmp_path):
    foreign = Platform(tmp_path).identity("db1")
    with door(foreign, [], daemon.doors) as port, pytest.raises(OSError, match="certificate"):
        ask_once(platform, port)
    assert daemon.asked == []


@pytest.fixture
def mute():
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_guard_that_says_nothing_is_given_up_in_time(platform, mute):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        Peer("db1", "127.0.0.1", mute, platform.identity("db2"), 0.05).state()
    assert time.monotonic() - began < 1.0


def test_a_guard_that_hangs_after_the_handshake_is_given_up_in_time(platform, peer, daemon):
    peer.timeout_seconds = 0.05
    release = threading.Event()
    daemon.vote = lambda _body: release.wait(5.0)
    peer.state()
    with pytest.raises(OSError, match="timed out"):
        peer.post("/vote", {})
    release.set()


@contextlib.contextmanager
def speaker(platform, *answers):
    """A server of the platform that answers each question of a connection with prepared bytes, then ends it."""
    context = server_context(platform.identity("db1"))

    def serve(listener):
        with contextlib.suppress(OSError):
            for connection in answers:
                with context.wrap_socket(listener.accept()[0], server_side=True) as tls:
                    for answer in connection:
                        tls.recv(65536)
                        tls.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5.0)


def http(body, extra=""):
    return f"HTTP/1.1 200 OK\r\n{extra}Content-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        http("no json"),
        http("[1]"),
        http('{"a": ' + " " * (1 << 20) + "1}"),
        http('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"version": 1',
        b"",
    ],
    ids=["no http", "no json", "no object", "too long", "too deep", "cut off", "nothing"],
)
def test_what_answers_otherwise_than_a_guard_does_is_no_answer(platform, answer):
    with speaker(platform, [answer], [answer]) as port, pytest.raises(OSError, match=r"."):
        ask_once(platform, port)


def test_a_kept_connection_that_ended_is_made_anew_and_the_question_asked_again(platform):
    with speaker(platform, [http('{"version": 1}')], [http('{"version": 2}')]) as port:
        peer = Peer("db1", "127.0.0.1", port, platform.identity("db2"), 1.0)
        assert [peer.state()["version"], peer.state()["version"]] == [1, 2]
        peer.close()


def test_a_new_connection_that_ends_is_not_tried_again_at_once(platform):
    with speaker(platform, [], [http('{"version": 2}')]) as port:
        peer = Peer("db1", "127.0.0.1", port, platform.identity("db2"), 1.0)
        with pytest.raises(OSError, match=r"."):
            peer.state()
        assert peer.state() == {"version": 2}
        peer.close()


def test_a_renewed_certificate_is_used_by_the_next_connection(platform, port, tmp_path):
    mine = Platform(tmp_path).identity("db2")._replace(ca_file=platform.authority.file)
    peer = Peer("db1", "127.0.0.1", port, mine, 2.0)
    with pytest.raises(OSError, match=r"."):
        peer.state()
    with open(platform.identity("db2").certificate_file, "rb") as renewed, open(mine.certificate_file, "wb") as file:
        file.write(renewed.read())
    os.utime(mine.certificate_file, ns=(1, 1))
    assert peer.state() == {"version": 1}
    peer.close()


def test_all_are_asked_at_once_and_who_does_not_answer_is_none(platform, port, mute):
    identity = platform.identity("db2")
    peers = [Peer("db1", "127.0.0.1", port, identity, 1.0), Peer("db3", "127.0.0.1", mute, identity, 0.05)]
    assert read_states(peers) == {"db1": {"version": 1}, "db3": None}
    assert read_states([]) == {}


def test_without_its_certificate_nobody_asks(platform, port):
    identity = platform.identity("db2")._replace(key_file="/nowhere/key")
    with pytest.raises(FileNotFoundError):
        Peer("db1", "127.0.0.1", port, identity, 1.0).state()


def test_a_guard_that_closes_after_its_answer_is_entered_anew(platform):
    with speaker(platform, [http('{"version": 1}', "Connection: close\r\n")], [http('{"version": 2}')]) as port:
        peer = Peer("db1", "127.0.0.1", port, platform.identity("db2"), 1.0)
        assert peer.state() == {"version": 1}
        assert peer._connection.sock is None
        assert peer.state() == {"version": 2}
        peer.close()


@pytest.mark.parametrize("version", [None, "7", 7.5, [], {}])
def test_a_version_that_is_no_number_is_none_that_is_known(peer, daemon, version):
    daemon.version = version
    assert peer.state() == {"version": version}
    peer.state(0.01)
    assert daemon.asked == [(0, 0.0), (0, 0.01)]
