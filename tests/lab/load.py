"""A steady load of real users' requests through the virtual address, with a count of each one that failed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import socket
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.lab.background import Background
from tests.lab.handle import Lab
from tests.lab.target import Target

# A request has failed when it got no 2xx in this time. It is the client's patience and no limit of ours: never widened.
PATIENCE_SECONDS = 10.0
# Where the load ends by itself, whatever the story does.
_LONGEST_SECONDS = 600.0
# The usual rate, and the one beside a playbook that runs: a quicker load would take the cores for which that one waits.
_REQUESTS_PER_SECOND = 300.0
BESIDE_A_RUN = 120.0
_WORKERS = 200
_PAUSE_SECONDS = 0.05

NOTES, ME, SETTINGS, READY, FRONTEND = "/api/notes?limit=20", "/api/me", "/api/settings", "/health/ready", "frontend"


@dataclass(frozen=True)
class Failure:
    """One request that failed: when (seconds since the load began), which, how, and under what name the balancers logged its last try."""

    second: float
    request: str
    how: str
    request_id: str = ""


@dataclass
class Result:
    """What became of all requests."""

    requests: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    by_instance: Counter[str] = field(default_factory=Counter)
    acknowledged: list[str] = field(default_factory=list)
    # When each of them was, by the monotonic clock.
    acknowledged_at: list[float] = field(default_factory=list)
    # Each write that got no 201, and what it got.
    refused: list[str] = field(default_factory=list)
    broken: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def refused_writes(self) -> int:
        return len(self.refused)

    def quantile(self, share: float) -> float:
        """The time within which this share of the answered requests was answered, counted from when each was due."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def __str__(self) -> str:
        instances = ", ".join(f"{name} {count}" for name, count in sorted(self.by_instance.items()))
        return (
            f"{self.requests} requests in {self.seconds:.0f} s ({self.requests / max(self.seconds, 1e-9):.0f}/s),"
            f" {len(self.failures)} failed; p50 {self.quantile(0.5) * 1000:.0f} ms, p99 {self.quantile(0.99) * 1000:.0f} ms,"
            f" max {self.quantile(1) * 1000:.0f} ms; {self.broken} connections broke; answered by {instances};"
            f" {len(self.acknowledged)} writes acknowledged, {self.refused_writes} refused, {len(self.lost)} lost"
        )

    def assert_unharmed(self) -> None:
        """No request failed and no acknowledged write is lost; else say which, as far as a line has room for it."""
        said = "; ".join(
            f"{failure.request} {failure.second:.1f} s into it: {failure.how}" for failure in self.failures[:3]
        )
        if self.failures:
            logged = _logged([failure.request_id for failure in self.failures[:3] if failure.request_id])
            raise AssertionError(f"{len(self.failures)} of {self.requests} requests failed: {said}{logged}")
        assert not self.lost, (
            f"{len(self.lost)} of {len(self.acknowledged)} acknowledged writes are lost: {self.lost[:3]}"
        )

    def save(self, file: Path) -> None:
        quantiles = {name: self.quantile(share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))}
        data = vars(self) | {"failures": [vars(failure) for failure in self.failures], "latencies": quantiles}
        file.write_text(json.dumps(data, indent=1) + "\n")


def _logged(request_ids: list[str]) -> str:
    """What the balancers' logs have of these requests: how long each took there, where it went, and how that ended."""
    if not request_ids:
        return ""
    lab = Lab()
    wanted = " ".join(f"--regexp={request_id}" for request_id in request_ids)
    command = f"grep --no-filename --fixed-strings {wanted} /var/log/nginx/*.log /var/log/haproxy/*.log 2>/dev/null"
    lines = "".join(lab.on(host, command, check=False) for host in lab.group("load_balancers"))
    return f"; the balancers logged: {lines.strip() or 'nothing of it'}"


class _ToVip(AbstractResolver):
    """Resolves every name to the virtual address."""

    def __init__(self, vip: str) -> None:
        self._vip = vip

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host=self._vip, port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@contextlib.asynccontextmanager
async def session_to(target: Target, patience_seconds: float) -> AsyncIterator[aiohttp.ClientSession]:
    """A user of the platform, signed in; each of his requests may take so long."""
    context = ssl.create_default_context(cafile=target.ca_file)
    # nginx closes idle connections later than we do, so none is taken up again in the moment it is closed.
    connector = aiohttp.TCPConnector(resolver=_ToVip(target.vip), ssl=context, limit=0, keepalive_timeout=15)
    timeout = aiohttp.ClientTimeout(total=patience_seconds)
    async with aiohttp.ClientSession(target.base_url, connector=connector, timeout=timeout) as session:
        body = {"tenant": target.tenant, "email": target.email, "password": target.password}
        async with session.post("/api/auth/login", json=body) as answer:
            answer.raise_for_status()
            session.headers["Authorization"] = f"Bearer {(await answer.json())['accessToken']}"
        yield session


