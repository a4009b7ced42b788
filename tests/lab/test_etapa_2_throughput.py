"""Uploads and downloads through one instance into its local disk, a share and an object storage, one after the other, on hosts of one kind."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp
import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.load import session_to
from tests.lab.measurements import record
from tests.lab.target import Target

pytestmark = [pytest.mark.etapa_2, pytest.mark.topology("nfs_to_minio"), pytest.mark.soak_only]

# Emulated hosts store about one in a second, and answer a check in less than 1.5 s only now and then.
FILES, FILE_BYTES, CLIENTS = 60, 262_144, 2
BUSY, BUSY_SECONDS, BUSY_AGAIN_SECONDS = 503, 120.0, 0.5
_Answer = TypeVar("_Answer")
SETTING = "/api/settings/storage"
# The application may write below /srv, and what is not mounted there is the host's own disk.
LOCAL_DISK = "/srv/local_disk"
STORAGES = {
    "local disk": {"driver": "local", "path": LOCAL_DISK},
    "nfs": {"driver": "local", "path": "/srv/uploads"},
    "minio": {"driver": "s3"},
}


@pytest.mark.soak(runs=3)
@pytest.mark.usefixtures("whole_platform")
def test_what_a_storage_costs_is_seen_beside_the_others(lab: Lab, target: Target, instances: list[str]) -> None:
    host, port = instances[0].rsplit("-", 1)
    # Past the balancers, so that the local disk is one.
    instance = dataclasses.replace(
        target, base_url=f"http://{target.server_name}:{port}", vip=lab.hosts()[host]["address"]
    )
    for each in lab.group("app_servers"):
        lab.on(each, f"install -d -o tenant-app -g tenant-app {LOCAL_DISK}")
    before = asyncio.run(setting_of(instance))
    try:
        for storage, wanted in STORAGES.items():
            eventually("the instance uses it", functools.partial(is_used, instance, wanted), within=BUSY_SECONDS)
            figures = asyncio.run(Work(instance).run())
            for what, seconds in figures.items():
                key = f"storage_{storage.replace(' ', '_')}_{what}"
                record(
                    f"{key}_p50",
                    1000 * statistics.median(seconds),
                    "ms",
                    what=f"{what} of 256 KiB, {CLIENTS} at once, p50",
                    of=storage,
                )
                record(
                    f"{key}_rate",
                    CLIENTS * FILE_BYTES / 2**20 / statistics.mean(seconds),
                    "MiB/s",
                    what=f"{what} of 256 KiB, {CLIENTS} at once",
                    of=storage,
                )
    finally:
        eventually("the instance uses what it did", functools.partial(is_used, instance, before), within=BUSY_SECONDS)
        for each in lab.group("app_servers"):
            lab.on(each, f"rm -rf {LOCAL_DISK}")


class Work:
    """Files that go up, come back whole and are deleted; how many seconds each took."""

    def __init__(self, instance: Target) -> None:
        self._instance = instance
        self._seconds: dict[str, list[float]] = {"upload": [], "download": []}

    async def run(self) -> dict[str, list[float]]:
        async with session_to(self._instance, 60) as session:
            await asyncio.gather(*(self._client(session) for _ in range(CLIENTS)))
        return self._seconds

    async def _client(self, session: aiohttp.ClientSession) -> None:
        contents = [os.urandom(FILE_BYTES) for _ in range(FILES // CLIENTS)]
        files = {await taken(functools.partial(self._up, session, content)): content for content in contents}
        for upload, content in files.items():
            assert await taken(functools.partial(self._down, session, upload)) == content
        for upload in files:
            await taken(functools.partial(self._remove, session, upload))

    async def _up(self, session: aiohttp.ClientSession, content: bytes) -> str | None:
        form = aiohttp.FormData()
        form.add_field("file", content, filename="story.bin", content_type="application/octet-stream")
        begin = time.monotonic()
        async with session.post("/api/uploads", data=form) as answer:
            said = await answer.json()
            if answer.status == BUSY:
                return None
            assert answer.status == 201, said
        self._seconds["upload"].append(time.monotonic() - begin)
        return str(said["id"])

    async def _down(self, session: aiohttp.ClientSession, upload: str) -> bytes | None:
        begin = time.monotonic()
        async with session.get(f"/api/uploads/{upload}") as answer:
            content = await answer.read()
            if answer.status == BUSY:
                return None
        self._seconds["download"].append(time.monotonic() - begin)
        return content

    async def _remove(self, session: aiohttp.ClientSession, upload: str) -> bool | None:
        async with session.delete(f"/api/uploads/{upload}") as answer:
            assert answer.status in (204, BUSY)
            return True if answer.status != BUSY else None


async def taken(attempt: Callable[[], Awaitable[_Answer | None]]) -> _Answer:
    """Try again while the application is too busy, of which only the try that it takes counts in the figures."""
    deadline = time.monotonic() + BUSY_SECONDS
    while (answer := await attempt()) is None:
        assert time.monotonic() < deadline, f"the application was busy for {BUSY_SECONDS:g} s"
        await asyncio.sleep(BUSY_AGAIN_SECONDS)
    return answer


async def setting_of(instance: Target) -> dict[str, str]:
    async with session_to(instance, 30) as session, session.get(SETTING) as answer:
        said = await answer.json()
        return {"driver": said["driver"]} | ({"path": said["path"]} if said["driver"] == "local" else {})


async def use(instance: Target, wanted: dict[str, str]) -> None:
    async with session_to(instance, 30) as session, session.put(SETTING, json=wanted) as answer:
        assert answer.status == 200, await answer.text()


def is_used(instance: Target, wanted: dict[str, str]) -> bool:
    asyncio.run(use(instance, wanted))
    return asyncio.run(setting_of(instance)) == wanted
