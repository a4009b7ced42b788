"""The balancer that holds the address loses its power: the other one serves at once, and keeps the address."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.eventually import lasting
from tests.lab.failover import fail_over
from tests.lab.handle import Lab
from tests.lab.target import Target


@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=5)
@pytest.mark.parametrize(
    ("holder", "winner"), [("lb1", "lb2"), pytest.param("lb2", "lb1", marks=pytest.mark.soak_only)]
)
def test_clients_are_served_again_when_the_holder_is_powered_off(
    lab: Lab, target: Target, output: Path, holder: str, winner: str
) -> None:
    found = fail_over(lab, target, holder, lambda: lab.verb("kill", holder), output)
    assert lab.holders(target.vip) == [winner]
    found.judge("balancer_power_off", "the balancer that holds the address powered off", median_limit=1.0)

    lab.verb("start", holder)
    # Time for many adverts: a balancer that comes back must not take the address from the one that serves.
    lasting(f"{winner} keeps the address", lambda: lab.holders(target.vip) == [winner], seconds=3)
