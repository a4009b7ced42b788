"""Why a step failed, in a few lines: found in what it printed, so that the end of a long run says it too."""

from __future__ import annotations

import re

_MOST_LINES = 6
_MOST_CHARACTERS = 300
_PYTEST = re.compile(r"(?m)^(?:FAILED|ERROR) (?=[\w/.-]+\.py).*")
_ANSIBLE = re.compile(r"(?m)^\[ERROR\]: .*(?:\nOrigin: .*)?|^(?:fatal|failed): \[.*")
_MOLECULE = re.compile(r"(?m)^(?:CRITICAL|ERROR) .*(?:\n\* .*)*")
# As node prints it, and as Ansible shows the lines of a command.
_NODE = re.compile(r"(?m)^\s*(?:- )?['\"]?(not ok \d+ - .*)")


def reasons(log: str) -> list[str]:
    """Name the tests that failed, else what Ansible or molecule refused, else the last line; each one line, the last six."""
    for pattern in (_PYTEST, _NODE, _ANSIBLE, _MOLECULE):
        if found := list(dict.fromkeys(_one_line(match) for match in pattern.findall(log))):
            more = len(found) - _MOST_LINES
            return [*([f"{more} more, and"] if more > 0 else []), *found[-_MOST_LINES:]]
    lines = [_one_line(line) for line in log.splitlines() if line.strip()]
    return lines[-1:]


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 3]}..."
