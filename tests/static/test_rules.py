"""The tree keeps its rules, and each rule finds what breaks it: one that cannot fail is worth nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.static import code_rules, role_rules  # noqa: F401  (their rules enter the register as they are read)
from tests.static.tree import ROOT, RULES, Rule, Tree

_BROKEN = [
    pytest.param(rule, example, id=f"{rule.sentence} ({number})")
    for rule in RULES
    for number, example in enumerate(rule.broken, start=1)
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.sentence)
def test_the_tree_keeps_the_rule_that(rule: Rule) -> None:
    faults = list(rule.faults(Tree(ROOT)))
    assert not faults, "\n".join(["", *faults])


@pytest.mark.parametrize(("rule", "example"), _BROKEN)
def test_a_broken_example_is_noticed_by_the_rule_that(rule: Rule, example: dict[str, str], tmp_path: Path) -> None:
    for name, text in example.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert list(rule.faults(Tree(tmp_path)))


@pytest.mark.parametrize(
    "pattern", ["roles/*/meta/argument_specs.yml", "playbooks/*.yml", "inventories/*.yml", "plugins/modules/*.py"]
)
def test_there_is_something_for_the_rules_to_look_at(pattern: str) -> None:
    assert Tree(ROOT).files(pattern)


def test_every_rule_has_a_broken_example() -> None:
    assert RULES
    assert [rule.sentence for rule in RULES if not rule.broken] == []
