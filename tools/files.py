"""Which files belong to the tree."""

from __future__ import annotations

import subprocess
from pathlib import Path


def of_the_tree(root: Path) -> list[str]:
    """What git tracks in a checkout, and what it would if it were added, by name from the root."""
    # A checkout that root did not make is as good as any: only names are read from it.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return sorted({name for name in listed.split("\0") if name and (root / name).is_file()})
