"""Traffic beside a story: a coroutine in a thread of its own, whose failure the story's own thread raises."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from tests.lab.eventually import eventually


class Background:
    """Begins at once."""

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._trouble: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), name=name)
        self._thread.start()

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            asyncio.run(work())
        except BaseException as error:  # noqa: BLE001  raised by `check`, in the story's own thread
            self._trouble = error

    def check(self) -> None:
        """Raise what it failed with, where it did."""
        if self._trouble:
            raise self._trouble

    def wait_until(self, what: str, begun: Callable[[], bool], *, within: float) -> None:
        """Wait until it has come so far, in seconds, or raise what kept it from that."""
        eventually(what, lambda: self._trouble is not None or begun(), within=within)
        self.check()

    def join(self) -> None:
        """Wait for its end, whichever it is."""
        self._thread.join()
