"""On the balancer that holds the address nginx alone goes: service goes on, wherever the address is then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.eventually import eventually, lasting
from tests.lab.failover import fail_over
from tests.lab.handle import Lab
from tests.lab.target import Target


@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=10)
def test_clients_are_served_again_when_the_holders_nginx_is_killed(lab: Lab, target: Target, output: Path) -> None:
    found = fail_over(
        lab, target, "lb1", lambda: lab.on("lb1", "systemctl kill --kill-whom=all --signal=KILL nginx"), output
    )
    # Where systemd has it back before keepalived misses it, the address has no reason to move.
    assert len(lab.holders(target.vip)) == 1
    found.judge("balancer_nginx_killed", "nginx killed on the balancer that holds the address")
    eventually(
        "systemd has started nginx again",
        lambda: lab.on("lb1", "systemctl is-active nginx", check=False).strip() == "active",
        within=15,
    )


@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=10)
def test_the_address_moves_when_the_holders_nginx_stays_away(lab: Lab, target: Target, output: Path) -> None:
    try:
        found = fail_over(lab, target, "lb1", lambda: lab.on("lb1", "systemctl stop nginx"), output)
        assert lab.holders(target.vip) == ["lb2"]
    finally:
        lab.on("lb1", "systemctl start nginx")
    found.judge("balancer_nginx_stopped", "nginx stopped for good on the balancer that holds the address")
    lasting("lb2 keeps the address", lambda: lab.holders(target.vip) == ["lb2"], seconds=3)
