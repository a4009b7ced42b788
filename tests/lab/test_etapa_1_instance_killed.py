"""One backend instance dies without a word, under load: no client notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.load import running_load
from tests.lab.measurements import record
from tests.lab.target import Target

REQUESTS = 20_000


@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=3)
def test_no_request_fails_when_an_instance_is_killed(lab: Lab, target: Target, output: Path) -> None:
    victim = "app1-3001"
    with running_load(target, requests=REQUESTS) as load:
        eventually("the load is steady", lambda: load.result.requests > REQUESTS // 5, within=30)
        before = main_process(lab, "app1", 3001)
        lab.on("app1", f"kill -KILL {before}")
        eventually(
            f"systemd has started {victim} again",
            lambda: main_process(lab, "app1", 3001) not in ("0", before),
            within=15,
        )
        killed_at = load.result.by_instance[victim]
        eventually(f"{victim} answers again", lambda: load.result.by_instance[victim] > killed_at + 100, within=30)
    result = load.result
    result.save(output / "load.json")
    print(result)
    record("instance_killed_requests", result.requests, "requests", what="an instance killed under load: requests sent")
    record(
        "instance_killed_failed",
        len(result.failures),
        "requests",
        0,
        what="an instance killed under load: failed requests",
    )
    record("instance_killed_slowest", result.quantile(1), "s", what="an instance killed under load: slowest request")
    assert result.failures == []
    assert result.requests >= REQUESTS
    assert result.lost == []


def main_process(lab: Lab, host: str, port: int) -> str:
    return lab.on(host, f"systemctl show --property MainPID --value tenant-app@{port}").strip()
