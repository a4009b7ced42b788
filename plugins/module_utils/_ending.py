# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that has to put something back before it ends, also when it is told to end in the middle.

Mitogen ends a module by SIGTERM when the run is gone, and a terminal of ssh's by SIGHUP. By either Python ends at once, without any `finally`.
"""

from __future__ import annotations

import contextlib
import signal
import typing as t

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class EndedError(Exception):
    """The process was told to end."""


class Ending:
    """The signals that came. Inside of `raised` the first one interrupts; outside none does, so that what puts things back is done whole."""

    def __init__(self) -> None:
        self.came: t.List[int] = []
        self._raises = False

    def note(self, number: int, _frame: object = None) -> None:
        """Handle a signal."""
        self.came.append(number)
        if self._raises:
            # Another may follow, and would interrupt what is done about this one.
            self._raises = False
            raise EndedError(f"it was told to end, by {signal.Signals(number).name}")

    @contextlib.contextmanager
    def raised(self) -> t.Iterator[None]:
        """Raise EndedError where the block is when a signal comes, or at its beginning when one has come before."""
        self._raises = True
        try:
            if self.came:
                self.note(self.came.pop())
            yield
        finally:
            self._raises = False


@contextlib.contextmanager
def put_off() -> t.Iterator[Ending]:
    """Have signals end nothing while the block lasts; it is for what ends soon by itself. Afterwards all is as it was.

    What is ignored stays so. Outside of the main thread nobody can handle signals, and nothing is put off.
    """
    ending = Ending()
    before: t.Dict[signal.Signals, t.Any] = {}
    with contextlib.suppress(ValueError):
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, ending.note)
    try:
        yield ending
    finally:
        for number, handler in before.items():
            # None is a handler that is not Python's, and cannot be had back by it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
