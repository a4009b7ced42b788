"""A drain is done, seen and refused as it should be, with either engine."""

import json
import socket
import threading
from pathlib import Path

import pytest

from ansible_collections.escala.ha.plugins.module_utils._load_balancer_drain import (
    DrainError,
    Haproxy,
    Nginx,
    Pace,
    ask_socket,
    bring,
    parse_servers,
)
from ansible_collections.escala.ha.plugins.module_utils._load_balancer_state import Backend

RECORDINGS = Path(__file__).parent / "recordings"
ONE, TWO = "app1-3001", "app2-3001"


class Time:
    def __init__(self):
        self.now = 0.0
        self.then = lambda: None

    def sleep(self, seconds):
        self.now += seconds
        self.then()

    def pace(self, timeout_seconds=5):
        return Pace(timeout_seconds, lambda: self.now, self.sleep)


class Platform:
    """An engine that does what it is told one moment later."""

    def __init__(self, time, **states):
        self.states = {name.replace("_", "-"): state for name, state in states.items()}
        self.intended = {name for name, state in self.states.items() if state == "drained"}
        self.requests = 0
        self.broken = None
        time.then = self.moment

    def moment(self):
        self.requests = max(0, self.requests - 1)
        for name, state in self.states.items():
            if name in self.intended:
                self.states[name] = "drained"
            elif state == "drained":
                self.states[name] = "up"

    def look(self):
        if self.broken:
            raise self.broken
        return [Backend(name, None, None, state, state == "up", "", 0.0) for name, state in self.states.items()]

    def drained(self):
        return set(self.intended)

    def drain(self, names, away):
        self.intended = self.intended | set(names) if away else self.intended - set(names)

    def in_flight(self, _names):
        return self.requests


@pytest.fixture
def time():
    return Time()


def test_a_backend_is_drained_when_the_balancer_says_so(time):
    platform = Platform(time, app1_3001="up", app2_3001="up")
    platform.requests = 3
    done = bring([ONE], True, platform, time.pace())
    assert (done.changed, done.in_flight) == ([ONE], 0)
    assert [one.state for one in done.backends] == ["drained", "up"]


def test_what_is_so_already_is_no_change(time):
    platform = Platform(time, app1_3001="drained", app2_3001="up")
    assert bring([ONE], True, platform, time.pace()).changed == []
    assert bring([TWO], False, platform, time.pace()).changed == []


def test_it_comes_back_and_is_seen_in_rotation(time):
    platform = Platform(time, app1_3001="drained", app2_3001="up")
    done = bring([ONE, TWO], False, platform, time.pace())
    assert (done.changed, done.in_flight) == ([ONE], None)
    assert all(one.in_rotation for one in done.backends)


def test_the_last_one_is_not_drained_and_the_others_are_named_with_their_state(time):
    platform = Platform(time, app1_3001="up", app2_3001="down")
    with pytest.raises(DrainError, match=r"app1-3001 stays: .* app2-3001 is down\. Bring another one back first"):
        bring([ONE], True, platform, time.pace())
    assert platform.intended == set()
    with pytest.raises(DrainError, match="there is no other"):
        bring([ONE, TWO], True, platform, time.pace())


def test_check_mode_refuses_too_and_does_nothing(time):
    platform = Platform(time, app1_3001="up", app2_3001="up")
    assert bring([ONE], True, platform, time.pace(), check_mode=True).changed == [ONE]
    assert platform.intended == set()
    platform.states[TWO] = "down"
    with pytest.raises(DrainError, match="stays"):
        bring([ONE], True, platform, time.pace(), check_mode=True)


def test_an_instance_that_is_not_ready_does_not_become_active(time):
    platform = Platform(time, app1_3001="down", app2_3001="up")
    with pytest.raises(DrainError, match="app1-3001 not in rotation after 5 s: app1-3001 is down"):
        bring([ONE], False, platform, time.pace())
    assert time.now >= 5


