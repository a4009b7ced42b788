"""For how long new clients were not served: a new connection every few milliseconds, each in a task of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.lab.background import Background
from tests.lab.eventually import eventually
from tests.lab.target import Target

_EVERY_SECONDS = 0.03
_TIMEOUT_SECONDS = 1.0
# So many connections served, about a second of them, tell that what was seen is how it is.
_SETTLED = 30
_PATH = "/health/ready"


def longest_gap(successes: Iterable[float], since: float, until: float) -> float:
    """The longest time without a success between two moments, the time before the first and after the last included."""
    marks = [since, *sorted(moment for moment in successes if since < moment < until), until]
    return max(after - before for before, after in itertools.pairwise(marks))


@dataclass
class Probe:
    """What the probe saw so far; the moments are seconds of time.time()."""

    target: Target
    successes: list[float] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def outage(self, fault_at: float) -> float:
        """The longest gap from the last success before the fault to the latest success of all."""
        assert self.successes, f"no connection was ever served; seen last: {self.failures[-1:]}"
        before = max((moment for moment in self.successes if moment <= fault_at), default=fault_at)
        return longest_gap(self.successes, before, max(*self.successes, before))

    def served_since(self, moment: float) -> int:
        """How many connections were served after a moment."""
        return sum(success > moment for success in self.successes)

    def wait_until_settled(self) -> None:
        """Return when the platform has been serving for a while after now."""
        now = time.time()
        eventually("new clients are served for a while", lambda: self.served_since(now) >= _SETTLED, within=15)

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Start one attempt after the other until stop(), whatever has become of the ones before."""
        context = ssl.create_default_context(cafile=self.target.ca_file)
        attempts: set[asyncio.Task[None]] = set()
        while not self._stop.is_set():
            attempt = asyncio.create_task(self._attempt(context))
            attempts.add(attempt)
            attempt.add_done_callback(attempts.discard)
            await asyncio.sleep(_EVERY_SECONDS)
        await asyncio.gather(*attempts)

    async def _attempt(self, context: ssl.SSLContext) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                status = await self._status(context)
        except (OSError, TimeoutError, EOFError) as error:
            self.failures.append((time.time(), type(error).__name__))
            return
        if status.startswith(b"HTTP/1.1 2"):
            self.successes.append(time.time())
        else:
            self.failures.append((time.time(), status.decode(errors="replace").strip()))

    async def _status(self, context: ssl.SSLContext) -> bytes:
        name = self.target.server_name
        reader, writer = await asyncio.open_connection(self.target.vip, 443, ssl=context, server_hostname=name)
        try:
            writer.write(f"GET {_PATH} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
            return await reader.readline()
        finally:
            # Waiting for the goodbye of a peer that may be dead would hold the attempt up.
            writer.transport.abort()


@contextlib.contextmanager
def probing(target: Target) -> Iterator[Probe]:
    """A probe that runs beside the story, and is being served when the story begins."""
    probe = Probe(target)
    background = Background("probe", probe.run)
    try:
        probe.wait_until_settled()
        yield probe
    finally:
        probe.stop()
        background.join()
    background.check()
