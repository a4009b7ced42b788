# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that writes one row after the other through PgBouncer, notes what was acknowledged, and goes on by itself whatever breaks."""

from __future__ import annotations

import threading
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Session, SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_drill import (
    ACKNOWLEDGED,
    FAILED,
    INDETERMINATE,
    LEDGER,
    Kept,
    Pace,
    Try,
)

Connect = t.Callable[[float], Session]
Outcome = t.Tuple[str, str]

LEDGER_PACE = Pace(every=0.05, limit=1.0)
_SETUP_SECONDS = 10.0

_TABLES = (
    """CREATE TABLE IF NOT EXISTS escala_probe.ledger
    (run text, number bigint, written_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (run, number))""",
    """CREATE TABLE IF NOT EXISTS escala_probe.detector
    (run text, node text, number bigint, written_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (run, node, number))""",
    "DELETE FROM escala_probe.ledger WHERE written_at < now() - interval '1 day'",
    "DELETE FROM escala_probe.detector WHERE written_at < now() - interval '1 day'",
)
_ROWS = """SELECT $2, number FROM escala_probe.ledger WHERE run = $1
    UNION ALL SELECT node, number FROM escala_probe.detector WHERE run = $1"""


def prepare(connect: Connect) -> None:
    """Make the tables where they are absent, through the pool, and forget what is older than a day; raises SessionError."""
    session = connect(_SETUP_SECONDS)
    try:
        for statement in _TABLES:
            session.execute(statement, limit_seconds=_SETUP_SECONDS)
    finally:
        session.close()


def rows_of(connect: Connect, run: str, place: str) -> Kept:
    """What is there of a run, seen on a session of its own; raises SessionError."""
    session = connect(_SETUP_SECONDS)
    try:
        found = session.execute(_ROWS, [run, LEDGER], limit_seconds=_SETUP_SECONDS).rows
    finally:
        session.close()
    return Kept(place, {(str(source), int(number or 0)) for source, number in found})


def commit(session: Session, statement: str, values: t.Sequence[t.Any], limit_seconds: float) -> Outcome:
    """Commit one statement, and say what is known of it: `failed` is only what certainly did not happen."""
    try:
        warnings = session.execute(statement, values, limit_seconds=limit_seconds).warnings
    except SessionError as error:
        return FAILED if error.kind == "refused" else INDETERMINATE, str(error)
    return (INDETERMINATE, f"WARNING: {warnings[0]}") if warnings else (ACKNOWLEDGED, "")


class Paced:
    """One try after the other, each begun when the one before has ended and its time has come, on a session that is renewed when it breaks."""

    def __init__(
        self,
        source: str,
        connect: Connect,
        note: t.Callable[[Try], None],
        pace: Pace,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._connect, self._note, self._pace, self._clock = source, connect, note, pace, clock
        self._session: t.Optional[Session] = None
        self._number = 0

    def run(self, stopped: threading.Event) -> None:
        """Go on until `stopped` is set."""
        due = self._clock()
        while not stopped.is_set():
            self.one()
            due = max(due + self._pace.every, self._clock())
            stopped.wait(due - self._clock())
        self._drop()

    def one(self) -> Try:
        """Make one try, within the limit, and note it."""
        self._number += 1
        begun = self._clock()
        deadline = begun + self._pace.limit
        writable: t.Optional[bool] = None
        try:
            if not self._session:
                self._session = self._connect(self._pace.limit)
            outcome, writable, why = self._attempt(self._session, self._number, deadline)
        except SessionError as error:
            outcome, why = FAILED, str(error)
            self._drop()
        made = Try(self._source, self._number, begun, self._clock(), outcome, writable, why)
        self._note(made)
        return made

    def _attempt(self, session: Session, number: int, deadline: float) -> t.Tuple[str, t.Optional[bool], str]:
        """One commit on a session: its outcome, whether the node is out of recovery (None: not asked), and why not acknowledged."""
        raise NotImplementedError

    def _left(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock())

    def _drop(self) -> None:
        if self._session:
            self._session.close()
        self._session = None


class Ledger(Paced):
    """Writes rows of a run through PgBouncer. After anything but an acknowledgement the session is a new one."""

    def __init__(
        self,
        run: str,
        connect: Connect,
        note: t.Callable[[Try], None],
        pace: Pace = LEDGER_PACE,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(LEDGER, connect, note, pace, clock)
        self._run = run

    def _attempt(self, session: Session, number: int, deadline: float) -> t.Tuple[str, t.Optional[bool], str]:
        statement = "INSERT INTO escala_probe.ledger (run, number) VALUES ($1, $2)"
        outcome, why = commit(session, statement, [self._run, number], self._left(deadline))
        if outcome != ACKNOWLEDGED:
            self._drop()
        return outcome, None, why
