"""What a run says that has to fail."""

from __future__ import annotations

import json
from typing import Any

from tests.lab.handle import playbook
from tests.lab.recap import changed_hosts


def told(name: str, variables: dict[str, Any]) -> str:
    """What a run that has to fail, and to change nothing, says; in one line."""
    run = playbook(name, "--extra-vars", json.dumps(variables))
    assert run.returncode != 0, run.stdout[-3000:]
    assert not changed_hosts(run.stdout), run.stdout[-3000:]
    return " ".join(run.stdout.split())
