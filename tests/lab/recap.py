"""What a run of ansible-playbook says that it did: who was changed, by which task, and who failed."""

from __future__ import annotations

import re


def changed_hosts(output: str) -> dict[str, int]:
    """How many tasks changed each host that was changed at all; a run that came to no host fails."""
    counts = {host: int(count) for host, count in re.findall(r"(?m)^(\S+)\s+: ok=\d+\s+changed=(\d+)", output)}
    assert counts, output[-3000:]
    return {host: count for host, count in counts.items() if count}


def changing_tasks(output: str) -> set[tuple[str, str]]:
    """Which host was changed by which task."""
    tasks = [task.partition("]") for task in output.split("\nTASK [")[1:]]
    return {(host, name) for name, _, said in tasks for host in re.findall(r"(?m)^changed: \[([\w-]+)", said)}


def unreached_or_failed(output: str) -> list[str]:
    """The hosts at which the run ended early."""
    return re.findall(r"(?m)^(\S+)\s+: ok=.*(?:unreachable=[1-9]|failed=[1-9])", output)
