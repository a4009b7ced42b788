"""The controller renews by itself: its units are sound, and what they run is what a person would run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.lab.handle import playbook
from tests.lab.recap import changed_hosts

MOST_EXPOSURE = 4.0


def test_the_timer_s_units_are_sound_and_run_the_renewal(tmp_path: Path) -> None:
    settings = {
        "renewal_timer_user": "root",
        "renewal_timer_unit_directory": str(tmp_path),
        "renewal_timer_enabled": False,
    }
    arguments = ("renewal_timer.yml", "--inventory", "inventories/lab/hosts.yml", "--extra-vars", json.dumps(settings))
    checked = playbook(*arguments, "--check")
    assert checked.returncode == 0, checked.stdout[-3000:]
    assert list(tmp_path.iterdir()) == []
    written = playbook(*arguments)
    assert written.returncode == 0, written.stdout[-3000:]
    assert changed_hosts(playbook(*arguments).stdout) == {}

    service, timer = tmp_path / "escala-renewal-lab.service", tmp_path / "escala-renewal-lab.timer"
    writable = [line.split()[1:] for line in re.findall(r"(?m)^ReadWritePaths=(.*)$", service.read_text())]
    assert writable == [sorted(writable[0])]
    verified = _analyze("verify", service, timer)
    assert verified.stdout + verified.stderr == ""
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", _analyze("security", "--offline=true", service).stdout)
    assert exposure
    assert float(exposure[1]) <= MOST_EXPOSURE

    # A socket's path is short, and pytest's is long.
    with tempfile.TemporaryDirectory(prefix="run") as runtime:
        done = _as_systemd_runs(service.read_text(), Path(runtime))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert changed_hosts(done.stdout) == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"renewal_timer_user": "nobody-of-that-name"}, "the controller has no such user"),
        ({"renewal_timer_user": "nobody"}, "and renewal_timer_user is nobody, who would write there in vain"),
        (
            {"renewal_timer_user": "root", "renewal_timer_vault_password_file": "/nowhere/vault"},
            "renewal_timer_vault_password_file is /nowhere/vault, which the controller does not have",
        ),
    ],
)
def test_a_timer_that_could_not_run_is_refused(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    where = {"renewal_timer_unit_directory": str(tmp_path), "renewal_timer_enabled": False}
    done = playbook(
        "renewal_timer.yml", "--inventory", "inventories/lab/hosts.yml", "--extra-vars", json.dumps(settings | where)
    )
    assert done.returncode != 0
    assert said in " ".join((done.stdout + done.stderr).split())
    assert list(tmp_path.iterdir()) == []


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def _as_systemd_runs(unit: str, runtime: Path) -> subprocess.CompletedProcess[str]:
    """Run the unit's own command, with nothing of this process's environment."""
    said = dict(re.findall(r"(?m)^(ExecStart|WorkingDirectory)=(.*)$", unit))
    words = [word for line in re.findall(r"(?m)^Environment=(.*)$", unit) for word in shlex.split(line)]
    environment = dict(word.replace("%t", str(runtime)).split("=", 1) for word in words)
    for name in ("HOME", "PATH"):
        environment[name] = os.environ[name]
    return subprocess.run(
        shlex.split(said["ExecStart"]),
        cwd=said["WorkingDirectory"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
