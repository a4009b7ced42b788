"""What `make test` and CI run: every step from formatting to the stories on the lab, then a table of what took how long.

A step is one line in STEPS: a new scenario or a new kind of check is one line more. Steps that need no lab run while it boots,
two at a time. What each printed is kept in tests/output/STEP.log; the last line is `N passed, N failed`, before it stands what failed and why.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.counting import Counts, node_tests, one_check, preparation, pytest_tests, sanity_tests
from tools.reasons import reasons

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "tests" / "output"
AT_ONCE = 2

# `make soak` asks with 20,000 requests a story.
_REQUESTS = 4000
_TAIL_LINES = 60
_NEWS_SECONDS = 60
_GRACE_SECONDS = 10
_FOLLOW_SECONDS = 0.2
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Step:
    """One command. It waits for the steps in `needs` and `after`, and is left out where one in `needs` failed."""

    name: str
    about: str
    command: Sequence[str]
    count: Callable[[str, bool], Counts] = one_check
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    alone: bool = False  # it measures times, so nothing may run beside it
    shown: bool = False  # a person follows its output line by line
    limit_seconds: int = 600


@dataclass(frozen=True)
class Result:
    """How a step ended."""

    counts: Counts
    seconds: float = 0
    left_out_for: str = ""
    reasons: Sequence[str] = ()

    @property
    def good(self) -> bool:
        """Whether steps that need this one may run."""
        return not self.counts.failed and not self.left_out_for


def _lab(*words: str) -> list[str]:
    return ["python", "-m", "lab", *words]


def _pytest(*words: str) -> list[str]:
    return ["python", "-m", "pytest", "--color=no", *words]


def _stories(name: str, about: str, engine: str, needs: str, after: str, *choice: str) -> Step:
    """Stories on the lab as a scenario has left it, with the balancers' engine of that scenario.

    The same faults under the same load as in `make soak`, for a shorter time.
    """
    environment = [f"ESCALA_LOAD_BALANCER_ENGINE={engine}", f"ESCALA_REQUESTS={_REQUESTS}"]
    return Step(
        name,
        about,
        ["env", *environment, *_pytest("tests/lab", "-v", "--durations=15", *choice)],
        pytest_tests,
        needs=(needs,),
        after=(after,),
        alone=True,
        shown=True,
        limit_seconds=3600,
    )


def _scenario(name: str, *after: str) -> Step:
    """One molecule scenario; scenarios break things on one lab, so each names the one before it on its hosts (single_server's are its own)."""
    command = ["molecule", "test", "--scenario-name", name]
    return Step(
        name,
        f"molecule scenario {name}",
        command,
        pytest_tests,
        needs=("single-server",),
        after=after,
        shown=True,
        limit_seconds=1200,
    )


STEPS = (
    Step(
        "lab",
        "the hosts of etapa 1, as untouched Debian",
        ["sh", "-c", "python -m lab down && python -m lab up --topology small --fresh"],
        preparation,
        shown=True,
    ),
    Step(
        "single-server",
        "the customer's single server, which every etapa starts from",
        _lab("converge", "--until", "legacy"),
        preparation,
        needs=("lab",),
        shown=True,
    ),
    # The longest way of what may run beside something else comes first.
    _scenario("etapa_1_nginx"),
    Step(
        "tenant-app",
        "the reference application's own tests, on the host that builds it",
        ["ansible-playbook", "lab/playbooks/test_app.yml"],
        node_tests,
        needs=("single-server",),
    ),
    _scenario("single_server", "tenant-app"),
    Step("format", "Python's formatting", ["ruff", "format", "--check", "."]),
    Step("ruff", "Python's linter", ["ruff", "check", "."]),
    Step("mypy", "Python's types", ["mypy"]),
    Step("static", "rules about the tree", _pytest("tests/static"), pytest_tests),
    Step("unit", "unit tests", _pytest("tests/unit"), pytest_tests),
    Step("ansible-lint", "playbooks and roles, profile production", ["ansible-lint"]),
    Step(
        "object-storage",
        "buckets and containers, against AWS and Azure on loopback",
        _pytest("tests/object_storage"),
        pytest_tests,
    ),
    Step("changelog", "changelog fragments", ["antsibull-changelog", "lint"]),
    Step("sanity", "ansible-test's sanity tests", ["python", "-m", "tools.sanity"], sanity_tests),
    Step(
        "artifacts",
        "programs that Debian lacks, from their Go modules",
        _lab("artifacts", "build", "mc", "minio", "pebble", "pebble-challtestsrv"),
        limit_seconds=1800,
    ),
    _stories(
        "stories",
        "stories on the lab, with figures",
        "nginx",
        "etapa_1_nginx",
        "sanity",
        "-m",
        "not etapa_2 and not etapa_3",
    ),
    _scenario("etapa_1_haproxy", "stories"),
    _stories(
        "stories-haproxy",
        "the balancers' stories, with HAProxy",
        "haproxy",
        "etapa_1_haproxy",
        "stories",
        "-m",
        "either_engine",
    ),
    Step(
        "data-nodes",
        "the hosts of etapa 3 beside them",
        _lab("up", "--topology", "database", "--fresh"),
        preparation,
        needs=("single-server",),
        after=("stories-haproxy",),
        shown=True,
    ),
    _scenario("etapa_3", "data-nodes"),
    # Before the first failover, which ends the old server's way of following.
    _stories(
        "stories-migration",
        "the database, back on the old server and in the cluster again",
        "haproxy",
        "etapa_3",
        "etapa_3",
        "-m",
        "etapa_3",
        "-k",
        "test_etapa_3_migrate_database",
    ),
    _stories(
        "stories-etapa-3",
        "stories of the database",
        "haproxy",
        "etapa_3",
        "stories-migration",
        "-m",
        "etapa_3",
        "-k",
        "not test_etapa_3_backup and not test_etapa_3_migrate_database",
    ),
    Step(
        "backup-host",
        "a backup host beside them, as a running cluster gets one",
        [
            "sh",
            "-c",
            # In runs of their own, since Ansible reads an inventory's files once a run.
            "python -m lab up --topology backups --fresh && ansible-playbook playbooks/secrets.yml && ansible-playbook playbooks/etapa_3_postgresql.yml",
        ],
        preparation,
        needs=("etapa_3",),
        after=("stories-etapa-3",),
        shown=True,
    ),
    _stories(
        "stories-backups",
        "stories of its backups",
        "haproxy",
        "backup-host",
        "backup-host",
        "-m",
        "etapa_3",
        "-k",
        "test_etapa_3_backup",
    ),
    Step(
        "storage-nodes",
        "the hosts of etapa 2 in their place",
        _lab("up", "--topology", "object_storage", "--fresh"),
        preparation,
        needs=("single-server",),
        after=("stories-backups",),
        shown=True,
    ),
    Step(
        "app-off-cluster",
        "the application, made to use the old server's database again, which the cluster had taken over",
        [
            "sh",
            "-c",
            "ansible-playbook lab/playbooks/legacy1.yml && ansible-playbook playbooks/etapa_1_load_balancer.yml --limit app_servers",
        ],
        preparation,
        needs=("storage-nodes",),
        shown=True,
    ),
    _scenario("etapa_2", "app-off-cluster"),
    Step(
        "lab-cli",
        "the lab itself: what it refuses, what it repairs",
        _pytest("tests/lab_cli", "-v"),
        pytest_tests,
        needs=("lab",),
        after=("etapa_2",),
        shown=True,
    ),
)


def chosen(names: Collection[str], steps: Sequence[Step] = STEPS) -> list[Step]:
    """The steps of those names, all of them where none is named; ValueError for a name that no step has."""
    known = [step.name for step in steps]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no step {name!r}; there are {', '.join(known)}")
    return [step for step in steps if not names or step.name in names]


def startable(pending: Sequence[Step], running: Collection[Step]) -> list[Step]:
    """Which steps may start now, those that are left out taken off before. A step that this run does not have is no obstacle."""
    unfinished = {step.name for step in (*pending, *running)}
    begun = list(running)
    for step in pending:
        free = len(begun) < AT_ONCE and not any(other.alone for other in begun) and not (step.alone and begun)
        if free and not unfinished & {*step.needs, *step.after}:
            begun.append(step)
    return begun[len(running) :]


def left_out(pending: Sequence[Step], results: Mapping[str, Result]) -> dict[str, str]:
    """The steps that can no longer run, each with the one it fails for."""
    bad = {name for name, result in results.items() if not result.good}
    return {step.name: name for step in pending for name in step.needs if name in bad}


def table(results: Mapping[str, Result], total_seconds: float) -> str:
    """What took how long, and how it ended."""
    rows = [f"{'step':<17}{'seconds':>8}  result"]
    for name, result in results.items():
        ending = f"not run, because {result.left_out_for} failed" if result.left_out_for else str(result.counts)
        rows.append(f"{name:<17}{result.seconds:>8.1f}  {'' if result.good else 'FAILED: '}{ending}")
    rows.append(f"{'total':<17}{total_seconds:>8.1f}")
    return "\n".join(rows)


def complaints(results: Mapping[str, Result]) -> list[str]:
    """Why each step failed, for whoever sees only the end of a run."""
    return [f"{name}: {reason}" for name, result in results.items() for reason in result.reasons]


def exit_status(results: Mapping[str, Result]) -> int:
    """0 only where something was tested and nothing failed or was left out."""
    tested = sum(result.counts.passed for result in results.values())
    return 0 if tested and all(result.good for result in results.values()) else 1


async def run(steps: Sequence[Step]) -> dict[str, Result]:
    """Run the steps, at most AT_ONCE at a time, and return their results in the order in which they ended."""
    pending = list(steps)
    running: dict[asyncio.Task[Result], Step] = {}
    results: dict[str, Result] = {}
    try:
        while pending or running:
            while gone := left_out(pending, results):
                results |= {name: Result(Counts(), left_out_for=reason) for name, reason in gone.items()}
                pending = [step for step in pending if step.name not in gone]
            for step in startable(pending, list(running.values())):
                pending.remove(step)
                running[asyncio.create_task(_run_one(step))] = step
            if running:
                over, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in over:
                    results[running.pop(task).name] = task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return results


async def _run_one(step: Step) -> Result:
    begin = time.monotonic()
    log = OUTPUT / f"{step.name}.log"
    _tell(step, f"begins: {step.about}")
    # A file rather than a pipe: what a step leaves running, such as an ssh master, would keep a pipe open.
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *step.command,
            cwd=ROOT,
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    progress = asyncio.create_task(_follow(step, log) if step.shown else _news(step, begin))
    ending = ""
    try:
        async with asyncio.timeout(step.limit_seconds):
            await process.wait()
    except TimeoutError:
        ending = f" It was stopped after its limit of {step.limit_seconds} s."
    finally:
        if process.returncode is None:
            await _end(process)
        progress.cancel()
        await asyncio.wait([progress])
    said = _COLOUR.sub("", log.read_text(errors="replace"))
    log.write_text(said)
    counts = step.count(said, not ending and process.returncode == 0)
    why = [*reasons(said), *([ending.strip()] if ending else [])] if counts.failed else []
    result = Result(counts, time.monotonic() - begin, reasons=why)
    _tell(step, f"{'ok' if result.good else 'FAILED'} after {result.seconds:.1f} s: {result.counts}.{ending}")
    if not result.good:
        tail = [] if step.shown else said.splitlines()[-_TAIL_LINES:]
        print("\n".join([*tail, f"{'':>15} > its log is {log.relative_to(ROOT)}"]), flush=True)
    return result


async def _follow(step: Step, log: Path) -> None:
    """Show what a step prints, line by line, until cancelled."""
    unfinished = ""
    with log.open(errors="replace") as file:
        try:
            while True:
                *lines, unfinished = (unfinished + file.read()).split("\n")
                _show(step, lines)
                await asyncio.sleep(_FOLLOW_SECONDS)
        finally:
            _show(step, (unfinished + file.read()).split("\n"))


def _show(step: Step, lines: Sequence[str]) -> None:
    for line in lines:
        if text := _COLOUR.sub("", line).rstrip():
            print(f"{step.name:>15} | {text}", flush=True)


async def _news(step: Step, begin: float) -> None:
    """Say now and then that a quiet step goes on, until cancelled."""
    while True:
        await asyncio.sleep(_NEWS_SECONDS)
        _tell(step, f"goes on, {time.monotonic() - begin:.0f} s so far")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a step that was stopped half-way, with all the processes of its group."""
    for force in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, force)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await process.wait()
                return


def _tell(step: Step, message: str) -> None:
    print(f"{step.name:>15} > {message}", flush=True)


def _environment() -> dict[str, str]:
    tools = Path(sys.executable).parent
    # Playbooks by Mitogen, but where a scenario says otherwise.
    chosen = {"ANSIBLE_STRATEGY": "mitogen_linear"} | os.environ
    return chosen | {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1", "ANSIBLE_FORCE_COLOR": "0"}


def main() -> int:
    """Run what the command line asks for; 0 only when tests ran and none failed."""
    parser = argparse.ArgumentParser(prog="tools/run_tests.py", description="Run the tests, all of them or some steps.")
    parser.add_argument("--only", nargs="+", default=[], metavar="STEP", help="these steps, on what is there")
    parser.add_argument("--list", action="store_true", help="print the steps and what each runs")
    arguments = parser.parse_args()
    try:
        steps = chosen(arguments.only)
    except ValueError as error:
        parser.error(str(error))
    if arguments.list:
        for step in steps:
            print(f"{step.name:<17}{step.about}\n{'':<17}  {' '.join(step.command)}")
        return 0
    OUTPUT.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    try:
        results = asyncio.run(run(steps))
    except KeyboardInterrupt:
        print("\ninterrupted; the lab stays as it is, `python3 -m lab status` shows it", file=sys.stderr)
        return 130
    print(f"\n{table(results, time.monotonic() - begin)}\n")
    if said := complaints(results):
        print("\n".join(said), end="\n\n")
    print(sum((result.counts for result in results.values()), Counts()), flush=True)
    return exit_status(results)


if __name__ == "__main__":
    sys.exit(main())
