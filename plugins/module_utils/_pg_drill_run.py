# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill on a platform of an operator's: one process measures while others break something, and a folder holds what they tell each other.

In the folder: `log.jsonl` and `marks.jsonl` (every try and mark, as it ends), `run` (the run's name), `stop` (made to end it), `ended` (nothing more is
written). One folder serves for one drill after the other, so what an earlier one left must be taken for nothing of this one's.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t
import uuid

from ansible_collections.escala.ha.plugins.module_utils import _pg_drill as drill
from ansible_collections.escala.ha.plugins.module_utils import _pg_drill_report
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Session, SessionError, conninfo
from ansible_collections.escala.ha.plugins.module_utils._pg_detector import Measurement
from ansible_collections.escala.ha.plugins.module_utils._pg_ledger import LEDGER_PACE, Connect, rows_of
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict, outcome

Clock = t.Callable[[], float]
Sleep = t.Callable[[float], None]

_LOOK_SECONDS = 0.2
# Rows in a row without a pause, about two seconds of them, tell that what was seen is how it is.
_SETTLED_ROWS = 40
_END_SECONDS = 30.0

# The options that the documentation fragment escala.ha.drill describes.
DRILL_ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "directory": {"type": "path", "required": True},
    "pool_address": {"type": "str", "required": True},
    "pool_port": {"type": "int", "default": 6432},
    "nodes": {"type": "dict", "required": True},
    "node_port": {"type": "int", "default": 5432},
    "database": {"type": "str", "default": "app"},
    "user": {"type": "str", "default": "escala_probe"},
    "password": {"type": "str", "no_log": True},
    "password_file": {"type": "path", "no_log": False},
    "ca_file": {"type": "path", "required": True},
}


class Ways(t.NamedTuple):
    """How the pool and each node are reached."""

    pool: Connect
    nodes: t.Dict[str, Connect]


def ways(options: t.Mapping[str, t.Any]) -> Ways:
    """The connections that the options describe, none of them made yet."""

    def to(address: str, port: int) -> Connect:
        info = conninfo(
            host=address,
            port=port,
            dbname=options["database"],
            user=options["user"],
            password=options["password"],
            passfile=options["password_file"],
            sslmode="verify-full",
            sslrootcert=options["ca_file"],
            gssencmode="disable",
            application_name="escala_drill",
        )
        return lambda limit_seconds: Session(info, limit_seconds)

    nodes = {str(name): to(str(address), options["node_port"]) for name, address in options["nodes"].items()}
    return Ways(to(options["pool_address"], options["pool_port"]), nodes)


def measure(
    directory: str, found: Ways, limit_seconds: float, statement_seconds: float, sleep: Sleep = time.sleep
) -> t.Dict[str, t.Any]:
    """Measure until somebody makes the file `stop`, or the time is over; raises SessionError and OSError."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    clear(directory)
    run = uuid.uuid4().hex[:12]
    with open(_file(directory, "run"), "w", encoding="ascii") as file:
        file.write(run)
    pace = LEDGER_PACE._replace(limit=statement_seconds)
    try:
        # Line by line, since whoever waits for the platform reads along.
        with open(_file(directory, "log.jsonl"), "w", buffering=1, encoding="utf-8") as log:
            measurement = Measurement(run, found.pool, found.nodes, log, pace)
            deadline = time.monotonic() + limit_seconds
            with measurement.at_work():
                while not os.path.exists(_file(directory, "stop")) and time.monotonic() < deadline:
                    sleep(_LOOK_SECONDS)
    finally:
        # One that was left alone may end while another measures here by now.
        if _run_in(directory) == run:
            with open(_file(directory, "ended"), "w", encoding="ascii") as file:
                file.write(run)
    return {"run": run, "log": _file(directory, "log.jsonl"), "tries": len(measurement.tries)}


def clear(directory: str) -> None:
    """Remove what a drill left in the folder, but for its report; raises OSError."""
    for name in ("run", "stop", "ended", "log.jsonl", "marks.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_file(directory, name))


def mark(directory: str, what: str, clock: Clock = time.monotonic) -> drill.Mark:
    """Note that something happens now; raises OSError."""
    made = drill.Mark(clock(), what)
    with open(_file(directory, "marks.jsonl"), "a", encoding="utf-8") as log:
        log.write(drill.line_of(made))
    return made


def settled(tries: t.Sequence[drill.Try], since: float) -> bool:
    """Whether the ledger's last rows were acknowledged one after the other, all of them after a moment."""
    last = [each for each in tries if each.source == drill.LEDGER][-_SETTLED_ROWS:]
    return len(last) == _SETTLED_ROWS and all(
        each.outcome == drill.ACKNOWLEDGED and each.begun > since for each in last
    )


