"""What each molecule scenario may count on: that its hosts are prepared in each of its runs."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.static.tree import ROOT

SCENARIOS = sorted(ROOT.glob("molecule/*/molecule.yml"))


def settings(file: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / file).read_text()))


def test_there_are_scenarios() -> None:
    assert SCENARIOS


@pytest.mark.parametrize("name", [file.parent.name for file in SCENARIOS])
def test_a_scenario_forgets_what_it_or_another_has_prepared(name: str) -> None:
    shared, own = settings(".config/molecule/config.yml"), settings(f"molecule/{name}/molecule.yml")
    # With a shared state molecule leaves `destroy` and `create` out, and prepares once for all scenarios and for ever.
    assert (shared | own)["shared_state"] is False
    sequence = (shared["scenario"] | own.get("scenario", {}))["test_sequence"]
    assert sequence[:4] == ["destroy", "syntax", "create", "prepare"]
