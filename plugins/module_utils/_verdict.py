# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one shape in which every check says what it found."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping

Verdict = t.Dict[str, t.Any]

_SHAPE: t.Dict[str, type] = {
    "etapa": int,
    "name": str,
    "title": str,
    "passed": bool,
    "reason": str,
    "evidence": dict,
}
_SNAKE_CASE = re.compile(r"[a-z][a-z0-9_]*")


class Check(t.NamedTuple):
    """What is being judged, apart from what was found."""

    etapa: int
    name: str
    title: str

    def passes(self, reason: str, **evidence: t.Any) -> Verdict:
        """The verdict of a limit that holds: the reason says what was seen against which limit."""
        return self._verdict(True, reason, evidence)

    def fails(self, reason: str, **evidence: t.Any) -> Verdict:
        """The verdict of a limit that does not hold: the reason also says what to do next."""
        return self._verdict(False, reason, evidence)

    def _verdict(self, passed: bool, reason: str, evidence: t.Dict[str, t.Any]) -> Verdict:
        return validated(
            {
                "etapa": self.etapa,
                "name": self.name,
                "title": self.title,
                "passed": passed,
                "reason": reason,
                "evidence": evidence,
            }
        )


def validated(candidate: t.Any) -> Verdict:
    """Return the candidate, or raise ValueError that names what keeps it from being a verdict."""
    if not isinstance(candidate, dict):
        raise ValueError(f"a verdict is a dictionary, not {type(candidate).__name__}")
    label = candidate.get("name", candidate)
    if set(candidate) != set(_SHAPE):
        raise ValueError(f"verdict {label!r} has the keys {sorted(candidate)}, expected {sorted(_SHAPE)}")
    for key, expected in _SHAPE.items():
        value = candidate[key]
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise ValueError(f"verdict {label!r}: {key} is {type(value).__name__}, expected {expected.__name__}")
    if not _SNAKE_CASE.fullmatch(candidate["name"]):
        raise ValueError(f"verdict {label!r}: the name is not snake_case")
    for key in ("title", "reason"):
        if not candidate[key].strip():
            raise ValueError(f"verdict {label!r}: the {key} is empty")
    return candidate


def failed(verdicts: t.Iterable[Verdict]) -> t.List[Verdict]:
    return [verdict for verdict in verdicts if not verdict["passed"]]


def line(verdict: Verdict) -> str:
    """One verdict for a terminal."""
    return f"{'ok    ' if verdict['passed'] else 'FAILED'} {verdict['name']}: {verdict['reason']}"


def summary(verdicts: t.Sequence[Verdict]) -> str:
    """All verdicts in one message: a count, and the name and reason of each that failed."""
    bad = failed(verdicts)
    if not bad:
        return f"{len(verdicts)} of {len(verdicts)} checks passed"
    reasons = "".join(f"\n- {verdict['name']}: {verdict['reason']}" for verdict in bad)
    return f"{len(bad)} of {len(verdicts)} checks failed:{reasons}"


def outcome(verdicts: t.Sequence[Verdict]) -> t.Dict[str, t.Any]:
    """What a module whose name ends in _check returns: judging never changes anything."""
    return {
        "changed": False,
        "passed": not failed(verdicts),
        "msg": summary(verdicts),
        "verdicts": list(verdicts),
    }


def gather(results: t.Mapping[str, t.Any]) -> t.List[Verdict]:
    """The verdicts that tasks registered on several hosts; a host that could not be reached fails one of its own.

    A host has one result, or several in a list. Raises ValueError for a result without verdicts, since nothing judged must not pass for
    nothing wrong; only a host that was seen to be unreachable may have results that were skipped.
    """
    verdicts: t.List[Verdict] = []
    for host, of_host in results.items():
        several = [of_host] if isinstance(of_host, Mapping) else list(of_host)
        away = any(result.get("unreachable") for result in several)
        if away:
            place = re.sub(r"[^a-z0-9]", "_", host.lower())
            check = Check(0, f"host_reachable_{place}", f"{host} can be reached")
            verdicts.append(check.fails(f"{host} could not be reached, so nothing there was checked; bring it back"))
        for result in several:
            if "verdicts" in result:
                verdicts.extend(validated(verdict) for verdict in result["verdicts"])
            elif not away:
                raise ValueError(f"the result of {host} has no verdicts: {result.get('msg', 'it was skipped')}")
    return verdicts
