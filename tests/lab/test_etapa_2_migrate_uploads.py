"""The uploads move from the old server's disk to the shared place and back, while people upload, read and delete."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lab.paths import INVENTORY
from tests.lab.background import Background
from tests.lab.eventually import widened
from tests.lab.handle import Lab, playbook
from tests.lab.interrupted import chance, kill_at_a_task
from tests.lab.load import session_to
from tests.lab.measurements import record
from tests.lab.recap import changed_hosts
from tests.lab.target import Target

OLD_SERVER = "legacy1"
# `make test` moves fewer than `make soak-storage` does: 10,000 files, 1 GiB.
FILES = int(os.environ.get("ESCALA_UPLOADS", "300"))
FILE_BYTES = 107_374
# Extra variables, where the inventory does not say yet which shared place there is.
# Emulated hosts were seen to copy half a file to three files a second, and people with the other pause upload about as many.
EMULATED_PAUSE_SECONDS = 3.0
VARIABLES = [f"--extra-vars=@{file}" for file in [os.environ.get("ESCALA_UPLOADS_VARIABLES")] if file]
WRITE_STALL_SECONDS = 5.0
# Between two answers to readers: what a steady load of them has on a busy machine without any migration.
READ_STALL_SECONDS = 1.5
from_the_old_server = pytest.mark.topology("object_storage", "nfs_storage")

pytestmark = pytest.mark.etapa_2

# On the old server: files and rows as its application would have made them, in seconds instead of many minutes.
_SEED = """
import hashlib, os, sys, uuid, psycopg
count, size, tenant, email = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
uploads = "/var/lib/tenant-app/uploads"
with psycopg.connect(open("/etc/tenant-app/DATABASE_URL").read().strip()) as database:
    tenant, user = database.execute(
        "SELECT t.id, u.id FROM tenants t JOIN users u ON u.tenant_id = t.id WHERE t.slug = %s AND u.email = %s", (tenant, email)
    ).fetchone()
    # What other stories have routed elsewhere is known to be missing here.
    keys = database.execute("SELECT tenant_id || '/' || id FROM uploads").fetchall()
    missing = sum(not os.path.exists(f"{uploads}/{key}") for key, in keys)
    os.makedirs(f"{uploads}/{tenant}", exist_ok=True)
    with database.cursor().copy("COPY uploads (id, tenant_id, name, content_type, size, sha256, created_by) FROM STDIN") as rows:
        for number in range(count):
            content, name = os.urandom(size), uuid.uuid4()
            with open(f"{uploads}/{tenant}/{name}", "wb") as file:
                file.write(content)
            sha256 = hashlib.sha256(content).hexdigest()
            rows.write_row((name, tenant, f"seeded {number}", "application/octet-stream", size, sha256, user))
os.system(f"chown -R tenant-app:tenant-app {uploads}/{tenant}")
print(missing)
"""


@dataclass
class Seen:
    """What the people saw: when each read and each write succeeded, and all that did not."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    held: int = 0
    broken: int = 0
    read_failures: list[str] = field(default_factory=list)
    write_failures: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @staticmethod
    def longest_gap(moments: list[float]) -> float:
        return max((after - before for before, after in itertools.pairwise(sorted(moments))), default=0.0)

    def __str__(self) -> str:
        return (
            f"{len(self.writes)} uploads and deletions, longest gap {self.longest_gap(self.writes):.2f} s, {self.held} told to wait ({self.broken} broke);"
            f" {len(self.reads)} reads, longest gap {self.longest_gap(self.reads):.2f} s; failed: {self.read_failures[:3]} {self.write_failures[:3]}"
        )


