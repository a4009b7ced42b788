"""What a role has to copy for one of the collection's programs to run."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "plugins" / "module_utils"


def role_vars(role):
    return yaml.safe_load((ROOT / "roles" / role / "vars" / "main.yml").read_text())


def import_closure(program):
    """The names of the files that a program is made of, itself included."""
    needed, new = set(), {program}
    while new:
        needed |= new
        new = {name for one in new for name in _imported_by(one) if (PACKAGE / name).exists()} - needed
    return needed


def _imported_by(name):
    words = (PACKAGE / name).read_text().split()
    return {f"{word}.py" for word in words if word.startswith("_pg")} | {
        f"{word.rpartition('.')[2]}.py" for word in words if ".module_utils._pg" in word
    }
