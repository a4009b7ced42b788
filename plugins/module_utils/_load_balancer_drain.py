# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take backends out of a balancer's rotation and put them back, and see that it is so, with either engine."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._http import problem
from ansible_collections.escala.ha.plugins.module_utils._load_balancer_state import (
    POOL,
    UP,
    Backend,
    fetch_status,
    parse_haproxy,
    parse_nginx,
)

DRAINED_FILE = "/var/lib/escala-backend-health/drained.json"
ADMIN_SOCKET = "/run/haproxy/admin.sock"

# HAProxy's numbers in `show servers state`.
_RUNNING = 2
_FORCED_DRAIN, _FORCED_MAINTENANCE = 0x08, 0x01
# Servers that nothing checks, for the moment in which the pool has none left.
_LAST_RESORT = "_last_resort"


class DrainError(Exception):
    """What was asked for cannot be had, and why."""


class Engine(t.Protocol):
    """One balancer, whichever program it is."""

    def look(self) -> t.List[Backend]:
        """Every instance as it is now; raises OSError or ValueError when that cannot be had."""

    def drained(self) -> t.Set[str]:
        """The names that are to get nothing new, in rotation or not."""

    def drain(self, names: t.Collection[str], away: bool) -> None:
        """Take these out, or put them back; it may take a moment until that is so."""

    def in_flight(self, names: t.Collection[str]) -> t.Optional[int]:
        """How many requests they are still at, or None where the engine cannot tell."""


class Pace(t.NamedTuple):
    """How long to wait for what was asked for."""

    timeout_seconds: float
    clock: t.Callable[[], float]
    sleep: t.Callable[[float], None]


class Outcome(t.NamedTuple):
    """What came of it; `in_flight` is None where nobody can tell."""

    changed: t.List[str]
    backends: t.List[Backend]
    in_flight: t.Optional[int]


