"""An application host cannot be reached from the balancers, and answers nobody's packets: under load no client notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.handle import Lab
from tests.lab.target import Target
from tests.lab.unnoticed import assert_nobody_noticed, load_while_away


@pytest.mark.either_engine
@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=3)
@pytest.mark.soak_only
def test_no_request_fails_when_an_app_host_is_cut_off_from_the_balancers(
    lab: Lab, target: Target, output: Path, instances: list[str]
) -> None:
    result = load_while_away(
        target,
        [name for name in instances if name.startswith("app2-")],
        output / "load.json",
        fault=lambda: [lab.verb("cut", balancer, "app2") for balancer in lab.group("load_balancers")],
        end=lambda: lab.verb("heal"),
    )
    assert_nobody_noticed(result, "app_host_cut_off", "an application host cut off from the balancers under load")
