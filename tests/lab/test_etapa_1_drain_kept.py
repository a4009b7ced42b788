"""What was taken out of rotation stays out when its balancer is reloaded meanwhile, as a renewed certificate would have it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.eventually import eventually, lasting
from tests.lab.handle import ROOT, Lab
from tests.lab.measurements import ENGINE
from tests.lab.rotation import out_of_rotation


def bring(name: str, state: str) -> None:
    """As docs/deploy.md has an operator do it, on every balancer."""
    options = {"names": [name], "state": state, "engine": ENGINE, "address": "{{ platform_address }}"}
    program = str(Path(sys.executable).parent / "ansible")
    command = [program, "load_balancers", "-b", "-m", "escala.ha.load_balancer_backend", "-a", json.dumps(options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def drained(whole_platform: None, instances: list[str]) -> Iterator[str]:
    """An instance that is out of rotation at every balancer during the story."""
    bring(instances[0], "drained")
    yield instances[0]
    bring(instances[0], "active")


@pytest.mark.either_engine
def test_a_drained_instance_stays_drained_over_reloads(lab: Lab, drained: str) -> None:
    balancers = lab.group("load_balancers")
    alone = {balancer: [drained] for balancer in balancers}
    assert out_of_rotation(lab) == alone
    for _ in range(2):
        for balancer in balancers:
            lab.on(balancer, f"systemctl reload {ENGINE}")
        lasting(f"{drained} is out of rotation", lambda: out_of_rotation(lab) == alone, seconds=3)


@pytest.mark.either_engine
@pytest.mark.soak_only
def test_nothing_is_drained_that_was_put_back_before_the_balancer_died(lab: Lab, drained: str) -> None:
    balancers = lab.group("load_balancers")
    for balancer in balancers:
        lab.on(balancer, f"systemctl reload {ENGINE}")
    bring(drained, "active")
    for balancer in balancers:
        lab.on(balancer, f"systemctl kill --signal=KILL {ENGINE}")
    nothing: dict[str, list[str]] = {balancer: [] for balancer in balancers}
    eventually("every instance is in rotation", lambda: out_of_rotation(lab) == nothing, within=15)
    lasting("every instance is in rotation", lambda: out_of_rotation(lab) == nothing, seconds=2)
