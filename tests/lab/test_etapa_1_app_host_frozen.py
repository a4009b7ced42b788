"""An application host hangs: its kernel accepts connections, and nobody answers. Under load no client notices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.handle import Lab
from tests.lab.target import Target
from tests.lab.unnoticed import assert_nobody_noticed, load_while_away


@pytest.mark.either_engine
@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=3)
@pytest.mark.haproxy_in_soak_only
def test_no_request_fails_when_an_app_host_hangs(lab: Lab, target: Target, output: Path, instances: list[str]) -> None:
    result = load_while_away(
        target,
        [name for name in instances if name.startswith("app1-")],
        output / "load.json",
        fault=lambda: lab.verb("freeze", "app1"),
        end=lambda: lab.verb("thaw", "app1"),
    )
    assert_nobody_noticed(result, "app_host_frozen", "an application host frozen and thawed under load")
