# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speak with PgBouncer's admin console through its unix socket, and read what it shows."""

from __future__ import annotations

import configparser
import contextlib
import os
import select
import time
import typing as t

try:
    from psycopg import OperationalError, pq
except ImportError:
    HAS_PSYCOPG = False
else:
    HAS_PSYCOPG = True

SOCKET_DIRECTORY = "/run/pgbouncer"
PORT = 6432

Row = t.Dict[str, t.Optional[str]]


class ConsoleError(Exception):
    """What the console would not or could not do.

    `kind` is `limit` (no answer in time), `connection` (refused or ended) or `refused` (its own error); after the first two it is closed.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Console:
    """One session with the admin console; raises ConsoleError. It asks by the simple protocol, since the console knows no other.

    The console lets in who the operating system says it is: root as `root`, and PgBouncer's own account as `pgbouncer`.
    """

    def __init__(
        self,
        directory: str = SOCKET_DIRECTORY,
        port: int = PORT,
        limit_seconds: float = 2.0,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        if not HAS_PSYCOPG:
            raise ConsoleError("connection", "psycopg is missing: install the package python3-psycopg")
        self._clock = clock
        user = "root" if os.geteuid() == 0 else "pgbouncer"
        info = f"host={directory} port={port} user={user} dbname=pgbouncer application_name=escala"
        self._connection = pq.PGconn.connect_start(info.encode())
        self._connect(clock() + limit_seconds)
        self._connection.nonblocking = 1

    def ask(self, command: str, limit_seconds: float = 2.0) -> t.List[Row]:
        """The rows that a command shows, none for one that only does something."""
        self.begin(command)
        return self.end(limit_seconds)

    def begin(self, command: str) -> None:
        """Give a command whose answer may take long, such as PAUSE, and which is at work at once."""
        try:
            self._connection.send_query(command.encode())
            while self._connection.flush():
                self._wait(select.POLLOUT, self._clock() + 1)
        except OperationalError as broken:
            raise self._broken(str(broken)) from broken

    def end(self, limit_seconds: float) -> t.List[Row]:
        """The answer to what was begun."""
        deadline = self._clock() + limit_seconds
        rows: t.List[Row] = []
        refused = ""
        try:
            while True:
                while self._connection.is_busy():
                    self._wait(select.POLLIN, deadline)
                    self._connection.consume_input()
                result = self._connection.get_result()
                if result is None:
                    break
                if result.status == pq.ExecStatus.TUPLES_OK:
                    rows += _rows(result)
                elif result.status != pq.ExecStatus.COMMAND_OK:
                    refused = _line(result.error_message)
        except OperationalError as broken:
            raise self._broken(str(broken)) from broken
        if self._connection.status != pq.ConnStatus.OK:
            raise self._broken(refused or _line(self._connection.error_message))
        if refused:
            raise ConsoleError("refused", refused)
        return rows

    def close(self) -> None:
        self._connection.finish()

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _connect(self, deadline: float) -> None:
        while self._connection.status != pq.ConnStatus.BAD:
            status = self._connection.connect_poll()
            if status == pq.PollingStatus.OK:
                return
            if status != pq.PollingStatus.FAILED:
                self._wait(select.POLLIN if status == pq.PollingStatus.READING else select.POLLOUT, deadline)
        raise self._broken(_line(self._connection.error_message))

    def _wait(self, events: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._connection.socket, events)
        if not poll.poll(max(0.0, deadline - self._clock()) * 1000):
            self.close()
            raise ConsoleError("limit", "PgBouncer's console did not answer in time")

    def _broken(self, message: str) -> ConsoleError:
        self.close()
        return ConsoleError("connection", " ".join(message.split()) or "the console's connection ended")


def _rows(result: t.Any) -> t.List[Row]:
    names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
    return [
        {name: _text(result.get_value(row, column)) for column, name in enumerate(names)}
        for row in range(result.ntuples)
    ]


def _text(value: t.Optional[bytes]) -> t.Optional[str]:
    return None if value is None else value.decode(errors="replace")


def _line(message: bytes) -> str:
    return " ".join(message.decode(errors="replace").split())


class Database(t.NamedTuple):
    """A row of SHOW DATABASES; `hosts` are those that its connections go to in turn."""

    name: str
    hosts: t.Tuple[str, ...]
    port: int
    database: str
    pool_mode: t.Optional[str]
    pool_size: int
    max_connections: int
    current_connections: int
    paused: bool
    disabled: bool


class Pool(t.NamedTuple):
    """A row of SHOW POOLS: clients and server connections of one user in one database."""

    database: str
    user: str
    clients_active: int
    clients_waiting: int
    servers_active: int
    servers_idle: int
    servers_login: int
    longest_wait_seconds: float
    pool_mode: str


class Server(t.NamedTuple):
    """A row of SHOW SERVERS: one connection to PostgreSQL. One that has not come about yet has no address of its own."""

    database: str
    user: str
    state: str
    address: str
    port: int
    local_address: str
    local_port: int
    close_needed: bool


def parse_databases(rows: t.Iterable[Row]) -> t.List[Database]:
    """The databases that clients see; the console's own is left out."""
    return [
        Database(
            name=_word(row, "name"),
            hosts=tuple((row.get("host") or "").split(",")) if row.get("host") else (),
            port=_number(row, "port"),
            database=_word(row, "database"),
            pool_mode=row.get("pool_mode"),
            pool_size=_number(row, "pool_size"),
            max_connections=_number(row, "max_connections"),
            current_connections=_number(row, "current_connections"),
            paused=_number(row, "paused") == 1,
            disabled=_number(row, "disabled") == 1,
        )
        for row in rows
        if row.get("name") != "pgbouncer"
    ]


