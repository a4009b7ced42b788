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
    name: str, *arguments: str, output: Path = Path(os.devnull), strategy: str = "linear", with_workers: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A run that is under way while the block lasts, and killed when the block ends.

    Without Mitogen, which would end the module under way as well: Ansible's own goes on alone to its end, beside what is run next. So does the
    worker that waits for it, a session of its own; with_workers all goes in one moment, as when the controller has no power any more.
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
        # Whose parent is gone has none by which it would be found.
        workers = _started_by(run.pid) if with_workers else []
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        run.wait()


def _started_by(process: int) -> list[int]:
    """All that a process has started and that runs, and what that has started."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may have spaces and brackets itself.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found: list[int] = []
    new = [process]
    while new:
        new = [child for parent in new for child in children.get(parent, [])]
        found += new
    return found


def chance() -> random.Random:
    """What decides where a run is killed; ESCALA_SEED repeats what a story printed."""
    seed = int(os.environ.get("ESCALA_SEED") or random.randrange(1_000_000))
    print(f"ESCALA_SEED={seed}")
    return random.Random(seed)


def kill_at_a_task(
    name: str, *arguments: str, by: random.Random, output: Path, among: int = 0, strategy: str = "linear"
) -> str:
    """Run a playbook, kill it within a task that chance chooses, and return which it was.

    The choice is among the tasks of a check, or among the first so many, which spares a check that would take its time.
    """
    if not among:
        checked = playbook(name, *arguments, "--check")
        assert checked.returncode == 0, checked.stdout[-3000:]
        among = len(_tasks(checked.stdout))
    number = by.randrange(among)
    pause = by.uniform(0, _WITHIN_TASK_SECONDS)
    # By Mitogen what a run has started would wait for it for ever.
    with_workers = strategy != "linear"
    with killed_at_the_end(name, *arguments, output=output, strategy=strategy, with_workers=with_workers) as run:
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
    print(f"{name}, by {strategy}, was killed {pause:.2f} s after its task {number + 1} had begun, at: {task}")
    return task


def _tasks(text: str) -> list[str]:
    return [found[1] for line in text.splitlines() if (found := _TASK.match(line))]
