"""The tree as the rules see it, and the register of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tools.files import of_the_tree

ROOT = Path(__file__).resolve().parents[2]


class _Loader(yaml.SafeLoader):
    """YAML in which Ansible's tags, such as !unsafe, are plain values."""


_Loader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_scalar(node))


@dataclass(frozen=True)
class Tree:
    """A folder with a collection in it: this checkout, or the few files of a bad example."""

    root: Path

    @cached_property
    def names(self) -> list[str]:
        """Every file that belongs to it."""
        if (self.root / ".git").exists():
            return of_the_tree(self.root)
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def files(self, *patterns: str) -> list[str]:
        """The files whose names match one of the patterns; a star also matches slashes."""
        return [name for name in self.names if any(fnmatch(name, pattern) for pattern in patterns)]

    def text(self, name: str) -> str:
        """What a file holds, nothing for one that holds no text."""
        try:
            return (self.root / name).read_text()
        except UnicodeDecodeError:
            return ""

    def yaml(self, name: str) -> Any:
        """What a YAML file holds, an empty mapping for one that is not there."""
        return (yaml.load(self.text(name), _Loader) or {}) if (self.root / name).is_file() else {}  # noqa: S506

    @property
    def roles(self) -> list[str]:
        """The names of the roles."""
        return sorted({name.split("/")[1] for name in self.files("roles/*/*")})

    def options(self, role: str) -> dict[str, Any]:
        """The options of a role's main entry point."""
        specs = self.yaml(f"roles/{role}/meta/argument_specs.yml")
        return dict(specs.get("argument_specs", {}).get("main", {}).get("options", {}))


@dataclass(frozen=True)
class Rule:
    """A sentence about the tree, what finds the places that break it, and examples of such places."""

    sentence: str
    faults: Callable[[Tree], Iterator[str]]
    broken: tuple[dict[str, str], ...]


RULES: list[Rule] = []


def rule(sentence: str, *broken: dict[str, str]) -> Callable[[Callable[[Tree], Iterator[str]]], None]:
    """Enter a rule; each broken example maps file names to texts, and the rule must find a fault in it."""

    def enter(faults: Callable[[Tree], Iterator[str]]) -> None:
        RULES.append(Rule(sentence, faults, broken))

    return enter
