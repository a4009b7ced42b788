# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a failover drill: lines for a terminal, data for programs, and a page with the timeline for people."""

from __future__ import annotations

import html
import json
import os
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_drill import Report
from ansible_collections.escala.ha.plugins.module_utils._report import PAGE_STYLE
from ansible_collections.escala.ha.plugins.module_utils._verdict import Verdict, failed, line

_WIDTH, _LEFT, _ROW, _BAR = 900.0, 90.0, 34.0, 18.0
# As many numbers below the timeline as a person still reads.
_TICKS = 10
_STEPS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)

_STYLE = """
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; fill: var(--ink); }
.writes { fill: var(--good); }
.open { fill: none; stroke: var(--good); }
.gap { fill: var(--bad); opacity: .75; }
.both { fill: var(--bad); }
.mark { stroke: var(--ink); stroke-dasharray: 3 3; }
.axis { stroke: var(--line); }
"""


def as_text(report: Report, verdicts: t.Sequence[Verdict]) -> t.List[str]:
    """The report as lines for a terminal, the figures first."""
    ledger, double, both = report["ledger"], report["double_writer_seconds"], report["two_out_of_recovery_seconds"]
    begin, end = report["gap_seconds"]
    rto = f"RTO {report['rto_seconds']:g} s: no row was acknowledged from {begin:g} s to {end:g} s"
    uncertain = f"{ledger['indeterminate']} more without a certain answer, {ledger['failed']} refused"
    return [
        f"{report['fault']}: measured for {report['measured_seconds']:g} s, the fault after {report['fault_at_seconds']:g} s",
        rto if report["recovered"] else f"{rto}, the end of the drill",
        f"RPO {report['rpo_rows']} of {ledger['acknowledged']} acknowledged rows lost ({uncertain})",
        f"two writers for {double:g} s (two nodes out of recovery for {both:g} s)",
        *(f"{node} was a writer {_times(spans)}" for node, spans in report["writers"].items()),
        *(line(verdict) for verdict in verdicts),
    ]


def as_json(report: Report, verdicts: t.Sequence[Verdict]) -> str:
    return (
        json.dumps({**report, "passed": not failed(verdicts), "verdicts": list(verdicts)}, indent=2, ensure_ascii=False)
        + "\n"
    )


def as_html(report: Report, verdicts: t.Sequence[Verdict]) -> str:
    """The report as one page that needs no other file."""
    good = not failed(verdicts)
    title = f"{'Passed' if good else 'FAILED'}: failover drill, {report['fault']}"
    cards = "\n".join(
        f'<article class="check {"passed" if each["passed"] else "failed"}"><p class="mark">{"✓ passed" if each["passed"] else "✗ failed"}</p>'
        f"<div><h3>{_text(each['title'])}</h3><p>{_text(each['reason'])}</p></div></article>"
        for each in verdicts
    )
    figures = "".join(f"<p>{_text(each)}</p>" for each in as_text(report, []))
    errors = "".join(
        f"<dt>{each['at_seconds']:g} s, {each['times']} times</dt><dd>{_text(each['why'])}</dd>"
        for each in report["ledger_errors"]
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>{PAGE_STYLE}{_STYLE}</style>
</head>
<body>
<h1>{_text(title)}</h1>
{figures}
<h2>Timeline · <span lang="pt-BR">Linha do tempo</span></h2>
{timeline(report)}
<p class="quiet">Filled: acknowledged commits. Outlined: the node was out of recovery. Red: nothing was acknowledged, or two writers at once.</p>
<p class="quiet" lang="pt-BR">Preenchido: commits confirmados. Contorno: fora de recuperação. Vermelho: nada foi confirmado, ou dois escritores.</p>
<h2>Verdicts · <span lang="pt-BR">Vereditos</span></h2>
{cards}
<h2>What clients were told · <span lang="pt-BR">O que os clientes receberam</span></h2>
<dl>{errors or "<dt>nothing but acknowledgements</dt>"}</dl>
</body>
</html>
"""


def timeline(report: Report) -> str:
    """The drill as a picture: the ledger and each node in a row of its own, seconds from left to right."""
    rows = ["ledger", *report["nodes"]]
    bottom = _ROW * len(rows)
    scale: float = (_WIDTH - _LEFT - 10) / max(report["measured_seconds"], 1.0)

    def across(seconds: float) -> float:
        return _LEFT + seconds * scale

    def bars(row: int, spans: t.Iterable[t.Sequence[float]], kind: str) -> t.List[str]:
        top = _ROW * row + (_ROW - _BAR) / 2
        return [
            f'<rect class="{kind}" x="{across(begin):.1f}" y="{top:.1f}" width="{max((end - begin) * scale, 1):.1f}" height="{_BAR:g}"/>'
            for begin, end in spans
        ]

    parts = [f'<text x="0" y="{_ROW * row + _ROW / 2 + 4:.0f}">{_text(name)}</text>' for row, name in enumerate(rows)]
    parts += bars(0, report["acknowledged"], "writes") + bars(0, [report["gap_seconds"]], "gap")
    for row, node in enumerate(report["nodes"], start=1):
        parts += bars(row, report["out_of_recovery"].get(node, []), "open")
        parts += bars(row, report["writers"].get(node, []), "writes")
        parts += bars(row, report["double_writer"], "both")
    for mark in report["marks"]:
        x = across(mark["at_seconds"])
        parts.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom:g}"><title>{_text(mark["what"])}</title></line>'
        )
    for seconds in ticks(report["measured_seconds"]):
        x = across(seconds)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom:g}" y2="{bottom + 5:g}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18:g}" text-anchor="middle">{seconds:g} s</text>')
    label = f"no row was acknowledged from {report['gap_seconds'][0]:g} s to {report['gap_seconds'][1]:g} s"
    return (
        f'<svg viewBox="0 0 {_WIDTH:g} {bottom + 24:g}" role="img" aria-label="{label}">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def ticks(length_seconds: float) -> t.List[float]:
    """Round numbers of seconds from 0 on, few enough to be read side by side."""
    step = next((each for each in _STEPS if length_seconds / each <= _TICKS), _STEPS[-1])
    return [step * number for number in range(int(length_seconds / step) + 1)]


def write(directory: str, report: Report, verdicts: t.Sequence[Verdict]) -> t.Dict[str, str]:
    """Put the report beside the drill's log, as text, JSON and a page, and return where; raises OSError."""
    files = {
        "text": ("report.txt", "\n".join(as_text(report, verdicts)) + "\n"),
        "json": ("report.json", as_json(report, verdicts)),
        "html": ("report.html", as_html(report, verdicts)),
    }
    for name, content in files.values():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            file.write(content)
    return {kind: os.path.join(directory, name) for kind, (name, _content) in files.items()}


def _times(spans: t.Sequence[t.Sequence[float]]) -> str:
    return ", ".join(f"from {begin:g} s to {end:g} s" for begin, end in spans)


def _text(text: t.Any) -> str:
    return html.escape(str(text), quote=True)