class People:
    """Some upload, some read what was uploaded, one deletes; whoever is told to wait does so and asks again."""

    WRITERS, READERS = 2, 2

    def __init__(self, target: Target, pause_seconds: float) -> None:
        self._target = target
        self._pause_seconds = pause_seconds
        self._over = threading.Event()
        self._random = random.Random(1)
        self.seen = Seen()

    async def run(self) -> None:
        async with session_to(self._target, 30) as session:
            people = [self._write(session) for _ in range(self.WRITERS)] + [
                self._read(session) for _ in range(self.READERS)
            ]
            await asyncio.gather(*people, self._delete(session))
            await self._read_all(session)

    def finish(self) -> None:
        self._over.set()

    async def _write(self, session: aiohttp.ClientSession) -> None:
        while not self._over.is_set():
            content = self._random.randbytes(self._random.choice((2_000, 40_000, 300_000)))
            said = await self._until_taken(session, "POST", "/api/uploads", 201, content)
            if said:
                self.seen.acknowledged[json.loads(said)["id"]] = hashlib.sha256(content).hexdigest()
            await asyncio.sleep(self._pause_seconds)

    async def _delete(self, session: aiohttp.ClientSession) -> None:
        while not self._over.is_set():
            await asyncio.sleep(1)
            if len(self.seen.acknowledged) > 20:
                upload = next(iter(self.seen.acknowledged))
                # First out of the readers' way.
                del self.seen.acknowledged[upload]
                await asyncio.sleep(1)
                await self._until_taken(session, "DELETE", f"/api/uploads/{upload}", 204)
                self.seen.deleted.append(upload)

    async def _until_taken(
        self, session: aiohttp.ClientSession, method: str, path: str, wanted: int, content: bytes | None = None
    ) -> bytes | None:
        while True:
            form = None
            if content is not None:
                form = aiohttp.FormData()
                form.add_field("file", content, filename="story.bin", content_type="application/octet-stream")
            try:
                async with session.request(method, path, data=form) as answer:
                    said = await answer.read()
                    if answer.status == wanted:
                        self.seen.writes.append(time.monotonic())
                        return said
                    if answer.status != 503 or "Retry-After" not in answer.headers:
                        self.seen.write_failures.append(f"{method} {path}: {answer.status} {said[:120]!r}")
                        return None
            except aiohttp.ClientConnectionError:
                # Who is still sending a file when it is refused may see the connection break before the answer.
                self.seen.broken += 1
            self.seen.held += 1
            await asyncio.sleep(0.2)

    async def _read(self, session: aiohttp.ClientSession) -> None:
        while not self._over.is_set():
            await asyncio.sleep(self._pause_seconds)
            if not self.seen.acknowledged:
                continue
            upload, checksum = self._random.choice(list(self.seen.acknowledged.items()))
            async with session.get(f"/api/uploads/{upload}") as answer:
                content = await answer.read()
                if answer.status != 200:
                    self.seen.read_failures.append(f"GET {upload}: {answer.status} {content[:120]!r}")
                elif hashlib.sha256(content).hexdigest() != checksum:
                    self.seen.wrong.append(upload)
                else:
                    self.seen.reads.append(time.monotonic())

    async def _read_all(self, session: aiohttp.ClientSession) -> None:
        """What was acknowledged is there, byte by byte, and what was deleted is not."""
        waiting = [*self.seen.acknowledged.items(), *((upload, "") for upload in self.seen.deleted)]

        async def read() -> None:
            while waiting:
                upload, checksum = waiting.pop()
                async with session.get(f"/api/uploads/{upload}") as answer:
                    found = hashlib.sha256(await answer.read()).hexdigest()
                    if (answer.status, found) != (200, checksum) if checksum else answer.status != 404:
                        self.seen.wrong.append(f"in the end {upload}: {answer.status}")

        await asyncio.gather(*(read() for _ in range(8)))


@contextlib.contextmanager
def people_at_work(target: Target, pause_seconds: float = 0.25) -> Iterator[People]:
    people = People(target, pause_seconds)
    background = Background("people", people.run)
    try:
        background.wait_until("people read and write", lambda: len(people.seen.reads) > 20, within=60)
        yield people
    finally:
        people.finish()
        background.join()
    background.check()


