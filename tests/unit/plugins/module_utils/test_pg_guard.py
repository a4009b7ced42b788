"""The program: its verbs, its exit statuses, and what it tells systemd."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_guard as guard
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_control import children
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_server import ControlServer
from tests.unit.plugins.module_utils.pg_guard_pki import Daemon
from tests.unit.plugins.module_utils.pg_guard_world import POSTGRESQL, VALUES, write_control


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The path of a configuration whose data directory is ours."""
    (tmp_path / "main" / "pg_wal").mkdir(parents=True)
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr(guard, "MEMORY_DIRECTORY", str(tmp_path / "memory"))
    monkeypatch.setattr(guard, "CONTROL_SOCKET", str(tmp_path / "control.sock"))
    values = {**VALUES, "postgresql": {**POSTGRESQL, "data_directory": str(tmp_path / "main")}}
    (tmp_path / "pg-guard.json").write_text(json.dumps(values))
    return str(tmp_path / "pg-guard.json")


@pytest.fixture
def daemon(file):
    found = Daemon()
    server = ControlServer(guard.CONTROL_SOCKET, found.doors)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def test_a_good_configuration_is_checked_in_silence(file, capsys):
    assert guard.main(["--config", file, "check"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("content", ["", "{}", "[1]", json.dumps({**VALUES, "witnesses": [1]}), None])
def test_a_configuration_that_cannot_be_used_is_exit_status_78_for_systemd_not_to_try_again(file, capsys, content):
    if content is None:
        os.unlink(file)
    else:
        with open(file, "w", encoding="utf-8") as target:
            target.write(content)
    for verb in ("check", "run", "gate", "status"):
        assert guard.main(["--config", file, verb]) == 78
    assert f"{file} cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [[], ["promote"], ["handover"], ["handover", "--to"], ["degrade"], ["degrade", "--without"], ["fence", "x"]],
)
def test_what_is_no_verb_or_lacks_its_node_does_nothing(words, capsys):
    with pytest.raises(SystemExit) as ended:
        guard.main(words)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("words", "question"),
    [
        (["status"], {"verb": "status", "to": None}),
        (["validate"], {"verb": "validate", "to": None}),
        (["fence"], {"verb": "fence", "to": None}),
        (["handover", "--to", "db2"], {"verb": "handover", "to": "db2"}),
        (["degrade", "--without", "db2", "db3"], {"verb": "degrade", "to": ["db2", "db3"]}),
    ],
)
def test_a_verb_is_asked_of_the_running_guard_and_the_reason_printed(file, daemon, capsys, words, question):
    assert guard.main(["--config", file, *words]) == 0
    assert daemon.commands == [question]
    assert capsys.readouterr().out == "done\n"


def test_a_refusal_is_exit_status_1_with_its_reason(file, daemon, capsys):
    daemon.error = ValueError("db2 does not stream from db1")
    assert guard.main(["--config", file, "handover", "--to", "db2"]) == 1
    assert capsys.readouterr().out == "db2 does not stream from db1\n"


def test_the_state_is_printed_whole_in_one_line(file, daemon, capsys):
    daemon.command = lambda _question: {"ok": True, "reason": "fine", "state": {"role": "standby"}}
    assert guard.main(["--config", file, "status", "--json"]) == 0
    assert capsys.readouterr().out == '{"role": "standby"}\n'


def test_without_a_guard_it_is_exit_status_2(file, capsys):
    assert guard.main(["--config", file, "validate"]) == 2
    assert "no guard answers" in capsys.readouterr().err


def test_an_answer_that_is_cut_off_is_no_yes(file, daemon):
    daemon.command = lambda _question: {}
    assert guard.main(["--config", file, "validate"]) == 1


