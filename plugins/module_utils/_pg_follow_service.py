# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service escala-pg-follow: asks the data nodes' guards all the time, and has the PgBouncer beside it follow what they say."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils import _pgbouncer_sockets as sockets
from ansible_collections.escala.ha.plugins.module_utils._pg_follow import (
    WRITER,
    Config,
    Counters,
    Course,
    change_line,
    config_from,
    course_from,
    databases_text,
    document,
    host,
    judge,
    knows,
    metrics_text,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_peers import Identity, Peer
from ansible_collections.escala.ha.plugins.module_utils._pg_state import Heard, NodeState, state_from
from ansible_collections.escala.ha.plugins.module_utils._pgbouncer import (
    Console,
    ConsoleError,
    Server,
    parse_databases,
    parse_servers,
)

# A guard whose state changes all the time is not asked more often than this.
_LEAST_PAUSE_SECONDS = 0.1
# How long connections to hosts that are gone are looked for after a change: one may be under way that no list shows yet.
_CUT_SECONDS = 5.0
_WRITE_EVERY_SECONDS = 5.0
_RETRY_SECONDS = 0.5
_PAUSE_SECONDS = 0.05


class Listener:
    """Asks one node's guard, in a thread of its own, and tells when there is news."""

    def __init__(self, peer: Peer, poll_seconds: float, news: threading.Event) -> None:
        self.peer = peer
        self._poll_seconds = poll_seconds
        self._news = news
        # One tuple, so that a reader in another thread finds both parts of one answer.
        self._last: t.Tuple[t.Optional[NodeState], float] = (None, time.monotonic())

    def heard(self, now: float) -> Heard:
        state, at = self._last
        return Heard(state, max(0.0, now - at))

    def start(self) -> None:
        threading.Thread(target=self._run, name=self.peer.name, daemon=True).start()

    def _run(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                state = state_from(self.peer.state(wait_seconds=self._poll_seconds))
            except (OSError, ValueError):
                pause = self._poll_seconds
            else:
                # The answer says what is so when it is sent, however long it was waited for.
                self._last = (state, time.monotonic())
                pause = _LEAST_PAUSE_SECONDS
                self._news.set()
            time.sleep(max(0.0, begun + pause - time.monotonic()))


class Pooler:
    """The PgBouncer beside us. What it does not take is in `problem`, and tried again."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.problem: t.Optional[str] = None
        self.cut = 0
        self._loaded = ""
        self._paused: t.Set[str] = set()
        self._holding = False
        self._cut_until = 0.0
        self._retry_at = 0.0
        self._held_file = os.path.join(os.path.dirname(config.state_file), "held")

    def adopt(self) -> None:
        """What the follower before this one held back is ours to let go."""
        with contextlib.suppress(FileNotFoundError), open(self._held_file, encoding="utf-8") as file:
            self._paused = set(file.read().split())

    def steer(self, course: Course, gone: t.Collection[str], now: float) -> None:
        """Have PgBouncer as the course says; `gone` are addresses that no longer serve at all."""
        text = databases_text(course, self.config)
        held = course.served.held
        as_held = self._holding if held else not (self._holding or self._paused)
        idle = text == self._loaded and as_held and now >= self._cut_until
        if idle or now < self._retry_at:
            return
        with self._trying(now):
            if held and not self._holding:
                self._hold()
            if text != self._loaded:
                self._load(text)
                self._cut_until = now + _CUT_SECONDS
            if now < self._cut_until:
                self._cut(course, gone)
            if (self._holding or self._paused) and not held:
                self._let_go()

    def let_go(self, now: float) -> None:
        """Nobody waits for a follower that hears nobody: what the one before it held back goes on where it was sent last."""
        if self._paused and now >= self._retry_at:
            with self._trying(now):
                self._let_go()

    @contextlib.contextmanager
    def _trying(self, now: float) -> t.Iterator[None]:
        """What PgBouncer does not take is said in `problem`, and left alone for a while."""
        try:
            yield
        except (ConsoleError, OSError, ValueError) as error:
            self.problem = str(error)
            self._retry_at = now + _RETRY_SECONDS
        else:
            self.problem = None

    def _console(self) -> Console:
        return Console(self.config.socket_directory, self.config.port)

    def _now_paused(self) -> t.Set[str]:
        with self._console() as console:
            return {found.name for found in parse_databases(console.ask("SHOW DATABASES")) if found.paused}

    def _load(self, text: str) -> None:
        path = self.config.databases_file
        if _read(path) != text:
            _replace(path, text, 0o640)
        with self._console() as console:
            console.ask("RELOAD")
        self._loaded = text

    def _hold(self) -> None:
        """Have clients wait before their next transaction, and remember which databases an operator did not pause before us."""
        names = {pooled.name for pooled in self.config.databases if pooled.to == WRITER}
        missing = names - self._now_paused()
        ours = missing | self._paused
        if ours != self._paused:
            # Before it is so, for whoever comes after us must know.
            _replace(self._held_file, " ".join(sorted(ours)), 0o644)
            self._paused = ours
        for name in sorted(missing):
            with self._console() as asking:
                asking.begin(f'PAUSE "{name}"')
                # It answers when the last transaction is over, which at a server that hangs is never; it holds back at once.
                with contextlib.suppress(ConsoleError):
                    asking.end(_PAUSE_SECONDS)
        self._holding = True

    def _let_go(self) -> None:
        names = self._paused & self._now_paused()
        with self._console() as console:
            for name in sorted(names):
                console.ask(f'RESUME "{name}"')
        self._paused, self._holding = set(), False
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._held_file)

    def release(self) -> None:
        """Nobody waits for a follower that is stopped."""
        if self._paused:
            with contextlib.suppress(ConsoleError, ValueError):
                self._let_go()

    def _cut(self, course: Course, gone: t.Collection[str]) -> None:
        wanted: t.Dict[str, t.Tuple[str, t.Optional[str]]] = {}
        for pooled in self.config.databases:
            node = host(pooled, course, self.config)
            wanted[pooled.name] = (pooled.to, node.address if node else None)
        with self._console() as console:
            servers = parse_servers(console.ask("SHOW SERVERS"))
        for server in servers:
            to, right = wanted.get(server.database, ("", server.address))
            if server.local_port and server.address != right and (to == WRITER or server.address in gone):
                self._end(_connection(server))
        everywhere = {right for _to, right in wanted.values()}
        # A connection that is only being made has no local address in that list, and keeps PgBouncer from making another.
        for node in self.config.all_nodes:
            if node.address in gone and node.address not in everywhere:
                for connection in sockets.connections(node.address, node.port):
                    if connection.uid == os.getuid():
                        self._end(connection)

    def _end(self, connection: sockets.Connection) -> None:
        if sockets.destroy(connection):
            self.cut += 1


class Follower:
    """One run of the program."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.news = threading.Event()
        identity = Identity(config.ca_file, config.certificate_file, config.key_file)
        self.listeners = {
            node.name: Listener(
                Peer(node.name, node.address, node.guard_port, identity, config.request_timeout_seconds),
                config.poll_seconds,
                self.news,
            )
            for node in config.all_nodes
        }
        self.pooler = Pooler(config)
        self.course = course_from(_read(config.state_file), config)
        self._counters = Counters()
        self._written_at = 0.0
        self._said: t.Optional[str] = None

    def start(self) -> None:
        self.pooler.adopt()
        for listener in self.listeners.values():
            listener.start()

    def round(self) -> None:
        """Judge what was heard, and have it so."""
        now = time.monotonic()
        heard = {name: listener.heard(now) for name, listener in self.listeners.items()}
        before, self.course = self.course, judge(self.course, heard, self.config, now)
        line = change_line(before, self.course)
        if line:
            _say(line)
        # Until then the file that is there is the best that is known.
        if knows(self.course, heard, self.config):
            gone = {node.address for node in self.config.all_nodes if _is_gone(heard[node.name], self.config)}
            self.pooler.steer(self.course, gone, now)
        elif not self.course.served.held:
            self.pooler.let_go(now)
        if self.pooler.problem != self._said:
            self._said = self.pooler.problem
            _say(f"<3>PgBouncer: {self._said}" if self._said else "<6>PgBouncer took what it was told")
        if line:
            self._counters = Counters(self._counters.changes + 1, self.pooler.cut, time.time())
        if line or now - self._written_at >= _WRITE_EVERY_SECONDS:
            self._write(heard)
            self._written_at = now

    def _write(self, heard: t.Mapping[str, Heard]) -> None:
        self._counters = self._counters._replace(cut=self.pooler.cut)
        found = document(self.course, heard, self.pooler.problem, time.time())
        said = self.course.served
        writer, readers = said.target
        _replace(self.config.state_file, json.dumps(found, indent=1) + "\n", 0o644)
        names = [node.name for node in self.config.all_nodes]
        metrics = metrics_text(self.course, heard, self.pooler.problem, self._counters, names)
        _replace(self.config.metrics_file, metrics, 0o644)
        _notify(
            "WATCHDOG=1",
            f"STATUS=writes to {writer or 'nowhere'}, reads to one of {', '.join(readers) or 'nowhere'}: {said.reason}",
        )


def _is_gone(one: Heard, config: Config) -> bool:
    """Whether a node serves neither writes nor reads: its PostgreSQL is down or hangs, or nobody there answers."""
    return one.state is None or one.age_seconds >= config.silent_seconds or one.state.role not in ("primary", "standby")


def _connection(server: Server) -> sockets.Connection:
    return sockets.Connection(server.local_address, server.local_port, server.address, server.port, os.getuid())


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def _replace(path: str, text: str, mode: int) -> None:
    """Write the file so that whoever reads it finds it whole; raises OSError."""
    draft = f"{path}.new"
    with open(draft, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def _say(line: str) -> None:
    """To the journal, which reads the level from the beginning of the line."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _notify(*words: str) -> None:
    listener = os.environ.get("NOTIFY_SOCKET", "")
    if listener:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto("\n".join(words).encode(), listener.replace("@", "\0", 1))


def main(arguments: t.Sequence[str]) -> int:
    """Run until SIGTERM; SIGHUP has the program start anew in the same process. With --check only the configuration is read."""
    only_check = arguments[:1] == ["--check"]
    path = arguments[-1]
    try:
        config = config_from(_content(path))
    except (OSError, ValueError, TypeError) as error:
        _say(f"<3>{path} cannot be used: {error}")
        return 78
    if only_check:
        return 0
    follower = Follower(config)
    came: t.List[int] = []

    def note(number: int, _frame: object) -> None:
        came.append(number)
        follower.news.set()

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, note)
    follower.start()
    _notify("READY=1", "STATUS=asking who is primary")
    while not came:
        follower.news.wait(config.poll_seconds)
        follower.news.clear()
        follower.round()
    if came[0] == signal.SIGHUP:
        os.execv(sys.executable, [sys.executable, "-I", *sys.argv])  # noqa: S606  this very program, by its full path
    follower.pooler.release()
    _notify("STOPPING=1")
    return 0


def _content(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
