"""Running programs, and telling a person what goes on."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError

_STARTED = time.monotonic()


def say(message: str) -> None:
    """One line of progress on stderr, with the seconds since the command began (stdout is for results)."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {message}", file=sys.stderr, flush=True)


def run(*command: str | Path, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program with its output captured; a failure becomes a LabError that ends with the program's last line."""
    argv = [str(word) for word in command]
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        raise LabError(f"{argv[0]} is not installed; `python3 -m lab check` installs what the lab needs") from missing
    if check and done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise LabError(f"`{' '.join(argv)}` exited {done.returncode}: {lines[-1]}")
    return done


def ticks(limit_seconds: float, step_seconds: float = 0.1) -> Iterator[float]:
    """Yield the seconds passed, again and again, until the limit; the caller leaves the loop when it has what it waits for."""
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < limit_seconds:
        yield passed
        time.sleep(step_seconds)


@contextmanager
def background(argv: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program that outlives this command, its output going to a log file."""
    with log.open("ab") as out:
        yield subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
