from __future__ import annotations

import errno
import os
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils import _preflight_host as host

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0BB9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0100007F:20D4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0
   2: 0B004D0A:0BB9 01004D0A:EBF2 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0
   3: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 444 1 0 100 0 0 10 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:0BBA 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 555 1 0 100 0 0 10 0
"""
FIB = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 10.77.0.0/24 2 0 2
        |-- 10.77.0.0
           /24 link UNICAST
        |-- 10.77.0.11
           /32 host LOCAL
        |-- 10.77.0.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
"""
QUIET = host.Questions((), (), (), (), (), None, None, 0.2)


@pytest.fixture
def root(tmp_path):
    """A host as its files show it."""

    def write(name, text):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("etc/os-release", 'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="13"\n')
    write("proc/meminfo", "MemTotal:       24684084 kB\nMemFree:        23114192 kB\n")
    write("proc/net/tcp", TCP)
    write("proc/net/tcp6", TCP6)
    write("proc/net/fib_trie", FIB)
    write("proc/net/if_inet6", "00000000000000000000000000000001 01 80 10 80       lo\n")
    write("sys/class/net/eth0/address", "02:00:00:00:00:01\n")
    for pid, program, unit, inode in (
        ("7", "node", "tenant-app@3001.service", 111),
        ("8", "nginx", "nginx.service", 222),
    ):
        write(f"proc/{pid}/comm", f"{program}\n")
        write(f"proc/{pid}/cgroup", f"9:name=systemd:/\n0::/system.slice/system-x.slice/{unit}\n")
        (tmp_path / "proc" / pid / "fd").mkdir()
        (tmp_path / "proc" / pid / "fd" / "5").symlink_to(f"socket:[{inode}]")
    return tmp_path


def test_a_host_is_seen_by_its_files(root):
    seen = host.observe(QUIET._replace(ports=[3001, 3002, 8404]), str(root))
    assert (seen["system"], seen["memory_mib"], seen["time_daemon"]) == ("Debian 13", 24105, None)
    assert seen["addresses"] == ["10.77.0.11", "127.0.0.1", "::1"]
    assert seen["interfaces"] == {"eth0": "02:00:00:00:00:01"}
    assert seen["listeners"] == [
        {"address": "0.0.0.0", "port": 3001, "program": "node", "unit": "tenant-app@3001.service"},  # noqa: S104
        {"address": "::", "port": 3002, "program": None, "unit": None},
        {"address": "127.0.0.1", "port": 8404, "program": "nginx", "unit": "nginx.service"},
    ]
    assert seen["clock"]["begun"] <= seen["clock"]["ended"]


def test_what_cannot_be_seen_is_none(tmp_path):
    seen = host.observe(QUIET, str(tmp_path))
    unseen = ["addresses", "interfaces", "memory_mib", "system", "time_daemon", "virtual_address"]
    assert sorted(name for name, value in seen.items() if value is None) == unseen
    assert seen["listeners"] == []


def test_a_process_that_has_just_ended_is_passed_over(root):
    (root / "proc" / "9").mkdir()
    assert host.listeners(str(root / "proc"), [3001])[0]["program"] == "node"


def test_the_program_that_keeps_the_clock_is_found(root):
    (root / "proc/7/comm").write_text("systemd-timesyn\n")
    assert host.time_daemon(str(root / "proc")) == "systemd-timesyn"


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ('ID=debian\nVERSION_ID="12"', "Debian 12"),
        ("ID=ubuntu\nVERSION_ID='24.04'", "Ubuntu 24.04"),
        ("ID=debian\nVERSION_CODENAME=forky", "Debian forky"),
        ("ID=arch", "Arch of no version"),
    ],
)
def test_a_system_has_a_name_and_a_version(text, system):
    assert host.system_from(text) == system


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("0::/system.slice/ssh.service\n", "ssh.service"),
        ("1:name=systemd:/user.slice/session-3.scope\n1:cpu:/\n", "session-3.scope"),
        ("0::/\n", None),
        ("", None),
    ],
)
def test_a_process_belongs_to_a_unit(text, unit):
    assert host.unit_from(text) == unit


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_read_as_the_kernel_writes_it(address):
    (word,) = struct.unpack("=I", address.packed)
    assert host.address_from(f"{word:08X}") == str(address)


def test_an_ipv4_address_in_the_table_of_ipv6_is_one():
    words = struct.unpack("=4I", bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1]))
    assert host.address_from("".join(f"{word:08X}" for word in words)) == "192.0.2.1"


def test_this_host_s_own_listener_is_seen():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (seen,) = host.listeners("/proc", [port])
        assert (seen["address"], seen["port"]) == ("127.0.0.1", port)
        assert seen["program"]


def test_a_disk_that_is_not_there_yet_is_looked_at_where_it_will_be(tmp_path):
    there, later = host.disk(str(tmp_path)), host.disk(str(tmp_path / "not" / "yet"))
    assert (later["device"], later["path"]) == (there["device"], str(tmp_path / "not" / "yet"))
    assert there["free_mib"] > 0
    assert there["read_only"] is False


def test_a_disk_that_does_not_answer_is_unknown(monkeypatch):
    def broken(_path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(host.os, "statvfs", broken)
    assert host.disk("/") == {"path": "/", "device": None, "free_mib": None, "read_only": False}


def test_a_name_resolves_or_says_why_not(monkeypatch):
    assert "127.0.0.1" in host.resolve("localhost")["addresses"]
    assert host.resolve("a" * 70 + ".example")["problem"]

    def unknown(*_arguments, **_more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(host.socket, "getaddrinfo", unknown)
    assert host.resolve("db.example.com") == {"addresses": [], "problem": "Name or service not known"}
    assert host.addresses_of(["db.example.com"]) == {"db.example.com": []}


def test_what_listens_and_what_refuses_can_both_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert host.problem_reaching("127.0.0.1", port, 1) is None
    assert host.problem_reaching("127.0.0.1", port, 1) is None


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (TimeoutError("timed out"), "no answer within 1 s"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "No route to host"),
    ],
)
def test_what_does_not_answer_cannot_be_reached(monkeypatch, error, problem):
    def fails(*_arguments):
        raise error

    monkeypatch.setattr(host.socket, "create_connection", fails)
    assert host.problem_reaching("192.0.2.21", 3001, 1) == problem