def test_requests_that_outlast_the_wait_are_counted_and_do_not_fail(time):
    platform = Platform(time, app1_3001="up", app2_3001="up")
    platform.requests = 1000
    assert bring([ONE], True, platform, time.pace()).in_flight > 900


def test_a_name_that_the_balancer_does_not_know_is_refused(time):
    with pytest.raises(DrainError, match=r"app9-3001 is not among the balancer's backends \(app1-3001\)"):
        bring(["app9-3001"], True, Platform(time, app1_3001="up"), time.pace())


def test_a_balancer_that_cannot_be_asked_is_said_in_words(time):
    platform = Platform(time, app1_3001="up")
    platform.broken = ConnectionRefusedError()
    with pytest.raises(DrainError, match="cannot be asked: connection refused"):
        bring([ONE], True, platform, time.pace())


def test_nginx_s_list_is_replaced_whole_and_keeps_what_others_drained(tmp_path):
    file = tmp_path / "drained.json"
    nginx = Nginx(lambda: "", str(file))
    assert nginx.drained() == set()
    nginx.drain([TWO], True)
    nginx.drain([ONE], True)
    assert json.loads(file.read_text()) == [ONE, TWO]
    assert file.stat().st_mode & 0o777 == 0o644
    nginx.drain([TWO], False)
    assert nginx.drained() == {ONE}
    assert nginx.in_flight([ONE]) is None
    assert [path.name for path in tmp_path.iterdir()] == ["drained.json"]
    file.write_text("half a lis")
    assert nginx.drained() == set()


class Socket:
    """HAProxy's answers as they were recorded, and what it was told."""

    def __init__(self, version):
        self.version = version
        self.told = []
        self.answer = "\n"

    def __call__(self, command):
        if command == "show servers state":
            return (RECORDINGS / f"haproxy_{self.version}_servers_state.txt").read_text()
        if command == "show stat":
            return (RECORDINGS / f"haproxy_{self.version}.csv").read_text()
        self.told.append(command)
        return self.answer


@pytest.mark.parametrize("version", ["2.6", "3.0"])
def test_haproxy_is_told_by_its_socket(version):
    ask = Socket(version)
    haproxy = Haproxy(ask, lambda: 100.0)
    assert haproxy.drained() == {ONE}
    assert [one.name for one in haproxy.look()] == ["app1-3001", "app1-3002", "app2-3001", "app2-3002"]
    haproxy.drain(["app2-3001"], True)
    haproxy.drain([ONE], False)
    # The unchecked pool of last resort keeps every server, and one that only follows another needs no word of its own.
    assert ask.told == ["set server app/app2-3001 state drain", f"set server app/{ONE} state ready"]
    assert haproxy.in_flight([ONE]) == 0


def test_the_last_server_of_another_pool_is_left_in():
    servers = "1\n# be_name srv_name srv_op_state srv_admin_state\napp a 2 0\napp b 2 0\nupload a 2 0\n"
    told = []

    def ask(command):
        if command.startswith("show"):
            return servers
        told.append(command)
        return ""

    Haproxy(ask, lambda: 0.0).drain(["a"], True)
    servers += "upload b 2 0\n"
    Haproxy(ask, lambda: 0.0).drain(["a"], True)
    assert told == ["set server app/a state drain"] * 2 + ["set server upload/a state drain"]


def test_what_haproxy_refuses_is_passed_on():
    ask = Socket("3.0")
    ask.answer = "No such server.\n"
    with pytest.raises(DrainError, match=r"does not take app/app2-3001: No such server\."):
        Haproxy(ask, lambda: 0.0).drain([TWO], True)


def test_a_socket_of_another_kind_is_a_problem():
    with pytest.raises(ValueError, match="does not list its servers: Permission denied"):
        parse_servers("Permission denied\n")


def test_the_socket_is_read_to_its_end(tmp_path):
    path = str(tmp_path / "admin.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer():
            connection, _peer = listener.accept()
            with connection:
                connection.sendall(connection.recv(100).upper() * 1000)

        thread = threading.Thread(target=answer)
        thread.start()
        assert ask_socket(path, "ab") == "AB\n" * 1000
        thread.join()