class Load:
    """Requests due at a steady rate, each taken by the next free worker; latency counts from when a request was due.

    As a browser does, and as HTTP lets a client do with what is idempotent, a request whose connection breaks is sent again on another one. An
    answer is never asked for twice, whatever it is.
    """

    # One that gets no answer in this time is given up, and sent again while the client's patience lasts.
    try_seconds = float("inf")
    mix: tuple[str, ...] = (NOTES, ME, NOTES, SETTINGS, NOTES, FRONTEND, NOTES, ME, READY, SETTINGS)

    def __init__(self, target: Target, rate: float, writes_per_second: float, close_every: int = 0) -> None:
        self._target = target
        self._rate = rate
        self._writes_per_second = writes_per_second
        self._close_every = close_every
        self._finish_at: int | None = None
        self._begun = threading.Event()
        self.result = Result()

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    def finish(self, at_least: int) -> None:
        """Let the load end as soon as it has sent so many requests."""
        self._finish_at = at_least

    async def run(self) -> None:
        async with session_to(self._target, PATIENCE_SECONDS) as session:
            paths = await self._paths(session)
            start = time.monotonic()
            self._begun.set()
            tickets = itertools.count()
            writer = asyncio.create_task(self._write(session))
            await asyncio.gather(*(self._work(session, paths, tickets, start) for _ in range(_WORKERS)))
            self.result.seconds = time.monotonic() - start
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
            await self._check_ledger(session)

    async def _paths(self, session: aiohttp.ClientSession) -> list[str]:
        """The mix, with the files that the frontend's page names in the frontend's places."""
        async with session.get("/") as answer:
            answer.raise_for_status()
            files = re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css))"', await answer.text())
        assert files, "the frontend's page names no file"
        frontend = itertools.cycle(["/", *files])
        return [next(frontend) if path == FRONTEND else path for _ in range(len(files) + 1) for path in self.mix]

    def _over(self, number: int, start: float) -> bool:
        if time.monotonic() - start > _LONGEST_SECONDS:
            return True
        return self._finish_at is not None and number >= self._finish_at

    async def _work(
        self, session: aiohttp.ClientSession, paths: list[str], tickets: Iterator[int], start: float
    ) -> None:
        for number in tickets:
            due = start + number / self._rate
            await asyncio.sleep(due - time.monotonic())
            if self._over(number, start):
                return
            await self._request(session, paths[number % len(paths)], due, start)

    async def _request(self, session: aiohttp.ClientSession, path: str, due: float, start: float) -> None:
        result = self.result
        result.requests += 1
        last = self._close_every and result.requests % self._close_every == 0
        headers = {"Connection": "close"} if last else {}
        end = time.monotonic() + PATIENCE_SECONDS
        how = request_id = ""
        while (left := end - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(self.try_seconds, left)), session.get(path, headers=headers) as answer:
                    await answer.read()
                    served_by = answer.headers.get("X-Served-By")
                    if answer.ok and answer.status < 300:
                        result.latencies.append(time.monotonic() - due)
                        if served_by:
                            result.by_instance[served_by] += 1
                        return
                    request_id = answer.headers.get("X-Request-Id", "")
                    took = time.monotonic() - due
                    how = f"status {answer.status} from {served_by or 'the balancer'} after {took:.1f} s"
                    break
            except TimeoutError:
                how = f"no answer within {min(self.try_seconds, left):.1f} s"
            except (aiohttp.ClientError, OSError) as error:
                # A balancer that loads its configuration anew closes idle connections, perhaps in the moment in which one is used.
                how = f"{type(error).__name__}: {error}"
            result.broken += 1
            await asyncio.sleep(_PAUSE_SECONDS)
        result.failures.append(Failure(round(due - start, 3), f"GET {path}", how, request_id))

    async def _write(self, session: aiohttp.ClientSession) -> None:
        """Make notes and keep the id of each one that was acknowledged; a refused one may be there or not."""
        for number in itertools.count():
            await asyncio.sleep(1 / self._writes_per_second)
            body = {"title": f"load {number}", "body": str(uuid.uuid4())}
            try:
                async with session.post("/api/notes", json=body) as answer:
                    if answer.status == 201:
                        self.result.acknowledged.append((await answer.json())["id"])
                        self.result.acknowledged_at.append(time.monotonic())
                    else:
                        self.result.refused.append(f"status {answer.status}")
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self.result.refused.append(f"{type(error).__name__}: {error}")

    async def _check_ledger(self, session: aiohttp.ClientSession) -> None:
        for note in self.result.acknowledged:
            async with session.get(f"/api/notes/{note}") as answer:
                if answer.status != 200:
                    self.result.lost.append(note)


class UsersLoad(Load):
    """What people ask for: not the readiness, which says 503 while the database has no primary, and is right."""

    mix = tuple(path for path in Load.mix if path != READY)


@contextlib.contextmanager
def running_load(
    target: Target,
    *,
    requests: int,
    rate: float = _REQUESTS_PER_SECOND,
    writes_per_second: float = 2,
    close_every: int = 0,
    save_to: Path | None = None,
    kind: type[Load] = Load,
) -> Iterator[Load]:
    """A load that runs while the story does, and goes on until it has sent this many requests; its result is kept in a file.

    With close_every, each so-manieth request ends its connection, so that clients open new ones all the time.
    """
    load = kind(target, rate, writes_per_second, close_every)
    background = Background("load", load.run)
    try:
        background.wait_until("the load has begun", lambda: load.begun, within=30)
        yield load
        load.finish(requests)
    except BaseException:
        load.finish(0)
        raise
    finally:
        background.join()
        if save_to:
            load.result.save(save_to)
    background.check()
