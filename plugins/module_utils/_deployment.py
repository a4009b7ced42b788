# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order the hosts of an application get a release, whether they may, and which releases go."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._application import instances_of


def order(
    hosts: t.Mapping[str, t.Sequence[str]],
    readiness: t.Mapping[str, t.Mapping[str, t.Any]],
    rotation: t.Mapping[str, t.Mapping[str, t.Any]],
) -> t.List[str]:
    """The hosts (each with its instances' names), the one that is not well first: while it is away, no other may go.

    `readiness` and `rotation` are what application_check and load_balancer_info returned, by the balancer on which they ran.
    Raises ValueError where a release would take away instances of which too few are left.
    """
    faults = {
        name: f"{name} {said} (seen from {balancer})"
        for balancer, result in readiness.items()
        for verdict in result["verdicts"]
        for name, said in verdict["evidence"].get("instances", {}).items()
        if said != "ready"
    }
    silent = [f"{balancer}: {seen['problem']}" for balancer, seen in rotation.items() if seen["problem"]]
    if silent:
        raise ValueError(f"a balancer does not say what it has in rotation: {'; '.join(silent)}. Mend it first")
    drained = {entry["name"] for seen in rotation.values() for entry in seen["backends"] if entry["state"] == "drained"}
    sick = [host for host, names in hosts.items() if any(name in faults for name in names)]
    if len(sick) > 1:
        raise ValueError(
            f"{' and '.join(sick)} have instances that are not ready, and only one host at a time may be away:"
            f" {'; '.join(faults[name] for name in sorted(faults))}. Read their journals and mend them first"
        )
    away = [host for host, names in hosts.items() if host not in sick and any(name in drained for name in names)]
    return sick + away + [host for host in hosts if host not in sick and host not in away]


def names_on(host: str, ports: t.Sequence[int]) -> t.List[str]:
    return [instance.name for instance in instances_of([(host, "", ports)])]


def superseded(found: t.Sequence[t.Mapping[str, t.Any]], kept: int, needed: t.Collection[str]) -> t.List[str]:
    """The folders of releases that may go: all but the needed ones and the newest, as many as are to be kept in all."""
    newest_first = sorted(found, key=lambda entry: t.cast(float, entry["ctime"]), reverse=True)
    others = [entry["path"] for entry in newest_first if entry["path"] not in needed]
    there = len(newest_first) - len(others)
    return sorted(others[max(0, kept - there) :])
