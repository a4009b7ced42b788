"""One backend instance dies without a word, under load: no client notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.load import running_load
from tests.lab.target import Target
from tests.lab.unnoticed import REQUESTS, assert_nobody_noticed


@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=3)
def test_no_request_fails_when_an_instance_is_killed(lab: Lab, target: Target, output: Path) -> None:
    victim = "app1-3001"
    with running_load(target, requests=REQUESTS, save_to=output / "load.json") as load:
        eventually("the load is steady", lambda: load.result.requests > REQUESTS // 5, within=30)
        before = main_process(lab, "app1", 3001)
        lab.on("app1", f"kill -KILL {before}")
        eventually(
            f"systemd has started {victim} again",
            lambda: main_process(lab, "app1", 3001) not in ("0", before),
            within=15,
        )
        answered = load.result.by_instance[victim]
        eventually(f"{victim} answers again", lambda: load.result.by_instance[victim] > answered + 100, within=30)
    assert_nobody_noticed(load.result, "instance_killed", "an instance killed under load")


def main_process(lab: Lab, host: str, port: int) -> str:
    return lab.on(host, f"systemctl show --property MainPID --value tenant-app@{port}").strip()
