"""The one way in which a story waits, and the one place where a limit in seconds is widened."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def widened(seconds: float) -> float:
    """A limit for this machine: ESCALA_TIME_FACTOR widens seconds, and never a count of failures."""
    return seconds * float(os.environ.get("ESCALA_TIME_FACTOR", "1"))


def eventually(
    what: str,
    seen: Callable[[], T],
    *,
    within: float,
    every: float = 0.2,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return what is seen as soon as it is true; fail with the sentence and what was seen last.

    An AssertionError or OSError while looking means "not yet", and is shown when the time is over.
    """
    limit = widened(within)
    start = clock()
    while True:
        last: object
        try:
            found = seen()
            if found:
                return found
            last = found
        except (AssertionError, OSError) as error:
            last = f"{type(error).__name__}: {error}"
        if clock() - start + every > limit:
            raise AssertionError(f"not within {limit:g} s: {what}; seen last: {last!r}")
        sleep(every)


def lasting(
    what: str,
    seen: Callable[[], object],
    *,
    seconds: float,
    every: float = 0.2,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Fail with the sentence as soon as something is not true that must stay so for this time."""
    start = clock()
    while clock() - start < seconds:
        found = seen()
        assert found, f"not for {seconds:g} s: {what}; ended after {clock() - start:.1f} s with {found!r}"
        sleep(every)
