"""What the QEMU guest agent of a virtual machine is asked, over its socket: files to read and commands to run, without the host's network."""

import base64
import json
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.errors import LabError
from lab.shell import ticks

# The agent ends what it was saying at this byte, so that half an answer to somebody before is told from one to us.
_SENTINEL = b"\xff"
_READ_BYTES = 2**16
_MONITOR_SECONDS = 5
# What QEMU's command line calls the agent's socket.
LABEL = "agent"


def listens(monitor: Path) -> bool:
    """Whether the agent has opened its end, by QEMU's monitor, which answers at once however busy the host is."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_MONITOR_SECONDS)
            connection.connect(str(monitor))
            with connection.makefile("rb") as heard:
                for what in ("qmp_capabilities", "query-chardev"):
                    connection.sendall(json.dumps({"execute": what}).encode() + b"\n")
                # A greeting, the first command's empty answer and events come before the answer that is a list.
                answers = (json.loads(line).get("return") for line in heard)
                devices = next(answer for answer in answers if isinstance(answer, list))
    except (OSError, StopIteration):
        return False
    return any(device["label"] == LABEL and device["frontend-open"] for device in devices)


class GuestAgent:
    """A conversation with one agent; LabError when it says nothing within the patience."""

    def __init__(self, host: str, path: Path, patience_seconds: float) -> None:
        """Name the host, for what is said when its agent is silent, and the agent's socket."""
        self._host = host
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(patience_seconds)
        self._heard = b""

    def __enter__(self) -> Self:
        """Connect, and leave behind what was meant for others."""
        try:
            self._reach()
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make room for the next: the socket serves one at a time."""
        self._socket.close()

    def ask(self, what: str, **arguments: Any) -> Any:
        """One command of the agent's protocol, and what it returns."""
        self._say(what, arguments)
        return self._answer(self._until(b"\n"))

    def read(self, file: str) -> str:
        """The text of a file that may be one of /proc."""
        handle = self.ask("guest-file-open", path=file)
        parts = []
        while True:
            part = self.ask("guest-file-read", handle=handle, count=_READ_BYTES)
            parts.append(base64.b64decode(part["buf-b64"]))
            if part["eof"] or not part["count"]:
                break
        self.ask("guest-file-close", handle=handle)
        return b"".join(parts).decode(errors="replace")

    def execute(self, argv: list[str], limit_seconds: float) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        started = self.ask("guest-exec", **{"path": argv[0], "arg": argv[1:], "capture-output": True})
        for _ in ticks(limit_seconds, step_seconds=0.05):
            status = self.ask("guest-exec-status", pid=started["pid"])
            if status["exited"]:
                out, err = (
                    base64.b64decode(status.get(name, "")).decode(errors="replace") for name in ("out-data", "err-data")
                )
                return subprocess.CompletedProcess(
                    argv, status.get("exitcode", 128 + status.get("signal", 0)), out, err
                )
        raise LabError(f"{self._host}: `{' '.join(argv)}` has not ended after {limit_seconds:.0f} s")

    def tell(self, what: str, **arguments: Any) -> None:
        """One command that the agent does not answer."""
        self._say(what, arguments)

    def _reach(self) -> None:
        try:
            self._socket.connect(str(self._path))
        except OSError as error:
            raise self._silent(error) from error
        self._say("guest-sync-delimited", {"id": id(self)}, before=_SENTINEL)
        self._until(_SENTINEL)
        self._answer(self._until(b"\n"))

    def _say(self, what: str, arguments: dict[str, Any], before: bytes = b"") -> None:
        try:
            self._socket.sendall(before + json.dumps({"execute": what, "arguments": arguments}).encode() + b"\n")
        except OSError as error:
            raise self._silent(error) from error

    def _until(self, end: bytes) -> bytes:
        while end not in self._heard:
            try:
                more = self._socket.recv(_READ_BYTES)
            except OSError as error:
                raise self._silent(error) from error
            if not more:
                raise self._silent(EOFError("it hung up"))
            self._heard += more
        said, _, self._heard = self._heard.partition(end)
        return said

    def _answer(self, line: bytes) -> Any:
        answer = json.loads(line)
        if "error" in answer:
            raise LabError(f"{self._host}: its guest agent refuses: {answer['error'].get('desc')}")
        return answer["return"]

    def _silent(self, error: Exception) -> LabError:
        return LabError(
            f"{self._host}'s guest agent does not answer ({error}); `python3 -m lab kill {self._host}` and `start` boot it anew"
        )
