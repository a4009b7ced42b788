"""The role as an operator runs it, on several hosts that are all this machine, each with variables of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.eventually import widened

ROOT = Path(__file__).resolve().parents[2]
_PLAYBOOK = Path(__file__).with_name("play.yml")
_LONGEST_SECONDS = 120
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=0\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """What a run printed and how it ended for each host."""

    text: str
    changed: Mapping[str, int]
    failed: Mapping[str, int]

    def said(self, host: str) -> str:
        """The message with which the run ended for a host."""
        found = re.search(rf"^fatal: \[{re.escape(host)}\]: FAILED! => (.*)$", self.text, re.MULTILINE)
        assert found, f"the run did not fail for {host}:\n{self.text}"
        return str(json.loads(found[1])["msg"])


def play(
    folder: Path, hosts: Mapping[str, Mapping[str, Any]], *options: str, iam: str = "", strategy: str = "mitogen_linear"
) -> Run:
    """Run the role for these hosts; `iam` is where AWS's other interface is; Mitogen's strategy takes two thirds of the time."""
    inventory = folder / "hosts.json"
    # What an inventory's secrets are: a file that only its owner reads.
    inventory.touch(mode=0o600)
    inventory.write_text(json.dumps({"all": {"hosts": dict(hosts)}}))
    environment = os.environ | {
        "ANSIBLE_STRATEGY": strategy,
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_CALLBACK_FORMAT_PRETTY": "false",
        "ANSIBLE_FORKS": str(len(hosts)),
        "AWS_ENDPOINT_URL_IAM": iam,
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), str(_PLAYBOOK), *options]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=widened(_LONGEST_SECONDS),
        check=False,
    )
    recap = _RECAP.findall(done.stdout)
    assert {host for host, _changed, _failed in recap} == set(hosts), done.stdout + done.stderr
    return Run(
        done.stdout + done.stderr,
        {host: int(changed) for host, changed, _failed in recap},
        {host: int(failed) for host, _changed, failed in recap},
    )