def test_a_call_that_hangs_keeps_no_other_from_being_heard():
    hanging = threading.Event()
    try:
        assert host.together({"quick": lambda: 1, "slow": hanging.wait}, 0.1) == {"quick": 1}
    finally:
        hanging.set()


def test_what_is_late_is_said_to_be(monkeypatch):
    hanging = threading.Event()
    monkeypatch.setattr(host, "resolve", lambda _name: hanging.wait())
    monkeypatch.setattr(host, "problem_reaching", lambda *_target: hanging.wait())
    target = {"name": "app1", "address": "192.0.2.21", "port": 3001}
    try:
        seen = host.observe(QUIET._replace(names=["x"], reach=[target], timeout_seconds=0.1))
    finally:
        hanging.set()
    assert seen["names"] == {"x": {"addresses": [], "problem": "no answer within 0.1 s"}}
    assert seen["reach"] == [{**target, "problem": "no answer within 0.1 s"}]


def test_a_peer_that_answers_a_ping_is_reached_without_tcp(monkeypatch):
    monkeypatch.setattr(host, "problem_reaching", lambda *_target: "no answer within 1 s")
    monkeypatch.setattr(host, "answers_ping", lambda *_target: True)
    target = {"name": "lb2", "address": "192.0.2.2", "port": 22, "ping": True}
    assert host.observe(QUIET._replace(reach=[target]))["reach"] == [{**target, "problem": None}]


def _sum_of_words(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return (total & 0xFFFF) + (total >> 16)


@given(st.integers(0, 0xFFFF))
def test_an_echo_request_sums_up_as_it_must(pid):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(host.os, "getpid", lambda: pid)
        assert _sum_of_words(host.echo_request()) in (0, 0xFFFF)


def _echo(identity=None, kind=0):
    return (
        b"\x45"
        + bytes(19)
        + struct.pack("!BBHHH", kind, 0, 0, os.getpid() & 0xFFFF if identity is None else identity, 0)
    )


@pytest.mark.parametrize(
    ("packet", "sender", "good"),
    [
        (_echo(), "192.0.2.2", True),
        (_echo(), "192.0.2.3", False),
        (_echo(identity=(os.getpid() + 1) & 0xFFFF), "192.0.2.2", False),
        (_echo(kind=3), "192.0.2.2", False),
        (_echo()[:22], "192.0.2.2", False),
    ],
)
def test_only_the_peer_s_answer_to_this_process_is_an_echo(packet, sender, good):
    assert host.is_echo((packet, (sender, 0)), "192.0.2.2") is good


def test_without_the_right_to_ping_nothing_answers(monkeypatch):
    def forbidden(*_arguments):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(host.socket, "socket", forbidden)
    assert host.answers_ping("192.0.2.2", 1) is False
    assert host.who_answers("192.0.2.100", "eth0", 1) == {"answers": [], "problem": "Operation not permitted"}


ME, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000099")


def arp_reply(address="192.0.2.100", kind=2):
    head = ME + OTHER + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, kind)
    return head + OTHER + socket.inet_aton(address) + ME + bytes(4)


def test_a_question_comes_from_nobody_s_address():
    question = host.arp_question(ME, "192.0.2.100")
    assert (len(question), question[:6], question[6:12]) == (42, b"\xff" * 6, ME)
    assert (question[28:32], question[38:42]) == (bytes(4), socket.inet_aton("192.0.2.100"))


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (arp_reply(), "02:00:00:00:00:99"),
        (arp_reply(address="192.0.2.101"), None),
        (arp_reply(kind=1), None),
        (arp_reply()[:30], None),
        (host.arp_question(ME, "192.0.2.100"), None),
    ],
)
def test_only_a_reply_for_the_address_is_an_answer(frame, answer):
    assert host.arp_answer(frame, "192.0.2.100") == answer


@given(st.binary(max_size=80))
def test_any_frame_can_be_read(frame):
    assert host.arp_answer(frame, "192.0.2.100") is None or len(frame) >= 42


class Link:
    """A network interface on which somebody answers every question."""

    def __init__(self, *frames):
        self.frames = list(frames)
        self.sent = []

    def getsockname(self):
        return ("eth0", 0x0806, 0, 1, ME)

    def send(self, frame):
        self.sent.append(frame)

    def settimeout(self, _seconds):
        pass

    def recv(self, _size):
        if not self.frames:
            raise TimeoutError
        return self.frames.pop(0)


def test_everybody_who_answers_is_heard(monkeypatch):
    ticks = iter(number / 10 for number in range(100))
    monkeypatch.setattr(host.time, "monotonic", lambda: next(ticks))
    link = Link(arp_reply(), arp_reply(address="192.0.2.101"), arp_reply().replace(OTHER, ME))
    assert host._arp_answers(link, "192.0.2.100", 1) == ["02:00:00:00:00:01", "02:00:00:00:00:99"]
    assert link.sent


def test_files_are_there_or_not(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/one").write_text("")
    seen = host.observe(QUIET._replace(files=["/etc/one", "/etc/other"]), str(tmp_path))
    assert seen["files"] == {"/etc/one": True, "/etc/other": False}
