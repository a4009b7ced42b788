"""Uploads and downloads through one instance into its local disk, a share and an object storage, one after the other, on hosts of one kind."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import statistics
import time

import aiohttp
import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.load import session_to
from tests.lab.measurements import record
from tests.lab.target import Target

pytestmark = [pytest.mark.etapa_2, pytest.mark.topology("nfs_to_minio"), pytest.mark.soak_only]

FILES, FILE_BYTES, CLIENTS = 200, 262_144, 4
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
            asyncio.run(use(instance, wanted))
            eventually("the instance uses it", functools.partial(is_used, instance, wanted), within=10)
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
        asyncio.run(use(instance, before))
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
        files = {
            await self._up(session, content): content
            for content in (os.urandom(FILE_BYTES) for _ in range(FILES // CLIENTS))
        }
        for upload, content in files.items():
            begin = time.monotonic()
            async with session.get(f"/api/uploads/{upload}") as answer:
                assert await answer.read() == content
            self._seconds["download"].append(time.monotonic() - begin)
        for upload in files:
            async with session.delete(f"/api/uploads/{upload}") as answer:
                assert answer.status == 204

    async def _up(self, session: aiohttp.ClientSession, content: bytes) -> str:
        form = aiohttp.FormData()
        form.add_field("file", content, filename="story.bin", content_type="application/octet-stream")
        begin = time.monotonic()
        async with session.post("/api/uploads", data=form) as answer:
            assert answer.status == 201, await answer.text()
            upload: str = (await answer.json())["id"]
        self._seconds["upload"].append(time.monotonic() - begin)
        return upload


async def setting_of(instance: Target) -> dict[str, str]:
    async with session_to(instance, 30) as session, session.get(SETTING) as answer:
        said = await answer.json()
        return {"driver": said["driver"]} | ({"path": said["path"]} if said["driver"] == "local" else {})


async def use(instance: Target, wanted: dict[str, str]) -> None:
    async with session_to(instance, 30) as session, session.put(SETTING, json=wanted) as answer:
        assert answer.status == 200, await answer.text()


def is_used(instance: Target, wanted: dict[str, str]) -> bool:
    return asyncio.run(setting_of(instance)) == wanted
