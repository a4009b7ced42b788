# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a platform time to come to rest before it is judged."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._verdict import Verdict, outcome

# The options that the documentation fragment escala.ha.check describes.
CHECK_ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "timeout_seconds": {"type": "float", "default": 10},
    "request_timeout_seconds": {"type": "float", "default": 3},
    "fail": {"type": "bool", "default": True},
}


def settle(
    checks: t.Sequence[t.Callable[[], Verdict]],
    timeout_seconds: float,
    clock: t.Callable[[], float],
    sleep: t.Callable[[float], None],
    pause_seconds: float = 0.5,
) -> t.List[Verdict]:
    """Take each check until it passes or the time is over; every check is taken at least once.

    A check that has passed is not taken again, so what it saw stays its evidence.
    """
    deadline = clock() + timeout_seconds
    verdicts = [check() for check in checks]
    while not all(verdict["passed"] for verdict in verdicts) and clock() + pause_seconds <= deadline:
        sleep(pause_seconds)
        verdicts = [verdict if verdict["passed"] else check() for check, verdict in zip(checks, verdicts)]
    return verdicts


def conclude(
    checks: t.Sequence[t.Callable[[], Verdict]],
    options: t.Mapping[str, t.Any],
    fail: t.Callable[..., None],
    end: t.Callable[..., None],
) -> None:
    """How a module whose name ends in _check ends: settled, and with all verdicts either way. `options` has CHECK_ARGUMENTS."""
    result = outcome(settle(checks, options["timeout_seconds"], time.monotonic, time.sleep))
    (fail if options["fail"] and not result["passed"] else end)(**result)
