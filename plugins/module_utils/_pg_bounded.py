# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A session with PostgreSQL in which nothing outlasts its limit, and whose end is the socket's: a statement is never cancelled.

A cancelled wait for a standby returns success with a WARNING, so a client that cancels would itself make commits that are no commits. psycopg's
connections cancel what they are interrupted in; this uses the layer below them (psycopg.pq), which waits for nothing by itself.
"""

from __future__ import annotations

import select
import time
import typing as t

try:
    from psycopg import OperationalError, pq
except ImportError:
    HAS_PSYCOPG = False
else:
    HAS_PSYCOPG = True

_READ = select.POLLIN
_WRITE = select.POLLOUT


class SessionError(Exception):
    """What a session could not do; it is closed then, except after `refused`, the server's own error.

    `kind` is `limit` (no answer within the limit), `connection` (refused, reset or ended) or `refused` (the server answered with an error).
    `sqlstate` is the server's code, where there is one.
    """

    def __init__(self, kind: str, message: str, sqlstate: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.sqlstate = sqlstate


def array(values: t.Iterable[str]) -> str:
    """A list as a parameter of PostgreSQL's type text[], or of any that is written so."""
    return "{" + ",".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values) + "}"


class Answer(t.NamedTuple):
    """The rows of one statement as text, and the WARNINGs that came with them."""

    rows: t.List[t.List[t.Optional[str]]]
    warnings: t.List[str]


def conninfo(**options: t.Any) -> str:
    """The options as libpq reads them; what is None or empty is left out."""
    return " ".join(f"{name}={_quoted(str(value))}" for name, value in options.items() if value not in (None, ""))


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Session:
    """One connection, made by the constructor within the limit in seconds; raises SessionError."""

    def __init__(self, info: str, limit_seconds: float, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._warnings: t.List[str] = []
        self._connection = pq.PGconn.connect_start(info.encode())
        self._connection.notice_handler = self._notice
        self._connect(clock() + limit_seconds)
        self._connection.nonblocking = 1

    def execute(self, statement: str, values: t.Sequence[t.Any] = (), *, limit_seconds: float) -> Answer:
        """Run one statement, with $1 and so on for the values; raises SessionError."""
        deadline = self._clock() + limit_seconds
        self._warnings = []
        try:
            self._connection.send_query_params(statement.encode(), [_as_text(value) for value in values])
            self._send(deadline)
            found = self._results(deadline)
        except OperationalError as broken:
            raise self._broken(str(broken)) from broken
        return Answer(found, list(self._warnings))

    def close(self) -> None:
        """Close the socket, whatever is under way on it."""
        self._connection.finish()

    def _connect(self, deadline: float) -> None:
        while self._connection.status != pq.ConnStatus.BAD:
            status = self._connection.connect_poll()
            if status == pq.PollingStatus.OK:
                return
            if status != pq.PollingStatus.FAILED:
                self._wait(_READ if status == pq.PollingStatus.READING else _WRITE, deadline)
        raise self._broken(self._connection.error_message.decode(errors="replace"))

    def _send(self, deadline: float) -> None:
        while self._connection.flush():
            if self._wait(_READ | _WRITE, deadline) & _READ:
                self._connection.consume_input()

    def _results(self, deadline: float) -> t.List[t.List[t.Optional[str]]]:
        rows: t.List[t.List[t.Optional[str]]] = []
        refused: t.Optional[SessionError] = None
        while True:
            while self._connection.is_busy():
                self._wait(_READ, deadline)
                self._connection.consume_input()
            result = self._connection.get_result()
            if result is None:
                break
            if result.status == pq.ExecStatus.TUPLES_OK:
                rows += [
                    [_as_string(result.get_value(row, column)) for column in range(result.nfields)]
                    for row in range(result.ntuples)
                ]
            elif result.status != pq.ExecStatus.COMMAND_OK and refused is None:
                state = result.error_field(pq.DiagnosticField.SQLSTATE)
                text = result.error_message.decode(errors="replace").strip()
                refused = SessionError("refused", text, (state or b"").decode())
        if self._connection.status != pq.ConnStatus.OK:
            raise self._broken(str(refused or self._connection.error_message.decode(errors="replace")))
        if refused:
            raise refused
        return rows

    def _wait(self, events: int, deadline: float) -> int:
        """Wait for the socket, and return what it is ready for."""
        poll = select.poll()
        poll.register(self._connection.socket, events)
        ready = poll.poll(max(0.0, deadline - self._clock()) * 1000)
        if not ready:
            self.close()
            raise SessionError("limit", "no answer within the limit; the socket was closed")
        return ready[0][1]

    def _broken(self, message: str) -> SessionError:
        self.close()
        return SessionError("connection", " ".join(message.split()) or "the connection ended")

    def _notice(self, result: t.Any) -> None:
        # SEVERITY_NONLOCALIZED, since a server may speak the language of its operator.
        severity = result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED)
        if severity == b"WARNING":
            self._warnings.append(result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY).decode(errors="replace"))


def _as_text(value: t.Any) -> t.Optional[bytes]:
    return None if value is None else str(value).encode()


def _as_string(value: t.Optional[bytes]) -> t.Optional[str]:
    return None if value is None else value.decode(errors="replace")