class Nginx:
    """nginx, whose list of servers is written by the checker beside it."""

    def __init__(self, status: t.Callable[[], str], file: str = DRAINED_FILE) -> None:
        self._status = status
        self._file = file

    def look(self) -> t.List[Backend]:
        return parse_nginx(self._status(), 0.0).backends

    def drained(self) -> t.Set[str]:
        try:
            with open(self._file, encoding="utf-8") as file:
                return set(json.load(file))
        except (FileNotFoundError, ValueError):
            return set()

    def drain(self, names: t.Collection[str], away: bool) -> None:
        wanted = self.drained() | set(names) if away else self.drained() - set(names)
        handle, draft = tempfile.mkstemp(dir=os.path.dirname(self._file), prefix=".drained-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(sorted(wanted), file)
            os.chmod(draft, 0o644)
            os.replace(draft, self._file)
        except BaseException:
            os.unlink(draft)
            raise

    def in_flight(self, _names: t.Collection[str]) -> t.Optional[int]:
        return None


class Server(t.NamedTuple):
    """One line of `show servers state`."""

    pool: str
    name: str
    running: bool
    drained: bool
    forced: int


def parse_servers(text: str) -> t.List[Server]:
    """The servers of every backend; raises ValueError when it is not that."""
    lines = text.strip().splitlines()
    if len(lines) < 2 or not lines[1].startswith("# "):
        raise ValueError(f"HAProxy does not list its servers: {text.strip()[:100] or 'it said nothing'}")
    names = lines[1][2:].split()
    rows = [dict(zip(names, line.split())) for line in lines[2:] if line.strip()]
    return [
        Server(
            pool=row["be_name"],
            name=row["srv_name"],
            running=int(row["srv_op_state"]) == _RUNNING,
            drained=int(row["srv_admin_state"]) != 0,
            forced=int(row["srv_admin_state"]) & (_FORCED_DRAIN | _FORCED_MAINTENANCE),
        )
        for row in rows
    ]


class Haproxy:
    """HAProxy, by its admin socket."""

    def __init__(self, ask: t.Callable[[str], str], now: t.Callable[[], float]) -> None:
        self._ask = ask
        self._now = now

    def _servers(self) -> t.List[Server]:
        return parse_servers(self._ask("show servers state"))

    def look(self) -> t.List[Backend]:
        return parse_haproxy(self._ask("show stat"), self._now()).backends

    def drained(self) -> t.Set[str]:
        return {server.name for server in self._servers() if server.pool == POOL and server.drained}

    def drain(self, names: t.Collection[str], away: bool) -> None:
        for server in self._servers():
            if server.name in names and (self._may_go(server, names) if away else server.forced):
                said = self._ask(f"set server {server.pool}/{server.name} state {'drain' if away else 'ready'}")
                if said.strip():
                    raise DrainError(f"HAProxy does not take {server.pool}/{server.name}: {said.strip()}")

    def _may_go(self, server: Server, names: t.Collection[str]) -> bool:
        """In a pool that only some instances serve, such as the one for uploads, the last one stays: it drains as it is stopped."""
        if server.pool == POOL:
            return True
        if server.pool.endswith(_LAST_RESORT):
            return False
        return any(
            other.pool == server.pool and other.name not in names and other.running and not other.drained
            for other in self._servers()
        )

    def in_flight(self, names: t.Collection[str]) -> t.Optional[int]:
        rows = _statistics(self._ask("show stat"))
        return sum(int(row["scur"] or 0) for row in rows if row["pxname"] == POOL and row["svname"] in names)


def _statistics(text: str) -> t.Iterator[t.Dict[str, str]]:
    lines = text.strip().splitlines()
    names = lines[0].lstrip("# ").split(",")
    return (dict(zip(names, line.split(","))) for line in lines[1:])


def ask_socket(path: str, command: str, timeout_seconds: float = 5) -> str:
    """One command to HAProxy's admin socket; raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_seconds)
        connection.connect(path)
        connection.sendall(f"{command}\n".encode())
        parts: t.List[bytes] = []
        while True:
            part = connection.recv(65536)
            if not part:
                return b"".join(parts).decode("utf-8", "replace")
            parts.append(part)


def engine_from(options: t.Mapping[str, t.Any], now: t.Callable[[], float]) -> Engine:
    """The engine that the options of load_balancer_backend name."""
    if options["engine"] == "haproxy":
        return Haproxy(lambda command: ask_socket(options["socket"], command), now)
    return Nginx(lambda: fetch_status("nginx", options["address"], options["port"], 3), options["drained_file"])


def bring(names: t.Sequence[str], away: bool, engine: Engine, pace: Pace, check_mode: bool = False) -> Outcome:
    """Have the names drained, or in rotation again, and return when that is so; raises DrainError when it cannot be."""
    try:
        before = engine.look()
        drained = engine.drained()
        _refuse_strangers(names, before)
        todo = [name for name in names if (name in drained) != away]
        if todo and away:
            _refuse_the_last(todo, before, drained)
        if check_mode:
            return Outcome(todo, before, None)
        if todo:
            engine.drain(todo, away)
    except (OSError, ValueError) as error:
        raise DrainError(f"the balancer cannot be asked: {_words(error)}") from error
    backends = _wait(names, away, engine, pace)
    return Outcome(todo, backends, _wait_for_requests(names, engine, pace) if away else None)


def _refuse_strangers(names: t.Sequence[str], backends: t.Sequence[Backend]) -> None:
    there = [backend.name for backend in backends]
    strangers = [name for name in names if name not in there]
    if strangers:
        raise DrainError(
            f"{', '.join(strangers)} is not among the balancer's backends ({', '.join(there)});"
            " name it as it is there, or run the etapa's playbook first"
        )


def _refuse_the_last(names: t.Collection[str], backends: t.Sequence[Backend], drained: t.Collection[str]) -> None:
    others = [backend for backend in backends if backend.name not in names]
    if any(other.in_rotation and other.state == UP and other.name not in drained for other in others):
        return
    why = "; ".join(str(other) for other in others) or "there is no other"
    raise DrainError(
        f"{', '.join(names)} stays: without it no instance would be left in rotation: {why}. Bring another one back first"
    )


def _wait(names: t.Sequence[str], away: bool, engine: Engine, pace: Pace) -> t.List[Backend]:
    deadline = pace.clock() + pace.timeout_seconds
    while True:
        try:
            backends = engine.look()
            left = [one for one in backends if one.name in names and (one.in_rotation if away else not _serves(one))]
            if not left:
                return backends
            last = "; ".join(str(one) for one in left)
        except (OSError, ValueError) as error:
            last = _words(error)
        if pace.clock() >= deadline:
            wanted = "out of rotation" if away else "in rotation"
            raise DrainError(f"{', '.join(names)} not {wanted} after {pace.timeout_seconds:g} s: {last}")
        pace.sleep(0.2)


def _serves(backend: Backend) -> bool:
    return backend.in_rotation and backend.state == UP


def _wait_for_requests(names: t.Sequence[str], engine: Engine, pace: Pace) -> t.Optional[int]:
    """Wait for what is under way, and return what is left: an upload or a WebSocket may well outlast any wait."""
    deadline = pace.clock() + pace.timeout_seconds
    while True:
        try:
            count = engine.in_flight(names)
        except (OSError, ValueError) as error:
            raise DrainError(f"the balancer cannot be asked: {_words(error)}") from error
        if not count or pace.clock() >= deadline:
            return count
        pace.sleep(0.2)


def _words(error: Exception) -> str:
    return problem(error) if isinstance(error, OSError) else str(error)