@pytest.fixture
def seeded(lab: Lab, target: Target) -> Iterator[list[str]]:
    """The old server has the uploads before and after the story, and after it only those of before; what a run of the playbook has to be told."""
    missing = lab.on(
        OLD_SERVER, f"python3 -c {_quoted(_SEED)} {FILES} {FILE_BYTES} {target.tenant} {target.email}"
    ).strip()
    known = [*VARIABLES, f"--extra-vars=migrate_uploads_tolerated={missing}"]
    # What a pass may take on a machine of this speed.
    known.append(f"--extra-vars=migrate_uploads_last_seconds={widened(2)}")
    yield known
    if _seen_by_balancers(lab):
        run = playbook("migrate_uploads.yml", *known, *_way_back())
        assert run.returncode == 0, run.stdout[-3000:]
    lab.on(
        OLD_SERVER,
        "runuser -u postgres -- psql -qAt app -c \"DELETE FROM uploads WHERE name LIKE 'seeded %' RETURNING tenant_id || '/' || id\""
        " | grep / | (cd /var/lib/tenant-app/uploads && xargs -r rm -f)",
    )


@from_the_old_server
@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=1)
def test_uploads_move_under_traffic_and_back_and_none_is_lost(seeded: list[str], target: Target, output: Path) -> None:
    with people_at_work(target) as there:
        seconds = _moved(output / "there.log", *seeded)
    _assert_nobody_waited(there.seen, seconds)
    account = _account()
    assert set(account["became"]) <= {"moved", "moved late", "deleted before the switch", "deleted after the switch"}
    assert account["objects"] >= FILES
    assert all(
        one["source_sha256"] == one["target_sha256"] == one["database_sha256"]
        for one in account["each"]
        if one["became"] == "moved"
    )

    again = playbook("migrate_uploads.yml", *seeded)
    assert again.returncode == 0, again.stdout[-3000:]
    assert not changed_hosts(again.stdout), again.stdout

    with people_at_work(target) as back:
        seconds = _moved(output / "back.log", *seeded, *_way_back())
    _assert_nobody_waited(back.seen, seconds)
    assert set(_account()["became"]) <= {"moved", "moved late", "deleted before the switch", "deleted after the switch"}


@pytest.mark.usefixtures("whole_platform")
@pytest.mark.topology("nfs_to_minio")
@pytest.mark.soak(runs=1)
def test_uploads_move_from_a_share_to_an_object_storage_and_back(
    lab: Lab, seeded: list[str], target: Target, output: Path
) -> None:
    # How long a pass takes on emulated hosts is the topology's to say.
    seeded = [word for word in seeded if "migrate_uploads_last_seconds" not in word]
    _moved(output / "share.log", *seeded, *_between("old_server", "share"))
    for source, other in (("share", "s3"), ("s3", "share")):
        with people_at_work(target, EMULATED_PAUSE_SECONDS) as people:
            seconds = _moved(output / f"{other}.log", *seeded, *_between(source, other))
        _assert_nobody_waited(people.seen, seconds)
        assert _account()["objects"] >= FILES
        # What a host remembers first is what it tells the application to use.
        wanted = {"share": ["nfs", "minio"], "s3": ["minio", "nfs"]}[other]
        for host in lab.group("app_servers"):
            assert json.loads(lab.on(host, "cat /etc/escala/shared_storage.json")) == wanted
        again = playbook("migrate_uploads.yml", *seeded, *_between(source, other))
        assert again.returncode == 0, again.stdout[-3000:]
        assert not changed_hosts(again.stdout), again.stdout


@from_the_old_server
@pytest.mark.soak(runs=1)
@pytest.mark.usefixtures("whole_platform")
def test_a_migration_that_was_killed_is_made_good_by_the_next(
    lab: Lab, seeded: list[str], target: Target, output: Path
) -> None:
    with people_at_work(target) as people:
        kill_at_a_task("migrate_uploads.yml", *seeded, by=chance(), output=output / "killed.log", among=42)
        _moved(output / "next.log", *seeded)
    assert not people.seen.wrong, people.seen.wrong
    assert not people.seen.write_failures, people.seen.write_failures
    assert "escala-uploads-migration" not in lab.on(OLD_SERVER, "cat /var/lib/tenant-app/.ssh/authorized_keys; true")
    assert set(_account()["became"]) <= {"moved", "moved late", "deleted before the switch", "deleted after the switch"}


