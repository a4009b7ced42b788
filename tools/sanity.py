"""Run `ansible-test sanity` over the tree as git knows it.

Without containers ansible-test wants a folder whose real path ends in ansible_collections/escala/ha, so it gets a copy: outside
this checkout, because inside it would ask git, which ignores the copy.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.files import of_the_tree

ROOT = Path(__file__).resolve().parent.parent
# What no user of the collection runs has its own linter and types; ansible-test's rules are for plugins, roles and playbooks.
LEFT_OUT = ("examples/", "lab/", "molecule/", "noxfile.py", "tests/", "tools/")
# What pip prints while ansible-test makes its virtual environments would bury what the tests find.
PIP_SAYS = re.compile(
    r"\s*(Collecting|Downloading|Installing collected|Looking in|Processing|Successfully|Using cached|━)"
)


def copy_tree(target: Path) -> int:
    """Copy what ansible-test is to look at, and return the number of files."""
    names = [name for name in of_the_tree(ROOT) if not name.startswith(LEFT_OUT)]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    return len(names)


def stand_in_for_get_pip() -> None:
    """Spare ansible-test the download of a script that installs pip: Python brings a pip of its own."""
    found = subprocess.run(
        [sys.executable, "-c", "from ansible_test._internal import python_requirements as r; print(r.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    version = re.search(r"pip='([\d.]+)'", Path(found.stdout.strip()).read_text())
    if not version:
        raise RuntimeError("ansible-test no longer says which pip it wants; see whether it still downloads get-pip")
    script = Path.home() / ".ansible" / "test" / "cache" / f"get_pip_{version[1].replace('.', '_')}.py"
    if not script.exists():
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text("import ensurepip\n\nensurepip.bootstrap()\n")


def main() -> int:
    """Copy, run, and hand the exit status through."""
    stand_in_for_get_pip()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    ansible_test = str(Path(sys.executable).with_name("ansible-test"))
    command = [ansible_test, "sanity", "--local", "--color", "no", "--python", version, *sys.argv[1:]]
    # What is set for our own Ansible would only get in its way.
    variables = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    with tempfile.TemporaryDirectory(prefix="escala-sanity-") as folder:
        copy = Path(folder) / "ansible_collections" / "escala" / "ha"
        print(f"{copy_tree(copy)} files copied to {copy}", flush=True)
        process = subprocess.Popen(
            command, cwd=copy, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        for line in process.stdout or ():
            if not PIP_SAYS.match(line):
                print(line, end="", flush=True)
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
