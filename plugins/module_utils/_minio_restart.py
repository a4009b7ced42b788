# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a MinIO that runs is what is on disk, and how it may be restarted if it is not."""

from __future__ import annotations

import os
import typing as t

PROPERTIES = ("ActiveState", "ExecMainStartTimestampMonotonic")


class Restart(t.NamedTuple):
    """`how` is none, alone or together."""

    how: str
    reason: str


def started_at(shown: str, now: float, monotonic_now: float) -> t.Optional[float]:
    """When the service that `systemctl show` wrote of was started, None where it does not run."""
    facts = dict(line.partition("=")[::2] for line in shown.splitlines())
    if facts.get("ActiveState") != "active":
        return None
    return now - (monotonic_now - int(facts.get("ExecMainStartTimestampMonotonic") or 0) / 1e6)


def changed_at(paths: t.Iterable[str]) -> t.Dict[str, float]:
    """When each file came to be what it is; one that is not there is left out.

    By the inode's time: a package keeps the time at which its file was made, long before the host had it.
    """
    return {path: os.stat(path).st_ctime for path in paths if os.path.exists(path)}


def decide(started: t.Optional[float], shared: t.Mapping[str, float], own: t.Mapping[str, float]) -> Restart:
    """Say how the node may be restarted.

    What all nodes must have alike is compared by a node that starts with what the others run with, and it waits until enough of them agree:
    nodes that change it one by one would wait for each other.
    """
    if started is None:
        return Restart("none", "it does not run")
    for how, sources in (("together", shared), ("alone", own)):
        newer = sorted(path for path, changed in sources.items() if changed > started)
        if newer:
            return Restart(how, f"it has run since before {', '.join(newer)} changed")
    return Restart("none", "")
