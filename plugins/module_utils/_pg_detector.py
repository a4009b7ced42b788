# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is a writer: on every data node, directly and in a thread of its own, one commit after the other at the server's default settings.

A node that hangs keeps only its own thread waiting, for a second at most. The way from here to the nodes must not be one that the fault cuts.
"""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Session
from ansible_collections.escala.ha.plugins.module_utils._pg_drill import (
    ACKNOWLEDGED,
    FAILED,
    PACE,
    Mark,
    Pace,
    Try,
    line_of,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_ledger import (
    LEDGER_PACE,
    Connect,
    Ledger,
    Paced,
    commit,
    prepare,
)

# The longest that a thread takes to end: the rest of its try.
_END_SECONDS = 5.0


class Detector(Paced):
    """Tries one node; a node in recovery is asked for no commit."""

    def __init__(
        self,
        node: str,
        run: str,
        connect: Connect,
        note: t.Callable[[Try], None],
        pace: Pace = PACE,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(node, connect, note, pace, clock)
        self._run = run

    def _attempt(self, session: Session, number: int, deadline: float) -> t.Tuple[str, t.Optional[bool], str]:
        recovering = session.execute("SELECT pg_is_in_recovery()", limit_seconds=self._left(deadline)).rows == [["t"]]
        if recovering:
            return FAILED, False, "in recovery"
        statement = "INSERT INTO escala_probe.detector (run, node, number) VALUES ($1, $2, $3)"
        outcome, why = commit(session, statement, [self._run, self._source, number], self._left(deadline))
        if outcome != ACKNOWLEDGED:
            self._drop()
        return outcome, True, why


class Measurement:
    """The ledger and a detector for each node, at work side by side, every try kept in memory and in a log as it ends."""

    def __init__(
        self,
        run: str,
        pool: Connect,
        nodes: t.Mapping[str, Connect],
        log: t.TextIO,
        ledger_pace: Pace = LEDGER_PACE,
    ) -> None:
        self.run_name, self.pool, self.nodes = run, pool, nodes
        self.tries: t.List[Try] = []
        self.marks: t.List[Mark] = []
        self._log = log
        self._writing = threading.Lock()
        self._stopped = threading.Event()
        self._paced: t.List[Paced] = [Ledger(run, pool, self._note, ledger_pace)]
        self._paced += [Detector(node, run, connect, self._note) for node, connect in nodes.items()]

    @contextlib.contextmanager
    def at_work(self) -> t.Iterator[Measurement]:
        """Make the tables, and measure until the block ends; raises SessionError when the pool leads to no writer at the beginning."""
        prepare(self.pool)
        threads = [threading.Thread(target=each.run, args=(self._stopped,), daemon=True) for each in self._paced]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join(_END_SECONDS)
            self._log.flush()

    def mark(self, what: str) -> float:
        """Note that something happens now, and return when that is."""
        mark = Mark(time.monotonic(), what)
        with self._writing:
            self.marks.append(mark)
            self._log.write(line_of(mark))
        return mark.at

    def acknowledged_since(self, moment: float, source: str) -> int:
        """How many commits of the ledger, or of the detector on a node, were acknowledged after a moment."""
        return sum(
            each.ended > moment for each in list(self.tries) if each.source == source and each.outcome == ACKNOWLEDGED
        )

    def _note(self, made: Try) -> None:
        with self._writing:
            self.tries.append(made)
            self._log.write(line_of(made))
