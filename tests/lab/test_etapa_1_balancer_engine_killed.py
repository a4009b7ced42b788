"""On the balancer that holds the address the engine alone goes: service goes on, wherever the address is then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.eventually import eventually, lasting
from tests.lab.failover import fail_over
from tests.lab.handle import Lab
from tests.lab.measurements import ENGINE
from tests.lab.target import Target


@pytest.mark.either_engine
@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=10)
def test_clients_are_served_again_when_the_holders_engine_is_killed(lab: Lab, target: Target, output: Path) -> None:
    found = fail_over(
        lab, target, "lb1", lambda: lab.on("lb1", f"systemctl kill --kill-whom=all --signal=KILL {ENGINE}"), output
    )
    # Where systemd has it back before keepalived misses it, the address has no reason to move.
    assert len(lab.holders(target.vip)) == 1
    found.judge("balancer_engine_killed", f"{ENGINE} killed on the balancer that holds the address")
    eventually(
        "systemd has started it again",
        lambda: lab.on("lb1", f"systemctl is-active {ENGINE}", check=False).strip() == "active",
        within=15,
    )


@pytest.mark.either_engine
@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=10)
@pytest.mark.haproxy_in_soak_only
def test_the_address_moves_when_the_holders_engine_stays_away(lab: Lab, target: Target, output: Path) -> None:
    try:
        found = fail_over(lab, target, "lb1", lambda: lab.on("lb1", f"systemctl stop {ENGINE}"), output)
        assert lab.holders(target.vip) == ["lb2"]
    finally:
        lab.on("lb1", f"systemctl start {ENGINE}")
    found.judge("balancer_engine_stopped", f"{ENGINE} stopped for good on the balancer that holds the address")
    lasting("lb2 keeps the address", lambda: lab.holders(target.vip) == ["lb2"], seconds=3)
