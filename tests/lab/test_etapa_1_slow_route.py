"""One route of the application hangs on every instance: whoever asks for it has to wait, and nobody else notices."""

from __future__ import annotations

import json
import shlex
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.edge import get
from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.load import PATIENCE_SECONDS
from tests.lab.target import Target

DATABASE = "legacy1"
# Longer than a balancer would leave an instance out for what its requests met.
LOCKED_SECONDS = 12
# Each is tried on three instances, so these would be more than three failures for each of the four.
ASKING = 8
# An instance answers it without its database, whose connections all wait by then.
OTHERS = "/health/live"

_LOCK = f"BEGIN; LOCK TABLE tenant_settings IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({LOCKED_SECONDS}); COMMIT"
_LOCKED = "SELECT count(*) FROM pg_locks WHERE relation = 'tenant_settings'::regclass AND mode = 'AccessExclusiveLock' AND granted"


def _psql(lab: Lab, statement: str) -> str:
    words = ["runuser", "-u", "postgres", "--", "psql", "-d", "app", "-At", "-c", statement]
    return lab.on(DATABASE, f"cd / && {shlex.join(words)}").strip()


@pytest.mark.either_engine
@pytest.mark.usefixtures("whole_platform")
def test_a_route_that_hangs_takes_no_instance_from_the_others(lab: Lab, target: Target) -> None:
    login = json.dumps({"tenant": target.tenant, "email": target.email, "password": target.password}).encode()
    answer = get(target, "/api/auth/login", method="POST", body=login, headers={"Content-Type": "application/json"})
    who = {"Authorization": f"Bearer {json.loads(answer.read())['accessToken']}"}

    def status(path: str) -> int:
        return get(target, path, PATIENCE_SECONDS, headers=who).status

    assert status("/api/settings") == status(OTHERS) == 200
    others: list[int] = []
    with ThreadPoolExecutor(ASKING + 1) as pool:
        lock = pool.submit(_psql, lab, _LOCK)
        eventually("the table is locked", lambda: _psql(lab, _LOCKED) == "1", within=5)
        hanging = [pool.submit(status, "/api/settings") for _ in range(ASKING)]
        while not lock.done():
            others.append(status(OTHERS))
        lock.result()
        # One that begins late may see the end of it.
        assert [one.result() for one in hanging].count(503) >= ASKING // 2, "the route did not hang"
    assert others == [200] * len(others)
    assert len(others) > LOCKED_SECONDS
    assert status("/api/settings") == 200
