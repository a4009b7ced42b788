# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do in a child process what may hang for good: a process that waits for a storage that is away cannot always be killed, but it can be left."""

from __future__ import annotations

import json
import os
import select
import signal
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._shared_storage_round import Clock, Json, StorageError

_CHUNK = 65536
_ENDED_SECONDS = 1.0


class User(t.NamedTuple):
    """As whom something is done."""

    name: str
    uid: int
    gid: int
    groups: t.Sequence[int]


class Outcome(t.NamedTuple):
    """What a child has seen and how it ended: in the last `step` that it began, with a `problem` or with none."""

    seen: Json
    step: str
    kind: str = ""
    problem: str = ""


class Report(t.NamedTuple):
    """How a child tells as it goes: what it told before it hangs is known."""

    send: t.Callable[[Json], None]

    def step(self, name: str) -> None:
        self.send({"step": name})

    def saw(self, **what: t.Any) -> None:
        self.send({"saw": what})


Work = t.Callable[[Report], None]


def in_child(work: Work, user: t.Optional[User], limit_seconds: float, clock: Clock) -> Outcome:
    """Do the work in a process of its own, which is given up once the limit is over."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _child(work, user, writing)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        lines, ended = _listen(reading, clock.now() + limit_seconds, clock)
    finally:
        os.close(reading)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _forget(pid, clock)
    return outcome_of(lines, ended, limit_seconds)


def _child(work: Work, user: t.Optional[User], pipe: int) -> None:
    # Whoever waits for the end of the module's output must not wait for this process.
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.closerange(3, pipe)
    os.closerange(pipe + 1, os.sysconf("SC_OPEN_MAX"))
    os.umask(0o027)

    def send(message: Json) -> None:
        os.write(pipe, json.dumps(message).encode() + b"\n")

    try:
        _become(user)
        work(Report(send))
        send({"ended": True})
    except StorageError as problem:
        send({"kind": problem.kind, "problem": str(problem)})
    except Exception as error:  # noqa: BLE001  (nobody else hears what a child dies of)
        send({"kind": "error", "problem": f"the check itself failed: {type(error).__name__}: {error}"})


def _become(user: t.Optional[User]) -> None:
    if user is None or user.uid == os.geteuid():
        return
    try:
        os.setgroups(list(user.groups))
        os.setgid(user.gid)
        os.setuid(user.uid)
    except PermissionError as error:
        words = f"only root can act as the application's user {user.name}; run it with become"
        raise StorageError("user", words) from error


def _listen(pipe: int, deadline: float, clock: Clock) -> t.Tuple[t.List[Json], bool]:
    """What the child says until its end or the deadline, and whether it was the end."""
    said = b""
    while True:
        ready, _writable, _broken = select.select([pipe], [], [], max(0.0, deadline - clock.now()))
        chunk = os.read(pipe, _CHUNK) if ready else b""
        said += chunk
        if not chunk:
            return [json.loads(line) for line in said.splitlines() if line], bool(ready)


def _forget(pid: int, clock: Clock) -> None:
    """Take note of its end where that comes at once: one that hangs in the kernel ends when the storage comes back, and not before."""
    deadline = clock.now() + _ENDED_SECONDS
    while os.waitpid(pid, os.WNOHANG) == (0, 0) and clock.now() < deadline:
        clock.sleep(0.01)


def outcome_of(lines: t.Sequence[Json], ended: bool, limit_seconds: float) -> Outcome:
    """What the lines of a child say together."""
    step = next((line["step"] for line in reversed(lines) if "step" in line), "")
    seen = {name: value for line in lines for name, value in line.get("saw", {}).items()}
    last = lines[-1] if lines else {}
    if "ended" in last:
        return Outcome(seen, step)
    if "problem" in last:
        return Outcome(seen, step, last["kind"], last["problem"])
    if ended:
        return Outcome(seen, step, "error", "the check itself ended without a word; see `dmesg` on the host")
    return Outcome(seen, step, "hangs", f"no answer within {limit_seconds:g} s")
