# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of a platform as one report: data for programs and a page for people."""

from __future__ import annotations

import datetime
import html
import json
import os
import tempfile
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._portuguese import ETAPAS, words_for
from ansible_collections.escala.ha.plugins.module_utils._verdict import Verdict, failed, validated

Report = t.Dict[str, t.Any]

PAGE_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --quiet: #57606a; --line: #d0d7de;
  --good: #116329; --good-ground: #dafbe1; --bad: #a40e26; --bad-ground: #ffebe9; }
@media (prefers-color-scheme: dark) { :root { --ground: #0d1117; --ink: #e6edf3; --quiet: #9da7b3; --line: #30363d;
  --good: #7ee787; --good-ground: #12261e; --bad: #ff9492; --bad-ground: #3c1618; } }
@media print { :root { color-scheme: light; --ground: #fff; --ink: #000; --quiet: #444; --line: #999;
  --good: #116329; --good-ground: #fff; --bad: #a40e26; --bad-ground: #fff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .75rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0; }
p { margin: .25rem 0; }
a { color: inherit; }
[lang="pt-BR"], .quiet { color: var(--quiet); }
h1 [lang="pt-BR"], h2 [lang="pt-BR"] { display: block; font-size: .8em; font-weight: 400; }
.banner, .check { border: 1px solid var(--line); border-left-width: .4rem; border-radius: .3rem; padding: .75rem 1rem; }
.banner { margin: 1rem 0; font-size: 1.1rem; font-weight: 600; }
.banner p { font-size: 1rem; margin: .5rem 0 0; }
.banner ul { font-size: 1rem; font-weight: 400; margin: .5rem 0 0; padding-left: 1.2rem; }
.check { margin: .75rem 0; break-inside: avoid; display: grid; grid-template-columns: 7.5rem 1fr; gap: 0 1rem; }
.passed { border-left-color: var(--good); }
.failed { border-left-color: var(--bad); }
.banner.passed { background: var(--good-ground); }
.banner.failed { background: var(--bad-ground); }
.mark { font-weight: 700; }
.mark [lang="pt-BR"] { display: block; font-weight: 400; }
.passed .mark { color: var(--good); }
.failed .mark { color: var(--bad); }
.next { border-top: 1px dashed var(--line); padding-top: .25rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; margin: .5rem 0 0; font-size: .875rem; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, monospace; }
footer { margin-top: 2rem; font-size: .875rem; color: var(--quiet); }
@media (max-width: 40rem) { .check { grid-template-columns: 1fr; } dl { grid-template-columns: 1fr; } dd { margin-left: 1rem; } }
"""


def build(platform: str, verdicts: t.Sequence[t.Any], checked_at: datetime.datetime) -> Report:
    """The whole report as data; raises ValueError when something in the list is no verdict."""
    checked = [validated(verdict) for verdict in verdicts]
    names = [verdict["name"] for verdict in checked]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"more than one verdict has the name {', '.join(twice)}")
    if not checked:
        raise ValueError("there is no verdict to report, and nothing checked is nothing proven")
    return {
        "platform": platform,
        "checked_at": checked_at.astimezone(datetime.timezone.utc).isoformat(timespec="seconds"),
        "passed": not failed(checked),
        "checks": len(checked),
        "failed": [verdict["name"] for verdict in failed(checked)],
        "verdicts": sorted(checked, key=lambda verdict: t.cast(int, verdict["etapa"])),
    }


def as_json(report: Report) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


def as_html(report: Report) -> str:
    """The report as one page that needs no other file."""
    title = f"{'Passed' if report['passed'] else 'FAILED'}: verification of {report['platform']}"
    when = datetime.datetime.fromisoformat(report["checked_at"]).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<style>{PAGE_STYLE}</style>
</head>
<body>
<header>
<h1>Verification of the platform {_text(report["platform"])}{_portuguese(f"Verificação da plataforma {report['platform']}")}</h1>
<p class="quiet">Checked at · <span lang="pt-BR">Verificado em</span> {_text(when)}</p>
{_banner(report)}
</header>
<main>
{_sections(report["verdicts"])}
</main>
<footer>
<p>The same for programs: <code>report.json</code>, beside this file. To check again, run <code>playbooks/verify.yml</code>.</p>
<p lang="pt-BR">O mesmo para programas: <code>report.json</code>, ao lado deste arquivo. Para verificar de novo, execute <code>playbooks/verify.yml</code>.</p>
</footer>
</body>
</html>
"""


def write(directory: str, report: Report) -> None:
    """Put both files into the directory, each whole or not at all; raises OSError."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    for path, content in zip(paths(directory), (as_json(report), as_html(report))):
        handle, draft = tempfile.mkstemp(dir=directory, prefix=".report-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)
            os.chmod(draft, 0o644)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise


def paths(directory: str) -> t.Tuple[str, str]:
    return os.path.join(directory, "report.json"), os.path.join(directory, "report.html")


def _banner(report: Report) -> str:
    count, bad = report["checks"], len(report["failed"])
    if report["passed"]:
        english = f"✓ All {count} checks passed" if count > 1 else "✓ The only check passed"
        portuguese = f"Todas as {count} verificações passaram" if count > 1 else "A única verificação passou"
        return f'<div class="banner passed">{english} {_portuguese(portuguese)}</div>'
    english = f"✗ {bad} of {count} checks failed"
    portuguese = f"{bad} de {count} verificações falharam" if bad > 1 else f"{bad} de {count} verificações falhou"
    links = "".join(
        f'<li><a href="#{_text(verdict["name"])}">{_text(verdict["title"])}</a> {_title_in_portuguese(verdict)}</li>'
        for verdict in failed(report["verdicts"])
    )
    lead = f"<p>This does not hold: {_portuguese('Isto não vale:')}</p>"
    return f'<div class="banner failed">{english} {_portuguese(portuguese)}{lead}<ul>{links}</ul></div>'


def _sections(verdicts: t.Sequence[Verdict]) -> str:
    sections = []
    for etapa in sorted({verdict["etapa"] for verdict in verdicts}):
        english, portuguese = ETAPAS.get(etapa, ("", ""))
        heading = f"Etapa {etapa}: {english}" if etapa and english else english or f"Etapa {etapa}"
        beside = _portuguese(portuguese) if portuguese != english else ""
        cards = "\n".join(_card(verdict) for verdict in verdicts if verdict["etapa"] == etapa)
        sections.append(f"<section>\n<h2>{_text(heading)}{beside}</h2>\n{cards}\n</section>")
    return "\n".join(sections)


def _card(verdict: Verdict) -> str:
    passed = verdict["passed"]
    words = words_for(verdict["name"])
    step = f'<p class="next" lang="pt-BR">O que fazer: {_text(words.next_step)}</p>' if words and not passed else ""
    mark, portuguese = ("✓ passed", "passou") if passed else ("✗ failed", "falhou")
    return f"""<article class="check {"passed" if passed else "failed"}" id="{_text(verdict["name"])}">
<p class="mark">{mark}{_portuguese(portuguese)}</p>
<div>
<h3>{_text(verdict["title"])}</h3>
<p>{_title_in_portuguese(verdict)}</p>
<p>{_text(verdict["reason"])}</p>
{step}
{_evidence(verdict["evidence"])}
</div>
</article>"""


def _evidence(evidence: t.Mapping[str, t.Any]) -> str:
    rows = "".join(
        f"<dt>{_text(label.replace('_', ' '))}</dt><dd>{'<br>'.join(_text(line) for line in _lines(value))}</dd>"
        for label, value in evidence.items()
    )
    return f"<dl>{rows}</dl>" if rows else ""


def _lines(value: t.Any) -> t.List[str]:
    """A value for a person: what has several parts has a line for each."""
    if isinstance(value, dict) and value:
        return [f"{key}: {_value(inner)}" for key, inner in value.items()]
    return [_value(value)]


def _value(value: t.Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(inner) for inner in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)


def _title_in_portuguese(verdict: Verdict) -> str:
    words = words_for(verdict["name"])
    return _portuguese(words.title) if words else ""


def _portuguese(text: str) -> str:
    return f'<span lang="pt-BR">{_text(text)}</span>'


def _text(text: t.Any) -> str:
    return html.escape(str(text), quote=True)
