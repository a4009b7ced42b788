# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failover cost, from the tries that a ledger and a detector noted: RTO, RPO, and for how long there were two writers.

All times are seconds of one monotonic clock. How it is measured is said in docs/drill-failover.md; nothing here looks at a server.
"""

from __future__ import annotations

import json
import math
import statistics
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

LEDGER = "ledger"

ACKNOWLEDGED = "acknowledged"
# The commit may have happened: it returned with a WARNING, or the answer never came.
INDETERMINATE = "indeterminate"
FAILED = "failed"

Span = t.Tuple[float, float]
Report = t.Dict[str, t.Any]

_SHOWN = 20


class Try(t.NamedTuple):
    """One try to commit one row: by the ledger, or by the detector directly on a node, whose name `source` is then."""

    source: str
    number: int
    begun: float
    ended: float
    outcome: str
    # Whether the node was out of recovery, where the try learned it.
    writable: t.Optional[bool] = None
    why: str = ""


class Mark(t.NamedTuple):
    """Something that happened to the platform, for the timeline."""

    at: float
    what: str


class Gap(t.NamedTuple):
    """The time between two acknowledged rows; `recovered` is false where nothing was acknowledged after it."""

    begin: float
    end: float
    recovered: bool

    @property
    def seconds(self) -> float:
        return self.end - self.begin


class Kept(t.NamedTuple):
    """What a look after the drill found: where it looked, and the rows (source, number) that were there."""

    place: str
    rows: t.AbstractSet[t.Tuple[str, int]]


class Pace(t.NamedTuple):
    """How often the detector tries each node, and how long one try may take, in seconds."""

    every: float
    limit: float


class Limits(t.NamedTuple):
    """What a drill must keep; None for what is only reported."""

    rto_seconds: t.Optional[float] = None
    rpo_rows: t.Optional[int] = 0
    double_writer_seconds: t.Optional[float] = 0.0


PACE = Pace(every=0.1, limit=1.0)
_SEEN_ON_A_TIMELINE = Pace(every=0.05, limit=0.2)


def longest_gap(tries: t.Iterable[Try], since: float, until: float) -> Gap:
    """The longest time without an acknowledged row of the ledger between two moments.

    It begins with the last row acknowledged before `since`, so that a fault at `since` is measured whole. The time after the last acknowledged row
    is a gap as well, which did not end unless it is shorter than the longest before it.
    """
    acknowledged = sorted(each.ended for each in tries if each.source == LEDGER and each.outcome == ACKNOWLEDGED)
    before = [moment for moment in acknowledged if moment <= since]
    marks = [before[-1] if before else since, *(moment for moment in acknowledged if since < moment <= until)]
    gaps = [Gap(begin, end, True) for begin, end in zip(marks, marks[1:])]
    gaps.append(Gap(marks[-1], max(until, marks[-1]), False))
    return max(gaps, key=lambda gap: (gap.seconds, gap.recovered))


def writers(tries: t.Iterable[Try], pace: Pace = PACE) -> t.Dict[str, t.List[Span]]:
    """When each node was a writer: a COMMIT at its default settings returned there without a WARNING.

    One that returned stands for the interval of the detector that it ended, not further back than it was begun. Between two of one node that are not
    further apart than one try may take the node was a writer throughout, since nothing else was tried there in between.
    """
    return _spans((each for each in tries if each.source != LEDGER and each.outcome == ACKNOWLEDGED), pace)


def out_of_recovery(tries: t.Iterable[Try], pace: Pace = PACE) -> t.Dict[str, t.List[Span]]:
    """When each node said that it is not in recovery, which is not yet that it commits."""
    return _spans((each for each in tries if each.source != LEDGER and each.writable), pace)


def _spans(tries: t.Iterable[Try], pace: Pace) -> t.Dict[str, t.List[Span]]:
    found: t.Dict[str, t.List[Span]] = {}
    for each in sorted(tries, key=lambda one: one.ended):
        spans = found.setdefault(each.source, [])
        if spans and each.ended - spans[-1][1] <= pace.limit + pace.every:
            spans[-1] = (spans[-1][0], each.ended)
        else:
            spans.append((max(each.begun, each.ended - pace.every), each.ended))
    return found


def two_at_once(spans_by_node: t.Mapping[str, t.Sequence[Span]]) -> t.List[Span]:
    """The times in which more than one node was what the spans say, in order."""
    edges = sorted(
        (moment, step)
        for spans in spans_by_node.values()
        for begin, end in spans
        for moment, step in ((begin, 1), (end, -1))
    )
    found: t.List[Span] = []
    depth = 0
    for (moment, step), (following, _step) in zip(edges, edges[1:]):
        depth += step
        if depth > 1 and following > moment:
            if found and found[-1][1] == moment:
                found[-1] = (found[-1][0], following)
            else:
                found.append((moment, following))
    return found


def seconds_of(spans: t.Iterable[Span]) -> float:
    return sum(end - begin for begin, end in spans)


def lost(tries: t.Iterable[Try], kept: Kept) -> t.List[t.Tuple[str, int]]:
    """The acknowledged rows that are not there, those that the detector wrote directly on a node included."""
    return sorted({(each.source, each.number) for each in tries if each.outcome == ACKNOWLEDGED} - kept.rows)


def analyse(
    fault: str,
    tries: t.Sequence[Try],
    marks: t.Sequence[Mark],
    kept: t.Sequence[Kept],
    pace: Pace = PACE,
    since: t.Optional[float] = None,
) -> Report:
    """The report of a drill as data; its times are seconds since its first try. `since` is when the fault began, and otherwise the first mark.

    Raises ValueError where the ledger acknowledged nothing before the fault, or nobody looked for the rows: there is nothing to measure by then.
    """
    if not kept:
        raise ValueError("nobody looked for the rows after the drill, so nothing can be said of what was lost")
    ledger = [each for each in tries if each.source == LEDGER]
    fault_at = since if since is not None else min((mark.at for mark in marks), default=0.0)
    if not any(each.outcome == ACKNOWLEDGED and each.ended <= fault_at for each in ledger):
        last = f"; the last try said: {ledger[-1].why}" if ledger else ""
        raise ValueError(f"the ledger acknowledged no row before the fault{last}")
    start, end = min(each.begun for each in tries), max(each.ended for each in tries)
    gap = longest_gap(ledger, fault_at, end)
    missing = {look.place: lost(tries, look) for look in kept}
    writing, open_nodes = writers(tries, pace), out_of_recovery(tries, pace)
    double = two_at_once(writing)
    counts = {
        outcome: sum(each.outcome == outcome for each in ledger) for outcome in (ACKNOWLEDGED, INDETERMINATE, FAILED)
    }
    return {
        "fault": fault,
        "measured_seconds": _rounded(end - start),
        "fault_at_seconds": _rounded(fault_at - start),
        "rto_seconds": _rounded(gap.seconds),
        "gap_seconds": _relative([(gap.begin, gap.end)], start)[0],
        "recovered": gap.recovered,
        "rpo_rows": max(len(rows) for rows in missing.values()),
        "lost": {place: [f"{source} {number}" for source, number in rows[:_SHOWN]] for place, rows in missing.items()},
        "ledger": counts,
        "ledger_errors": _errors(ledger, start),
        "double_writer_seconds": _rounded(seconds_of(double)),
        "double_writer": _relative(double, start),
        "two_out_of_recovery_seconds": _rounded(seconds_of(two_at_once(open_nodes))),
        "writers": {node: _relative(spans, start) for node, spans in sorted(writing.items())},
        "out_of_recovery": {node: _relative(spans, start) for node, spans in sorted(open_nodes.items())},
        "nodes": sorted({each.source for each in tries} - {LEDGER}),
        "acknowledged": _relative(
            _spans((each for each in ledger if each.outcome == ACKNOWLEDGED), _SEEN_ON_A_TIMELINE)[LEDGER], start
        ),
        "marks": [{"at_seconds": _rounded(mark.at - start), "what": mark.what} for mark in marks],
    }


def _relative(spans: t.Iterable[Span], start: float) -> t.List[t.List[float]]:
    return [[_rounded(begin - start), _rounded(end - start)] for begin, end in spans]


def _rounded(seconds: float) -> float:
    return round(seconds, 3)


def _errors(ledger: t.Iterable[Try], start: float) -> t.List[t.Dict[str, t.Any]]:
    """What clients were told instead of an acknowledgement, in order, one entry for each run of the same."""
    found: t.List[t.Dict[str, t.Any]] = []
    for each in ledger:
        if each.outcome == ACKNOWLEDGED:
            continue
        if found and found[-1]["why"] == each.why:
            found[-1]["times"] += 1
        else:
            found.append({"at_seconds": _rounded(each.ended - start), "why": each.why, "times": 1})
    return found[:_SHOWN]


def judge(report: Report, limits: Limits) -> t.List[Verdict]:
    """The verdicts on a drill, by the limits that are set."""
    return [
        verdict
        for verdict in (_rto(report, limits), _rpo(report, limits), _double(report, limits))
        if verdict is not None
    ]


def _rto(report: Report, limits: Limits) -> t.Optional[Verdict]:
    check = Check(3, "drill_rto", "Rows are acknowledged again within the limit after the fault")
    seen, limit = report["rto_seconds"], limits.rto_seconds
    if not report["recovered"]:
        return check.fails(
            f"nothing was acknowledged in the last {seen:g} s of the drill; see what the guards say: `escala-pg-guard status` on each data node",
            gap_seconds=report["gap_seconds"],
        )
    if limit is None:
        return None
    if seen > limit:
        return check.fails(
            f"no row was acknowledged for {seen:g} s, and {limit:g} s are allowed; the timeline shows where they went",
            gap_seconds=report["gap_seconds"],
        )
    return check.passes(
        f"no row was acknowledged for {seen:g} s of at most {limit:g} s", gap_seconds=report["gap_seconds"]
    )


def _rpo(report: Report, limits: Limits) -> t.Optional[Verdict]:
    check = Check(3, "drill_rpo", "Every row that was acknowledged is there after the fault, on every node")
    seen, limit = report["rpo_rows"], limits.rpo_rows
    if limit is None:
        return None
    places = {place: rows for place, rows in report["lost"].items() if rows}
    if seen > limit:
        return check.fails(
            f"{seen} acknowledged rows are missing ({', '.join(places)}), and {limit} are allowed; keep the drill's folder and every node's log",
            lost=places,
        )
    return check.passes(
        f"{seen} of {report['ledger'][ACKNOWLEDGED]} acknowledged rows are missing, looked for at {', '.join(report['lost'])}"
    )


def _double(report: Report, limits: Limits) -> t.Optional[Verdict]:
    check = Check(3, "drill_double_writers", "No two nodes acknowledged commits at the same time")
    seen, limit = report["double_writer_seconds"], limits.double_writer_seconds
    if limit is None:
        return None
    beside = f"two nodes were out of recovery for {report['two_out_of_recovery_seconds']:g} s"
    if seen > limit:
        return check.fails(
            f"two nodes were writers for {seen:g} s, and {limit:g} s are allowed; fence all but the one of the highest timeline",
            writers=report["writers"],
        )
    return check.passes(f"two nodes were writers for {seen:g} s; {beside}", writers=report["writers"])


def percentiles(values: t.Sequence[float]) -> t.Dict[str, float]:
    """p50, p95 (the value that 19 of 20 do not exceed; of fewer than 20 it is the largest) and max; raises ValueError for no values."""
    if not values:
        raise ValueError("there are no values, so they have no percentiles")
    ordered = sorted(values)
    return {
        "p50": statistics.median(ordered),
        "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
        "max": ordered[-1],
    }


def line_of(event: t.Union[Try, Mark]) -> str:
    """A try or a mark as one line of a log."""
    return json.dumps(event._asdict(), ensure_ascii=False) + "\n"


def parsed(lines: t.Iterable[str]) -> t.Tuple[t.List[Try], t.List[Mark]]:
    """The tries and marks in the lines of logs, in the order of their ends; a last line that is still being written does not count.

    Raises ValueError for any other line that is neither.
    """
    tries: t.List[Try] = []
    marks: t.List[Mark] = []
    for line in lines:
        if not line.endswith("\n"):
            continue
        try:
            fields = json.loads(line)
            if "what" in fields:
                marks.append(Mark(**fields))
            else:
                tries.append(Try(**fields))
        except (ValueError, TypeError) as error:
            raise ValueError(f"a line of the drill's log is neither a try nor a mark: {line.strip()[:80]!r}") from error
    return sorted(tries, key=lambda each: each.ended), sorted(marks)
