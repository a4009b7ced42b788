"""Makes `ansible_collections.escala.ha` importable from a checkout of any name, without a link left in the tree."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def _package(name: str, folder: Path | None) -> None:
    package = ModuleType(name)
    package.__path__ = [str(folder)] if folder else []
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, package)


def offer() -> None:
    """Offer this checkout as the collection, once, unless it already is found as one."""
    # ansible-test brings a loader of its own, from a path that already has the right name.
    if ROOT.parts[-3:] == ("ansible_collections", "escala", "ha") and str(ROOT.parents[2]) in sys.path:
        return
    if "ansible_collections.escala.ha" in sys.modules:
        return
    importlib.import_module("ansible_collections")
    _package("ansible_collections.escala", None)
    _package("ansible_collections.escala.ha", ROOT)


offer()
