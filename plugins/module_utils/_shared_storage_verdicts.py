# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make one verdict of each check of the shared storage from what all of its hosts judged."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._shared_storage_checks import MOUNTED, SHARED, WRITES
from ansible_collections.escala.ha.plugins.module_utils._verdict import Verdict, validated

Result = t.Mapping[str, t.Any]


def storage_verdicts(results: t.Mapping[str, Result]) -> t.List[Verdict]:
    """One verdict a check, which passes where it does on all hosts. Raises ValueError for what is no verdict."""
    views = {host: _verdicts(result) for host, result in results.items() if "verdicts" in result}
    blind = {host: _why_blind(result) for host, result in results.items() if host not in views}
    if not views:
        reason = "; ".join(f"{host} {why}" for host, why in blind.items()) or "there is no application host"
        return [WRITES.fails(f"nobody could be asked: {reason}. Bring the hosts back, or put right what they say")]
    names = dict.fromkeys(name for verdicts in views.values() for name in verdicts)
    merged = {name: _merged({host: of[name] for host, of in views.items() if name in of}) for name in names}
    if WRITES.name in merged and blind:
        merged[WRITES.name] = _without(merged[WRITES.name], blind)
    if SHARED.name in merged:
        merged[SHARED.name] = _together(merged[SHARED.name], views)
    return list(merged.values())


def _verdicts(result: Result) -> t.Dict[str, Verdict]:
    return {verdict["name"]: validated(verdict) for verdict in result["verdicts"]}


def _why_blind(result: Result) -> str:
    if result.get("unreachable") or result.get("skipped"):
        return "could not be entered, so it was not asked"
    return f"could not be asked: {' '.join(str(result.get('msg') or 'it said nothing').split()).rstrip('.')}"


def _merged(of: t.Mapping[str, Verdict]) -> Verdict:
    """The same check on several hosts. A reason that several give is said once."""
    bad = {host: verdict for host, verdict in of.items() if not verdict["passed"]}
    first = next(iter((bad or of).values()))
    reasons: t.Dict[str, t.List[str]] = {}
    for host, verdict in (bad or of).items():
        reasons.setdefault(verdict["reason"], []).append(host)
    told = [f"{', '.join(hosts)}: {reason}" for reason, hosts in reasons.items()]
    return {**first, "reason": "; ".join(told), "evidence": {host: verdict["evidence"] for host, verdict in of.items()}}


def _without(writes: Verdict, blind: t.Mapping[str, str]) -> Verdict:
    reasons = [f"{host} {why}" for host, why in blind.items()] + ([] if writes["passed"] else [writes["reason"]])
    return WRITES.fails(f"{'; '.join(reasons)}. Bring it back, or put right what it says", **writes["evidence"])


def _together(shared: Verdict, views: t.Mapping[str, t.Mapping[str, Verdict]]) -> Verdict:
    """What only all of them together show: that each has a storage of its own, or that some were not looked for."""
    seen = {host: of[SHARED.name]["evidence"] for host, of in views.items() if SHARED.name in of}
    unasked = [
        f"{host} did not look for {other}"
        for host, one in seen.items()
        for other in seen
        if one["wrote"] and other != host and other not in one["peers"]
    ]
    if unasked:
        told = "; ".join(unasked)
        return SHARED.fails(f"{told}. Name all hosts in the check's peers, on each of them", **shared["evidence"])
    alone = [one["wrote"] and "seen" not in one["peers"].values() for one in seen.values()]
    return _apart(shared, views) if len(alone) > 1 and all(alone) else shared


def _apart(shared: Verdict, views: t.Mapping[str, t.Mapping[str, Verdict]]) -> Verdict:
    places = ", ".join(f"{host} has {_place(of.get(MOUNTED.name))}" for host, of in views.items())
    return SHARED.fails(
        f"each host has a storage of its own: all could write, and none sees anything of another. {places}. Mount the same one on every host."
        " If they are the same, see that all hosts run the check at once: Ansible's forks must not be fewer than they are",
        **shared["evidence"],
    )


def _place(mounted: t.Optional[Verdict]) -> str:
    evidence = mounted["evidence"] if mounted else {}
    if "source" not in evidence:
        return "a bucket"
    return f"{evidence['path']} on {evidence['type']} from {evidence['source']} at {evidence['point']}"
