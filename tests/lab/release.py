"""Further releases of the reference application, made of the one that the lab has."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.lab.handle import Lab

_BROKEN = 'console.error("this release was broken on purpose"); process.exit(1);\n'


def first() -> Path:
    """The release that the inventory names."""
    return Path(Lab().variables()["lab_app_release_file"])


def another(folder: Path, name: str, *, broken: bool = False) -> Path:
    """A release of another version; a broken one ends as soon as it is started."""
    tree = folder / name
    tree.mkdir()
    subprocess.run(["tar", "-C", tree, "-xzf", first()], check=True)
    said = json.loads((tree / "release.json").read_text())
    (tree / "release.json").write_text(json.dumps(said | {"version": name}))
    if broken:
        (tree / "backend/dist/server.js").write_text(_BROKEN)
    archive_file = folder / f"{name}.tar.gz"
    # release.json is the last member: where it is, everything is.
    members = [path.name for path in sorted(tree.iterdir()) if path.name != "release.json"]
    subprocess.run(
        ["tar", "-C", tree, "-czf", archive_file, "--owner=0", "--group=0", *members, "release.json"], check=True
    )
    return archive_file
