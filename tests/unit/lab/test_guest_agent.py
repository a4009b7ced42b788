from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.errors import LabError
from lab.guest_agent import GuestAgent, listens

Answers = dict[str, list[Any]]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[[Answers], GuestAgent]]:
    """An agent that gives these answers to each command, in turn, and begins with the rest of what it said to somebody before."""
    listening = socket.socket(socket.AF_UNIX)
    path = tmp_path / "agent.sock"
    listening.bind(str(path))
    listening.listen()
    threads = []

    def serve(answers: Answers) -> None:
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as heard:
            for line in heard:
                words = json.loads(line.lstrip(b"\xff"))
                if words["execute"] == "guest-sync-delimited":
                    number = words["arguments"]["id"]
                    connection.sendall(
                        b'{"return": {"old": 1}}\n\xff' + json.dumps({"return": number}).encode() + b"\n"
                    )
                elif words["execute"] in answers:
                    connection.sendall(json.dumps(answers[words["execute"]].pop(0)).encode() + b"\n")

    def started(answers: Answers) -> GuestAgent:
        thread = threading.Thread(target=serve, args=(answers,))
        thread.start()
        threads.append(thread)
        return GuestAgent("nas1", path, 0.2)

    yield started
    for thread in threads:
        thread.join()
    listening.close()


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_file_is_read_to_its_end(agent: Callable[[Answers], GuestAgent]) -> None:
    parts = [
        {"return": {"count": 2, "buf-b64": coded(text), "eof": end}} for text, end in (("ab", False), ("cd", True))
    ]
    answers = {"guest-file-open": [{"return": 1000}], "guest-file-read": parts, "guest-file-close": [{"return": {}}]}
    with agent(answers) as asked:
        assert asked.read("/proc/net/tcp") == "abcd"


def test_a_command_is_waited_for_and_its_status_handed_through(agent: Callable[[Answers], GuestAgent]) -> None:
    ended = {"exited": True, "exitcode": 3, "out-data": coded("out"), "err-data": coded("err")}
    answers = {
        "guest-exec": [{"return": {"pid": 7}}],
        "guest-exec-status": [{"return": {"exited": False}}, {"return": ended}],
    }
    with agent(answers) as asked:
        done = asked.execute(["/bin/false"], limit_seconds=5)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out", "err")


def test_a_command_that_a_signal_ended_has_not_succeeded(agent: Callable[[Answers], GuestAgent]) -> None:
    answers = {"guest-exec": [{"return": {"pid": 7}}], "guest-exec-status": [{"return": {"exited": True, "signal": 9}}]}
    with agent(answers) as asked:
        assert asked.execute(["/bin/true"], limit_seconds=5).returncode == 137


def test_a_refusal_is_told_in_the_agents_words(agent: Callable[[Answers], GuestAgent]) -> None:
    with (
        agent({"guest-file-open": [{"error": {"class": "GenericError", "desc": "no such file"}}]}) as asked,
        pytest.raises(LabError, match="nas1: its guest agent refuses: no such file"),
    ):
        asked.read("/nothing")


def test_a_silent_agent_is_not_waited_for_for_good(agent: Callable[[Answers], GuestAgent]) -> None:
    with (
        agent({}) as asked,
        pytest.raises(LabError, match="nas1's guest agent does not answer .*timed out.* kill nas1"),
    ):
        asked.ask("guest-ping")


def test_a_machine_that_is_off_has_no_agent(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="nas1's guest agent does not answer"), GuestAgent("nas1", tmp_path / "none", 1):
        pass


@pytest.mark.parametrize("there", [True, False])
def test_the_monitor_says_whether_the_agent_is_there(tmp_path: Path, there: bool) -> None:
    said: list[Any] = [
        {"QMP": {"version": {}}},
        {"return": {}},
        {"event": "VSERPORT_CHANGE", "data": {}},
        {"return": [{"label": "console", "frontend-open": True}, {"label": "agent", "frontend-open": there}]},
    ]
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "monitor.sock"))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in said))
                while connection.recv(1000):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        assert listens(tmp_path / "monitor.sock") is there
        thread.join()


def test_a_machine_without_a_monitor_has_no_agent(tmp_path: Path) -> None:
    assert not listens(tmp_path / "monitor.sock")
