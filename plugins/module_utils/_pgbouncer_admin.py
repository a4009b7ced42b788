# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have one of PgBouncer's databases as an operator wants it, and return when it is so."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pgbouncer import (
    ConsoleError,
    Database,
    Row,
    Server,
    parse_databases,
    parse_servers,
)

ACTIONS = ("pause", "resume", "reload", "reconnect", "disable", "enable", "kill")

# SHOW SERVERS: a client has it, and its transaction is not over.
_BUSY = ("active", "active_cancel", "being_canceled")
_LOOK_SECONDS = 2.0


class AdminError(Exception):
    """What was asked for is not so, why, and what is so instead."""


class Console(t.Protocol):
    """A session with the admin console, as in _pgbouncer."""

    def ask(self, command: str, limit_seconds: float = 2.0) -> t.List[Row]: ...
    def begin(self, command: str) -> None: ...
    def end(self, limit_seconds: float) -> t.List[Row]: ...
    def close(self) -> None: ...


class Pace(t.NamedTuple):
    """How long to wait for what was asked for."""

    timeout_seconds: float
    clock: t.Callable[[], float]
    sleep: t.Callable[[float], None]


class Outcome(t.NamedTuple):
    """Whether something was done, and the database as it is afterwards; None after a reload, which is of all."""

    changed: bool
    database: t.Optional[Database]


def bring(action: str, name: str, connect: t.Callable[[], Console], pace: Pace, check_mode: bool = False) -> Outcome:
    """Do it unless it is so already; raises AdminError. `connect` opens a session with the console."""
    try:
        console = connect()
    except ConsoleError as error:
        raise AdminError(f"PgBouncer's console cannot be had: {error}; {_remedy(str(error))}") from error
    try:
        if action == "reload":
            return _reloaded(console, check_mode)
        before = _look(console, name)
        if _is_so(action, before, console):
            return Outcome(False, before)
        if not check_mode:
            _ACT[action](console, before, connect, pace)
        return Outcome(True, _look(console, name))
    except ConsoleError as error:
        raise AdminError(f"PgBouncer refuses to {action} {name}: {error}") from error
    except ValueError as error:
        raise AdminError(str(error)) from error
    finally:
        console.close()


def _remedy(said: str) -> str:
    """What to do about a console that cannot be had: its words for an account that it does not let in are of no use to anybody."""
    if "authentication" in said or "login" in said:
        return "run this as root (become), or as the account that PgBouncer runs as"
    return "is the service pgbouncer running?"


def _reloaded(console: Console, check_mode: bool) -> Outcome:
    if not check_mode:
        console.ask("RELOAD", _LOOK_SECONDS)
    return Outcome(True, None)


def _look(console: Console, name: str) -> Database:
    found = parse_databases(console.ask("SHOW DATABASES"))
    for database in found:
        if database.name == name:
            return database
    # An empty variable in a play is no missing option.
    problem = f"PgBouncer has no database {name}" if name else "no database is named"
    raise AdminError(f"{problem}; there are {', '.join(one.name for one in found) or 'none'}")


def _servers(console: Console, name: str) -> t.List[Server]:
    return [server for server in parse_servers(console.ask("SHOW SERVERS")) if server.database == name]


def _is_so(action: str, database: Database, console: Console) -> bool:
    if action == "pause":
        return database.paused and not _servers(console, database.name)
    if action == "kill":
        # A killed database is a paused one without connections; its clients wait.
        return database.paused and not _servers(console, database.name)
    return {
        "resume": not database.paused,
        "disable": database.disabled,
        "enable": not database.disabled,
        "reconnect": database.current_connections == 0,
    }[action]


def _pause(console: Console, database: Database, connect: t.Callable[[], Console], pace: Pace) -> None:
    """Wait until no transaction is under way. In vain it is undone, for a database that stays paused has all its clients hang."""
    name = database.name
    try:
        if database.paused:
            _until(lambda: not _servers(console, name), pace)
        else:
            console.begin(f"PAUSE {_quoted(name)}")
            console.end(pace.timeout_seconds)
    except ConsoleError as error:
        if error.kind != "limit":
            raise
        other = connect()
        try:
            busy = [server for server in _servers(other, name) if server.state in _BUSY]
            if not database.paused:
                other.ask(f"RESUME {_quoted(name)}", _LOOK_SECONDS)
        finally:
            other.close()
        at = ", ".join(sorted({f"{server.address}:{server.port} as {server.user}" for server in busy})) or "none now"
        left = "it stays paused, as it was" if database.paused else "it goes on as before"
        raise AdminError(
            f"{name} still has {len(busy)} transactions under way after {pace.timeout_seconds:g} s ({at}): {left};"
            " end what runs so long (pg_stat_activity on the server says what it is), or allow for more time"
        ) from error


def _resume(console: Console, database: Database, *_unused: t.Any) -> None:
    console.ask(f"RESUME {_quoted(database.name)}", _LOOK_SECONDS)


def _reconnect(console: Console, database: Database, _connect: t.Any, pace: Pace) -> None:
    """Each connection is closed as soon as its transaction is over; those that are still open then are named."""
    console.ask(f"RECONNECT {_quoted(database.name)}", _LOOK_SECONDS)
    try:
        _until(lambda: not any(server.close_needed for server in _servers(console, database.name)), pace)
    except ConsoleError as error:
        old = sum(server.close_needed for server in _servers(console, database.name))
        raise AdminError(
            f"{database.name} still has {old} connections from before after {pace.timeout_seconds:g} s:"
            " each goes when its transaction is over"
        ) from error


def _disable(console: Console, database: Database, *_unused: t.Any) -> None:
    console.ask(f"DISABLE {_quoted(database.name)}", _LOOK_SECONDS)


def _enable(console: Console, database: Database, *_unused: t.Any) -> None:
    console.ask(f"ENABLE {_quoted(database.name)}", _LOOK_SECONDS)


def _kill(console: Console, database: Database, *_unused: t.Any) -> None:
    console.ask(f"KILL {_quoted(database.name)}", _LOOK_SECONDS)


_ACT: t.Dict[str, t.Callable[[Console, Database, t.Callable[[], Console], Pace], None]] = {
    "pause": _pause,
    "resume": _resume,
    "reconnect": _reconnect,
    "disable": _disable,
    "enable": _enable,
    "kill": _kill,
}


def _until(is_so: t.Callable[[], bool], pace: Pace) -> None:
    deadline = pace.clock() + pace.timeout_seconds
    while not is_so():
        if pace.clock() >= deadline:
            raise ConsoleError("limit", "not so in time")
        pace.sleep(0.1)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