def wait_settled(
    directory: str, since: float, timeout_seconds: float, clock: Clock = time.monotonic, sleep: Sleep = time.sleep
) -> bool:
    """Wait until the ledger is settled after a moment; false where it is not in time, or nobody measures any more."""
    deadline = clock() + timeout_seconds
    while True:
        tries, _marks = read(directory)
        if settled(tries, since):
            return True
        if clock() > deadline or os.path.exists(_file(directory, "ended")):
            return False
        sleep(_LOOK_SECONDS)


def read(directory: str) -> t.Tuple[t.List[drill.Try], t.List[drill.Mark]]:
    """What has been noted so far; raises ValueError for logs of something else."""
    lines: t.List[str] = []
    for name in ("log.jsonl", "marks.jsonl"):
        if os.path.exists(_file(directory, name)):
            with open(_file(directory, name), encoding="utf-8") as log:
                lines += log.readlines()
    return drill.parsed(lines)


def stop(directory: str, timeout_seconds: float, clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> None:
    """End the measurement, and return when nothing more is written; raises OSError when it does not end in time."""
    with open(_file(directory, "stop"), "w", encoding="ascii"):
        deadline = clock() + timeout_seconds
    while not os.path.exists(_file(directory, "ended")):
        if clock() > deadline:
            raise OSError(f"the measurement in {directory} did not end within {timeout_seconds:g} s")
        sleep(_LOOK_SECONDS)


def look_everywhere(
    run: str,
    found: Ways,
    tries: t.Sequence[drill.Try],
    timeout_seconds: float,
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
) -> t.Tuple[t.List[drill.Kept], t.Dict[str, str]]:
    """Look for the rows through the pool and on each node, again until each has them all or the time is over.

    Returns what was found, and for each place that could not be looked at why. A standby may lag, and a node may still be on its way back.
    """
    deadline = clock() + timeout_seconds
    kept: t.Dict[str, drill.Kept] = {}
    away: t.Dict[str, str] = {}
    waiting = {"the pool": found.pool, **found.nodes}
    while True:
        for place, connect in list(waiting.items()):
            try:
                kept[place] = rows_of(connect, run, place)
            except SessionError as error:
                away[place] = str(error)
                continue
            away.pop(place, None)
            if not drill.lost(tries, kept[place]):
                del waiting[place]
        if not waiting or clock() > deadline:
            # A node that answered once and then no more says nothing certain.
            return [look for place, look in kept.items() if place not in away], away
        sleep(_LOOK_SECONDS)


def wait_answers(found: Ways, timeout_seconds: float, clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> None:
    """Wait until every node answers, or the time is over."""
    deadline = clock() + timeout_seconds
    waiting = dict(found.nodes)
    while True:
        for node, connect in list(waiting.items()):
            with contextlib.suppress(SessionError):
                connect(_LOOK_SECONDS * 5).close()
                del waiting[node]
        if not waiting or clock() > deadline:
            return
        sleep(_LOOK_SECONDS)


class Patience(t.NamedTuple):
    """In seconds: how long the fault lasts, and how long to wait then for acknowledged rows, for every node, and for all rows on it."""

    lasts: float
    settle: float
    rejoin: float
    rows: float = 30.0


def conclude(
    directory: str,
    fault: str,
    found: Ways,
    limits: drill.Limits,
    patience: Patience,
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
) -> t.Dict[str, t.Any]:
    """Wait until the fault is over and the platform has settled, end the measurement, look for the rows, and write the report.

    Raises ValueError, SessionError and OSError for a drill that measured nothing.
    """
    _tries, marks = read(directory)
    if not marks:
        raise ValueError(f"no fault is noted in {directory}, so there is nothing to judge")
    # What undoes the fault was armed after the mark, by as much as it takes to reach that host, and before now.
    over = clock() + patience.lasts
    while clock() < over and not os.path.exists(_file(directory, "ended")):
        sleep(_LOOK_SECONDS)
    wait_settled(directory, over, patience.settle, clock, sleep)
    # A second writer may come with the node that comes back, so it is measured until all are there.
    wait_answers(found, patience.rejoin, clock, sleep)
    wait_settled(directory, clock(), patience.settle, clock, sleep)
    stop(directory, _END_SECONDS)
    tries, marks = read(directory)
    kept, away = look_everywhere(_run_in(directory), found, tries, patience.rows, clock, sleep)
    report = drill.analyse(fault, tries, marks, kept)
    verdicts = [*drill.judge(report, limits), rejoined(away, patience.rejoin)]
    files = _pg_drill_report.write(directory, report, verdicts)
    return {"report": report, "verdicts": verdicts, "lines": _pg_drill_report.as_text(report, verdicts), "files": files}


def act(options: t.Mapping[str, t.Any], clock: Clock = time.monotonic, sleep: Sleep = time.sleep) -> t.Dict[str, t.Any]:
    """What the module postgresql_failover_drill returns for its options; raises ValueError, SessionError and OSError."""
    directory = options["directory"]
    if options["state"] == "cleared":
        clear(directory)
        return {"msg": f"nothing of an earlier drill is in {directory} but its report"}
    if options["state"] == "marked":
        return {"msg": f"noted: {mark(directory, options['what'], clock).what}"}
    if options["state"] == "steady":
        return {"msg": _wait_steady(directory, options["settle_seconds"], clock, sleep)}
    limits = drill.Limits(options["rto_seconds"], options["rpo_rows"], options["double_writer_seconds"])
    patience = Patience(options["lasts_seconds"], options["settle_seconds"], options["rejoin_seconds"])
    found = conclude(directory, options["what"], ways(options), limits, patience, clock, sleep)
    return {**found, **outcome(found["verdicts"])}


def _wait_steady(directory: str, timeout_seconds: float, clock: Clock, sleep: Sleep) -> str:
    """Return when rows that were begun from now on are acknowledged one after the other; raises ValueError when they are not in time.

    What measures was started a moment ago and may not have made the folder its own: older rows are another drill's, and it would remove a mark.
    """
    begun = clock()
    if wait_settled(directory, begun, timeout_seconds, clock, sleep):
        return "rows are acknowledged one after the other"
    tries = [each for each in read(directory)[0] if each.ended > begun]
    last = f"; the last try said: {tries[-1].why}" if tries else ", and none was tried"
    raise ValueError(f"rows were not acknowledged one after the other within {timeout_seconds:g} s{last}")


def rejoined(away: t.Mapping[str, str], limit_seconds: float) -> Verdict:
    """The verdict on who could not be asked for the rows at the end."""
    check = Check(3, "drill_rejoined", "Every node answers again after the fault")
    if away:
        where = "; ".join(f"{place}: {why}" for place, why in sorted(away.items()))
        return check.fails(f"not within {limit_seconds:g} s after the drill: {where}", away=dict(away))
    return check.passes(f"every node answered within {limit_seconds:g} s after the drill")


def _run_in(directory: str) -> str:
    """The name of the run that measures or has measured in the folder; empty without one."""
    with contextlib.suppress(FileNotFoundError), open(_file(directory, "run"), encoding="ascii") as file:
        return file.read()
    return ""


def _file(directory: str, name: str) -> str:
    return os.path.join(directory, name)
