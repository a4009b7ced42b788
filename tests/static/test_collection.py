"""What `ansible-galaxy collection build` packs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.static.tree import ROOT

_NEVER = [
    ".state/report.json",
    ".venv/bin/python",
    "inventories/lab/hosts.yml",
    "inventories/production/.state/pki/ca.key",
    "inventories/production/group_vars/all/secrets.yml",
    "lab/machine.py",
    "tests/output/unit.log",
]
_ALWAYS = ["inventories/example/hosts.yml", "playbooks/site.yml", "plugins/modules/x.py", "roles/web/tasks/main.yml"]


def test_the_package_has_what_users_run_and_no_secret(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in [*_NEVER, *_ALWAYS, "README.md"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("")
    shutil.copy(ROOT / "galaxy.yml", source)
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    subprocess.run([galaxy, "collection", "build", source, "--output-path", tmp_path], check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("escala-ha-*.tar.gz"))) as package:
        packed = set(package.getnames())
    assert packed.isdisjoint(_NEVER)
    assert packed >= set(_ALWAYS)
