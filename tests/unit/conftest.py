"""Makes `ansible_collections.escala.ha` importable from a checkout of any name, without a link left in the tree."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def _package(name: str, folder: Path | None) -> ModuleType:
    package = ModuleType(name)
    package.__path__ = [str(folder)] if folder else []
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, package)
    return package


def _offer_checkout_as_collection() -> None:
    # ansible-test brings a loader of its own, from a path that already has the right name.
    if ROOT.parts[-3:] == ("ansible_collections", "escala", "ha") and str(ROOT.parents[2]) in sys.path:
        return
    importlib.import_module("ansible_collections")
    _package("ansible_collections.escala", None)
    _package("ansible_collections.escala.ha", ROOT)


_offer_checkout_as_collection()