def test_the_gate_answers_by_its_exit_status(file, tmp_path):
    assert guard.main(["--config", file, "gate"]) == 1
    write_control(tmp_path / "main")
    assert guard.main(["--config", file, "gate"]) == 0
    assert (tmp_path / "main" / "standby.signal").exists()
    (tmp_path / "memory" / "promise.json").write_text("{")
    assert guard.main(["--config", file, "gate"]) == 1


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """What systemd is told."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(str(tmp_path / "notify"))
    channel.settimeout(2.0)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with channel:
        yield channel


def test_systemd_is_told_of_each_round_and_of_a_reason_only_when_it_is_another(systemd):
    alive = guard._Alive()
    for reason in ("standby of db2", "standby of db2", "there is no primary"):
        alive(reason)
    assert [systemd.recv(1024).decode() for _round in range(3)] == [
        "WATCHDOG=1\nSTATUS=standby of db2",
        "WATCHDOG=1",
        "WATCHDOG=1\nSTATUS=there is no primary",
    ]


@pytest.mark.parametrize("listener", ["", "/nowhere/notify", "@escala-nobody-listens"])
def test_without_systemd_nothing_is_told_and_nothing_fails(monkeypatch, listener):
    monkeypatch.setenv("NOTIFY_SOCKET", listener)
    guard.notify("READY=1")


def test_an_abstract_socket_is_reached(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0escala-test-{os.getpid()}")
        channel.settimeout(2.0)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@escala-test-{os.getpid()}")
        guard.notify("READY=1")
        assert channel.recv(64) == b"READY=1"


def test_what_a_process_began_is_killed_with_its_own_children_and_the_process_is_not():
    script = "(sleep 60; :) & echo; wait; read forever"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        try:
            parent.stdout.readline()
            [child] = children(parent.pid)
            guard.end_children(parent.pid)
            assert children(child) == []
            assert parent.poll() is None
        finally:
            guard.end_children(parent.pid)
            parent.kill()


@pytest.mark.parametrize(
    ("name", "content"), [("promise.json", "{"), ("quorum.json", "[1]"), ("joined.json", "\x00"), ("promise.json", "")]
)
def test_a_guard_that_cannot_read_what_it_promised_does_not_begin_to_vote(
    file, tmp_path, monkeypatch, capsys, name, content
):
    monkeypatch.setattr(guard.signal, "pthread_sigmask", lambda *_mask: None)
    monkeypatch.setattr(guard, "HttpsServer", None)
    (tmp_path / "memory" / name).write_text(content)
    assert guard.main(["--config", file, "run"]) == 78
    assert "it must not vote" in capsys.readouterr().err


class EndedError(Exception):
    """Stands for the end of this process."""


@pytest.fixture
def service(monkeypatch):
    """The service, with everything that it begins written down."""
    did = []

    class Part:
        def __init__(self, *_arguments):
            pass

        node = ballots = vote = command = document = None

        def serve_forever(self, **_options):
            pass

        def run(self, _alive):
            pass

    Part.node = Part()

    def ends(what):
        def end(*_arguments):
            did.append(what)
            raise EndedError

        return end

    for name in ("Guard", "Verbs", "HttpsServer", "ControlServer"):
        monkeypatch.setattr(guard, name, Part)
    monkeypatch.setattr(guard, "notify", lambda *words: did.extend(words))
    monkeypatch.setattr(guard, "end_children", lambda _parent: did.append("children end"))
    monkeypatch.setattr(
        guard.signal,
        "pthread_sigmask",
        lambda how, _mask: did.append("signals wait" if how == signal.SIG_BLOCK else "signals are caught"),
    )
    monkeypatch.setattr(guard.os, "_exit", ends("exit"))
    monkeypatch.setattr(guard.os, "execv", ends("begins anew"))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield did
    signal.set_wakeup_fd(-1)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "rest"),
    [
        (signal.SIGTERM, ["STOPPING=1", "exit"]),
        (signal.SIGINT, ["STOPPING=1", "exit"]),
        # What was begun is ended first: it would go on beside the one that begins it again.
        (signal.SIGHUP, ["signals wait", "children end", "begins anew"]),
    ],
)
def test_the_service_is_ready_once_it_listens_and_ends_or_begins_anew_by_a_signal(
    file, service, monkeypatch, number, rest
):
    def notify(*words):
        service.extend(words)
        if "READY=1" in words:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(guard, "notify", notify)
    with pytest.raises(EndedError):
        guard.main(["--config", file, "run"])
    assert service == ["signals are caught", "READY=1", *rest]