def parse_pools(rows: t.Iterable[Row]) -> t.List[Pool]:
    return [
        Pool(
            database=_word(row, "database"),
            user=_word(row, "user"),
            clients_active=_number(row, "cl_active"),
            clients_waiting=_number(row, "cl_waiting"),
            servers_active=_number(row, "sv_active"),
            servers_idle=_number(row, "sv_idle") + _number(row, "sv_used") + _number(row, "sv_tested"),
            servers_login=_number(row, "sv_login"),
            longest_wait_seconds=_number(row, "maxwait") + _number(row, "maxwait_us") / 1e6,
            pool_mode=_word(row, "pool_mode"),
        )
        for row in rows
        if row.get("database") != "pgbouncer"
    ]


def parse_servers(rows: t.Iterable[Row]) -> t.List[Server]:
    return [
        Server(
            database=_word(row, "database"),
            user=_word(row, "user"),
            state=_word(row, "state"),
            address=_word(row, "addr"),
            port=_number(row, "port"),
            local_address=_word(row, "local_addr"),
            local_port=_number(row, "local_port"),
            close_needed=_number(row, "close_needed") == 1,
        )
        for row in rows
    ]


def parse_version(rows: t.Sequence[Row]) -> str:
    """`1.24.1` of `PgBouncer 1.24.1`; raises ValueError when it is not that."""
    said = _word(rows[0], "version") if rows else ""
    name, _space, version = said.partition(" ")
    if name != "PgBouncer" or not version:
        raise ValueError(f"this is no PgBouncer: it calls itself {said or 'nothing'}")
    return version.split()[0]


def pending_restart(configuration: str, shown: t.Sequence[Row]) -> t.List[str]:
    """The settings in a configuration file that PgBouncer would take only at a start, and runs without; `shown` is SHOW CONFIG."""
    running = {_word(row, "key"): _word(row, "value") for row in shown if row.get("changeable") == "no"}
    wanted = _settings(configuration)
    return sorted(key for key, value in wanted.items() if key in running and not _is_same(value, running[key]))


def not_taken(configuration: str, shown: t.Sequence[Row]) -> t.List[str]:
    """What of a configuration file a reload should have put in force and did not, each with why; `shown` is SHOW CONFIG.

    A line that PgBouncer cannot read ends a reload there: what comes after it has its default then, and a start does not come about.
    """
    running = {_word(row, "key"): (_word(row, "value"), row.get("changeable") != "no") for row in shown}
    found = []
    # First what must be a mistake: the others may only come after it in the file.
    for key, value in sorted(_settings(configuration).items(), key=lambda setting: (setting[0] in running, setting)):
        if key not in running:
            found.append(f"{key} = {value} (it knows no such setting)")
            continue
        current, changeable = running[key]
        if changeable and not _is_same(value, current):
            found.append(f"{key} = {value} (it runs with {current or 'nothing'})")
    return found


def _settings(configuration: str) -> t.Dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",), comment_prefixes=(";", "#"))
    # Names count as they are written.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    # The file includes others with lines that are not the parser's; whatever they hold, it is no setting.
    lines = [line for line in configuration.splitlines() if not line.startswith("%include")]
    parser.read_string("\n".join(lines))
    return dict(parser.items("pgbouncer")) if parser.has_section("pgbouncer") else {}


def _is_same(written: str, shown: str) -> bool:
    """Whether a setting as it is written is the one that is shown: words in any case, numbers in any notation, a home for its `~`."""
    if written.startswith("~"):
        return shown.endswith(written.partition("/")[2])
    return written.lower() == shown.lower() or bool(_numbers(written) & _numbers(shown))


def _numbers(text: str) -> t.Set[str]:
    """What a text is as a number, and as C reads one that begins with 0: a mode is written in octal digits and shown in decimal ones."""
    readings: t.List[t.Callable[[str], float]] = [float]
    if text.startswith("0"):
        readings.append(lambda digits: int(digits, 16 if digits[1:2] in ("x", "X") else 8))
    found = set()
    for read in readings:
        with contextlib.suppress(ValueError):
            found.add(f"{read(text):g}")
    return found


def _word(row: Row, name: str) -> str:
    return row.get(name) or ""


def _number(row: Row, name: str) -> int:
    value = row.get(name) or "0"
    try:
        return int(value)
    except ValueError as wrong:
        raise ValueError(f"PgBouncer shows {value!r} as {name}, expected a number") from wrong


class Shows(t.Protocol):
    """What answers commands as a console does."""

    def ask(self, command: str, limit_seconds: float = 2.0) -> t.List[Row]: ...


def observe(console: Shows, configuration: str = "") -> t.Dict[str, t.Any]:
    """What pgbouncer_info returns; raises ConsoleError, and ValueError for what is not understood."""
    settings = console.ask("SHOW CONFIG")
    return {
        "version": parse_version(console.ask("SHOW VERSION")),
        "databases": [
            {**found._asdict(), "hosts": list(found.hosts)} for found in parse_databases(console.ask("SHOW DATABASES"))
        ],
        "pools": [found._asdict() for found in parse_pools(console.ask("SHOW POOLS"))],
        "servers": [found._asdict() for found in parse_servers(console.ask("SHOW SERVERS"))],
        "pending_restart": pending_restart(configuration, settings),
        "not_taken": not_taken(configuration, settings),
        "problem": None,
    }


def unobserved(problem: str) -> t.Dict[str, t.Any]:
    """The same shape when the console could not be asked, and why."""
    lists: t.Dict[str, t.Any] = {name: [] for name in ("databases", "pools", "servers", "pending_restart", "not_taken")}
    return {"version": None, **lists, "problem": problem}
