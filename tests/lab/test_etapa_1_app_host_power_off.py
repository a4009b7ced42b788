"""A whole application host loses its power under load, and comes back: no client notices."""

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
def test_no_request_fails_when_an_app_host_is_powered_off(
    lab: Lab, target: Target, output: Path, instances: list[str]
) -> None:
    on_victim = [name for name in instances if name.startswith("app1-")]
    with running_load(target, requests=REQUESTS, save_to=output / "load.json") as load:
        eventually("the load is steady", lambda: load.result.requests > REQUESTS // 5, within=30)
        lab.verb("kill", "app1")
        sent = load.result.requests
        eventually(
            "a quarter of the load passes while it is off",
            lambda: load.result.requests > sent + REQUESTS // 4,
            within=30,
        )
        lab.verb("start", "app1")
        before = {name: load.result.by_instance[name] for name in on_victim}
        eventually(
            f"{' and '.join(on_victim)} are back in rotation",
            lambda: all(load.result.by_instance[name] > before[name] + 100 for name in on_victim),
            within=60,
        )
    assert_nobody_noticed(load.result, "app_host_power_off", "an application host powered off under load")
