"""The lab's command line, as a person calls it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def lab(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    command = [sys.executable, "-m", "lab", *words]
    return subprocess.run(command, cwd=ROOT, env=os.environ | more, capture_output=True, text=True, timeout=300)


def done(*words: str) -> str:
    """One command that must succeed, and what it printed."""
    result = lab(*words)
    assert result.returncode == 0, f"lab {' '.join(words)}: {result.stderr}"
    return result.stdout


def on(host: str, command: str) -> subprocess.CompletedProcess[str]:
    """A shell command on a host; its exit status is handed through."""
    return lab("ssh", host, "--", command)


def hosts() -> dict[str, dict[str, Any]]:
    """What `status` says of each host, by name."""
    return {host["name"]: host for host in json.loads(done("status", "--json"))["hosts"]}
