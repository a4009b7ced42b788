"""Uploads of mixed size through the virtual address, each remembered by its checksum once it is acknowledged, and read back in the end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.lab.background import Background
from tests.lab.load import Failure, session_to
from tests.lab.target import Target

# What people upload: mostly small, some that take several parts of 5 MiB. Bytes, and how often in twenty.
_SIZES = ((2_000, 6), (40_000, 7), (300_000, 4), (2_000_000, 2), (12_000_000, 1))
_ORDER = [size for size, times in _SIZES for _ in range(times)]

# One try: more than a balancer waits for an upload that nobody takes any more.
_TRY_SECONDS = 75.0
_PAUSE_SECONDS = 0.5
# Where it ends by itself, whatever the story does.
_LONGEST_SECONDS = 2_400.0


@dataclass
class Uploaded:
    """What became of all uploads."""

    sent: int = 0
    seconds: float = 0.0
    acknowledged: dict[str, str] = field(default_factory=dict)
    acknowledged_at: list[float] = field(default_factory=list)
    refusals: list[Failure] = field(default_factory=list)
    uncured: list[Failure] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    by_instance: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    @property
    def longest_gap(self) -> float:
        """The longest time in seconds in which no upload was acknowledged."""
        moments = sorted(self.acknowledged_at)
        return max((after - before for before, after in itertools.pairwise(moments)), default=0.0)

    def tries_of(self, request: str) -> int:
        """How many tries of one upload failed."""
        return sum(failure.request == request for failure in self.refusals)

    def __str__(self) -> str:
        hows = Counter(failure.how for failure in self.refusals).most_common(4)
        return (
            f"{self.sent} uploads in {self.seconds:.0f} s, {len(self.acknowledged)} acknowledged,"
            f" {len(self.refusals)} tries failed ({'; '.join(f'{count} x {how}' for how, count in hows)}), {len(self.uncured)} to the end;"
            f" longest without an answer {self.longest_gap:.1f} s; {len(self.lost)} lost, {len(self.damaged)} damaged;"
            f" taken by {dict(sorted(self.by_instance.items()))}"
        )

    def save(self, file: Path) -> None:
        file.write_text(
            json.dumps(vars(self) | {"refusals": [vars(one) for one in self.refusals]}, indent=1, default=vars) + "\n"
        )


class Uploads:
    """So many clients upload one file after the other; what is refused is sent again, as a person would, for as long as they have patience."""

    def __init__(self, target: Target, clients: int, patience_seconds: float, seed: int) -> None:
        self._target = target
        self._clients = clients
        self._patience_seconds = patience_seconds
        self._random = random.Random(seed)
        self._finish_at: int | None = None
        self._begun = threading.Event()
        self.result = Uploaded()

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    def finish(self, at_least: int) -> None:
        """Let it end as soon as so many files have been sent."""
        self._finish_at = at_least

    async def run(self) -> None:
        async with session_to(self._target, _TRY_SECONDS) as session:
            self._start = time.monotonic()
            self._begun.set()
            tickets = itertools.count()
            await asyncio.gather(*(self._client(session, tickets) for _ in range(self._clients)))
            self.result.seconds = time.monotonic() - self._start
            await self._read_back(session)

    async def _client(self, session: aiohttp.ClientSession, tickets: Iterator[int]) -> None:
        for number in tickets:
            over = time.monotonic() - self._start > _LONGEST_SECONDS
            if over or (self._finish_at is not None and number >= self._finish_at):
                return
            content = self._random.randbytes(_ORDER[number % len(_ORDER)])
            self.result.sent += 1
            await self._upload(session, number, content)

    async def _upload(self, session: aiohttp.ClientSession, number: int, content: bytes) -> None:
        begin = time.monotonic()
        failure: Failure | None = None
        while failure is None or time.monotonic() - begin < self._patience_seconds:
            how = await self._try(session, number, content)
            if how is None:
                self.result.latencies.append(time.monotonic() - begin)
                return
            failure = Failure(round(begin - self._start, 3), f"upload {number}, {len(content)} bytes", how)
            self.result.refusals.append(failure)
            await asyncio.sleep(_PAUSE_SECONDS)
        self.result.uncured.append(failure)

    async def _try(self, session: aiohttp.ClientSession, number: int, content: bytes) -> str | None:
        """How one try failed, or nothing."""
        form = aiohttp.FormData()
        form.add_field("file", content, filename=f"upload-{number}.bin", content_type="application/octet-stream")
        try:
            async with session.post("/api/uploads", data=form) as answer:
                served_by = answer.headers.get("X-Served-By", "the balancer")
                if answer.status != 201:
                    return f"status {answer.status}"
                self.result.acknowledged[(await answer.json())["id"]] = hashlib.sha256(content).hexdigest()
                self.result.acknowledged_at.append(time.monotonic() - self._start)
                self.result.by_instance[served_by] += 1
                return None
        except TimeoutError:
            return f"no answer within {_TRY_SECONDS:.0f} s"
        except (aiohttp.ClientError, OSError) as error:
            return type(error).__name__

    async def _read_back(self, session: aiohttp.ClientSession) -> None:
        """Every file that was acknowledged is there, byte by byte."""
        waiting = asyncio.Queue[tuple[str, str]]()
        for entry in self.result.acknowledged.items():
            waiting.put_nowait(entry)

        async def read() -> None:
            while not waiting.empty():
                upload, checksum = waiting.get_nowait()
                async with session.get(f"/api/uploads/{upload}") as answer:
                    content = await answer.read()
                    if answer.status != 200:
                        self.result.lost.append(upload)
                    elif hashlib.sha256(content).hexdigest() != checksum:
                        self.result.damaged.append(upload)

        await asyncio.gather(*(read() for _ in range(self._clients)))


@contextlib.contextmanager
def running_uploads(
    target: Target,
    *,
    files: int,
    clients: int = 8,
    patience_seconds: float = 120,
    seed: int = 1,
    save_to: Path | None = None,
) -> Iterator[Uploads]:
    """Uploads that go on while the story does, until this many were sent; then all that were acknowledged are read back."""
    uploads = Uploads(target, clients, patience_seconds, seed)
    background = Background("uploads", uploads.run)
    try:
        background.wait_until("uploads have begun", lambda: uploads.begun, within=30)
        yield uploads
        uploads.finish(files)
    except BaseException:
        uploads.finish(0)
        raise
    finally:
        background.join()
        if save_to:
            uploads.result.save(save_to)
    background.check()
