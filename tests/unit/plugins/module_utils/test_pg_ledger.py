import io
import json
import threading

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Answer, SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_detector import Detector, Measurement
from ansible_collections.escala.ha.plugins.module_utils._pg_drill import Pace, parsed
from ansible_collections.escala.ha.plugins.module_utils._pg_ledger import LEDGER_PACE, Ledger, rows_of

IN_RECOVERY, WRITABLE = Answer([["t"]], []), Answer([["f"]], [])
COMMITTED, WARNED = Answer([], []), Answer([], ["canceling wait"])
LIMIT, BROKEN = SessionError("limit", "no answer"), SessionError("connection", "reset")
REFUSED = SessionError("refused", "read-only", "25006")


class Server:
    """Gives the answers in their order to whoever asks, and counts the sessions opened and closed."""

    def __init__(self, *answers, connect=()):
        self.answers, self.refusals = list(answers), list(connect)
        self.opened = self.closed = 0
        self.asked = []

    def connect(self, limit_seconds):
        if self.refusals:
            raise self.refusals.pop(0)
        self.opened += 1
        return self

    def execute(self, statement, values=(), *, limit_seconds):
        self.asked.append((statement, list(values), limit_seconds))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed += 1


def made(kind, server, times):
    tries = []
    arguments = ("run", server.connect, tries.append)
    paced = Ledger(*arguments) if kind is Ledger else Detector("db1", *arguments)
    for _ in range(times):
        paced.one()
    return tries


@pytest.mark.parametrize(
    ("answer", "outcome", "sessions"),
    [
        (COMMITTED, "acknowledged", 1),
        (WARNED, "indeterminate", 2),
        (LIMIT, "indeterminate", 2),
        (BROKEN, "indeterminate", 2),
        (REFUSED, "failed", 2),
    ],
)
def test_what_the_ledger_holds_of_an_answer_and_whether_it_goes_on_with_the_session(answer, outcome, sessions):
    server = Server(answer, COMMITTED)
    tries = made(Ledger, server, 2)
    assert [each.outcome for each in tries] == [outcome, "acknowledged"]
    assert [each.number for each in tries] == [1, 2]
    assert server.opened == sessions


def test_a_pool_that_lets_nobody_in_is_tried_again():
    server = Server(COMMITTED, connect=[LIMIT, BROKEN])
    tries = made(Ledger, server, 3)
    assert [(each.outcome, each.why) for each in tries] == [
        ("failed", "no answer"),
        ("failed", "reset"),
        ("acknowledged", ""),
    ]


def test_a_try_is_never_longer_than_its_limit_however_long_the_connection_took():
    ticks = iter([10.0, 10.7, 10.8, 10.8])
    server = Server(COMMITTED)
    Ledger("run", server.connect, lambda _made: None, Pace(0.05, 1.0), lambda: next(ticks)).one()
    assert server.asked[0][2] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("answers", "outcome", "writable"),
    [
        ([IN_RECOVERY], "failed", False),
        ([WRITABLE, COMMITTED], "acknowledged", True),
        ([WRITABLE, WARNED], "indeterminate", True),
        ([WRITABLE, LIMIT], "indeterminate", True),
        ([LIMIT], "failed", None),
    ],
)
def test_what_the_detector_holds_of_a_node(answers, outcome, writable):
    assert [(each.source, each.outcome, each.writable) for each in made(Detector, Server(*answers), 1)] == [
        ("db1", outcome, writable)
    ]


def test_a_node_in_recovery_is_asked_again_on_the_same_session_and_for_no_commit():
    server = Server(IN_RECOVERY, IN_RECOVERY)
    made(Detector, server, 2)
    assert server.opened == 1
    assert not any("INSERT" in statement for statement, _, _ in server.asked)


def test_rows_are_looked_for_on_a_session_of_their_own():
    server = Server(Answer([["ledger", "1"], ["db1", "7"]], []))
    assert rows_of(server.connect, "run", "db2") == ("db2", {("ledger", 1), ("db1", 7)})
    assert (server.opened, server.closed) == (1, 1)


class Endless:
    """A server on which everything is committed."""

    def connect(self, limit_seconds):
        return self

    def execute(self, statement, values=(), *, limit_seconds):
        return WRITABLE if "recovery" in statement else COMMITTED

    def close(self):
        pass


def test_a_measurement_keeps_every_try_in_memory_and_in_its_log():
    log, server, enough = io.StringIO(), Endless(), threading.Event()
    measurement = Measurement("run", server.connect, {"db1": server.connect}, log, LEDGER_PACE)
    with measurement.at_work():
        at = measurement.mark("fault")
        while measurement.acknowledged_since(at, "db1") < 1 or measurement.acknowledged_since(at, "ledger") < 1:
            enough.wait(0.01)
    tries, marks = parsed(io.StringIO(log.getvalue()))
    assert sorted(tries) == sorted(measurement.tries)
    assert [mark.what for mark in marks] == ["fault"]
    assert json.loads(log.getvalue().splitlines()[0])


def test_a_platform_without_a_writer_is_not_measured():
    measurement = Measurement("run", Server(connect=[LIMIT]).connect, {}, io.StringIO())
    with pytest.raises(SessionError), measurement.at_work():
        pass
