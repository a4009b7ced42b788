"""The balancer that holds the address is told fifty times to load its configuration anew, under load: no client notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.load import running_load
from tests.lab.measurements import ENGINE
from tests.lab.parameters import others_in_soak_only
from tests.lab.target import Target
from tests.lab.unnoticed import REQUESTS, assert_nobody_noticed

RELOADS = 50


@pytest.mark.either_engine
@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=3)
@pytest.mark.parametrize("balancer", others_in_soak_only(["lb1", "lb2"]))
@pytest.mark.haproxy_in_soak_only
def test_no_request_fails_in_fifty_reloads(lab: Lab, target: Target, output: Path, balancer: str) -> None:
    lab.make_holder(balancer, target.vip)
    with running_load(target, requests=REQUESTS, save_to=output / "load.json") as load:
        eventually("the load is steady", lambda: load.result.requests > REQUESTS // 10, within=30)
        for number in range(RELOADS):
            sent = load.result.requests
            lab.on(balancer, f"systemctl reload {ENGINE}")
            due = REQUESTS // 10 + (number + 1) * REQUESTS * 7 // 10 // RELOADS
            eventually("its share of the load has passed", lambda: load.result.requests > max(sent, due), within=30)  # noqa: B023  looked at at once
    what = f"{RELOADS} reloads of the balancer on {lab.hosts()[balancer]['os']} under load"
    assert_nobody_noticed(load.result, f"reloads_{balancer}", what)
    assert lab.holders(target.vip) == [balancer]
    # The processes of the configurations before have gone with their last connection.
    eventually(
        "few processes are left",
        lambda: int(lab.on(balancer, f"pgrep --count --exact {ENGINE}")) <= 6,
        within=30,
    )