@from_the_old_server
@pytest.mark.soak(runs=1)
@pytest.mark.usefixtures("whole_platform")
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("migrate_uploads_from=nowhere", "migrate_uploads_from is 'nowhere'; it must be one of"),
        ("migrate_uploads_to=old_server", "migrate_uploads_from and migrate_uploads_to are both 'old_server'"),
        ("migrate_uploads_old_path=/nowhere", "legacy1 has no directory /nowhere"),
        (
            "migrate_uploads_old_path=/var/lib/tenant-app",
            "legacy1 uses local /var/lib/tenant-app/uploads, not old_server",
        ),
        (
            '{"migrate_uploads_login_body": {"tenant": "acme", "email": "nobody@acme.example", "password": "x"}}',
            "without accessToken",
        ),
    ],
)
def test_nothing_is_moved_where_it_could_not_be_switched(lab: Lab, broken: str, said: str) -> None:
    run = playbook("migrate_uploads.yml", *VARIABLES, "--extra-vars", broken)
    assert run.returncode != 0
    assert said in " ".join(run.stdout.split()), run.stdout[-3000:]
    assert not changed_hosts(run.stdout), run.stdout
    assert not _seen_by_balancers(lab)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _way_back() -> list[str]:
    """From wherever the last migration brought the old server's uploads, whichever way it went."""
    account = _account("old_server+*")
    shared = account["to"] if account["from"] == "old_server" else account["from"]
    return _between(shared, "old_server")


def _between(source: str, target: str) -> list[str]:
    return ["--extra-vars", json.dumps({"migrate_uploads_from": source, "migrate_uploads_to": target})]


def _account(places: str = "*") -> dict[str, Any]:
    """Of the last migration between such places."""
    kept = max((INVENTORY / ".state/uploads").glob(f"{places}/manifest.json"), key=lambda file: file.stat().st_mtime)
    account: dict[str, Any] = json.loads(kept.read_text())
    return account


def _seen_by_balancers(lab: Lab) -> bool:
    """Whether any balancer sends uploads to the application."""
    return any(
        lab.on(host, "ls /var/lib/escala-uploads/application 2>/dev/null; true").strip()
        for host in lab.group("load_balancers")
    )


def _moved(log: Path, *arguments: str) -> float:
    begin = time.monotonic()
    run = playbook("migrate_uploads.yml", *arguments, timeout=1800)
    log.write_text(run.stdout + run.stderr)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
    return time.monotonic() - begin


def _assert_nobody_waited(seen: Seen, seconds: float) -> None:
    print(seen)
    account = _account()
    key = f"migrate_uploads_{account['from']}_{account['to']}"
    what = f"{FILES} uploads moved from {account['from']} to {account['to']} under traffic"
    writes, reads = seen.longest_gap(seen.writes), seen.longest_gap(seen.reads)
    record(key, seconds, "s", what=f"{what}: the playbook's time")
    record(
        f"{key}_write_stall",
        writes,
        "s",
        WRITE_STALL_SECONDS,
        what=f"{what}: longest time without a write",
    )
    record(
        f"{key}_read_stall",
        reads,
        "s",
        what=f"{what}: longest time without a read",
    )
    record(
        f"{key}_failed",
        len(seen.read_failures + seen.write_failures),
        "requests",
        0,
        what=f"{what}: requests that failed",
    )
    assert not seen.wrong, seen.wrong
    assert not seen.write_failures, seen.write_failures
    assert not seen.read_failures, seen.read_failures
    assert writes < widened(WRITE_STALL_SECONDS)
    assert reads < widened(READ_STALL_SECONDS)
