"""Runs of a playbook that are killed on the way, as by a controller that loses its power: what they were at is not finished by anybody."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.lab.eventually import eventually
from tests.lab.handle import command_of, playbook

_TASK = re.compile(r"^TASK \[(.*)\]")
_LONGEST_SECONDS = 300
# A task takes this long or less; where in it the run is killed is a matter of chance as well.
_WITHIN_TASK_SECONDS = 1.0


@contextlib.contextmanager
def killed_at_the_end(
    name: str, *arguments: str, output: Path = Path(os.devnull), strategy: str = "linear"
) -> Iterator[subprocess.Popen[bytes]]:
    """A run that is under way while the block lasts, and killed with all that it started when the block ends.

    Without Mitogen, which would end the module under way as well: Ansible's own goes on alone to its end, beside what is run next. A story about
    that end names the strategy.
    """
    command, environment, folder = command_of(name, *arguments)
    environment["ANSIBLE_STRATEGY"] = strategy
    with output.open("wb") as file:
        run = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield run
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def chance() -> random.Random:
    """What decides where a run is killed; ESCALA_SEED repeats what a story printed."""
    seed = int(os.environ.get("ESCALA_SEED") or random.randrange(1_000_000))
    print(f"ESCALA_SEED={seed}")
    return random.Random(seed)


def kill_at_a_task(name: str, *arguments: str, by: random.Random, output: Path) -> str:
    """Run a playbook, kill it within a task that chance chooses among those of a check, and return which it was."""
    checked = playbook(name, *arguments, "--check")
    assert checked.returncode == 0, checked.stdout[-3000:]
    number = by.randrange(len(_tasks(checked.stdout)))
    pause = by.uniform(0, _WITHIN_TASK_SECONDS)
    with killed_at_the_end(name, *arguments, output=output) as run:
        eventually(
            f"{name} is at its task {number + 1}",
            lambda: run.poll() is not None or len(_tasks(output.read_text())) > number,
            within=_LONGEST_SECONDS,
            every=0.02,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(pause)
        assert run.poll() is None or number + 1 == len(_tasks(output.read_text())), output.read_text()[-3000:]
    task = _tasks(output.read_text())[-1]
    print(f"{name} was killed {pause:.2f} s after its task {number + 1} had begun, at: {task}")
    return task


def _tasks(text: str) -> list[str]:
    return [found[1] for line in text.splitlines() if (found := _TASK.match(line))]
