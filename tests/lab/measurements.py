"""Figures that the stories measure: each is kept in a file of its own, and all of them make docs/measurements.md."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "output" / "measurements"
PAGE = ROOT / "docs" / "measurements.md"
# Each engine of the balancers has its own figures.
ENGINE = os.environ.get("ESCALA_LOAD_BALANCER_ENGINE") or "nginx"


@dataclass
class Series:
    """One figure, measured once or many times."""

    what: str
    unit: str
    limit: float | None
    median_limit: float | None
    command: str
    values: list[float] = field(default_factory=list)
    last: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        """One line for a terminal."""
        seen = (
            f"p50 {_number(self.median)}, max {_number(max(self.values))} of {len(self.values)}"
            if self.values[1:]
            else _number(self.values[0])
        )
        limits = _limits(self)
        return f"{self.what}: {seen} {self.unit}{f' (limit {limits})' if limits else ''}{'' if self.within_limits else ': MISSED'}"

    @property
    def within_limits(self) -> bool:
        return (self.limit is None or max(self.values) <= self.limit) and (
            self.median_limit is None or self.median <= self.median_limit
        )


def record(
    name: str, value: float, unit: str, limit: float | None = None, *, what: str, median_limit: float | None = None
) -> None:
    """Print a figure and add it to its series; the limits are the promised ones, never widened."""
    file = FOLDER / f"{name}_{ENGINE}.json"
    # pytest says here which story runs, and in which phase.
    story = os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[0]
    series = Series(f"{ENGINE}: {what}", unit, limit, median_limit, f"pytest {story}" if story else "make soak")
    if file.exists():
        series.values = Series(**json.loads(file.read_text())).values
    series.values.append(value)
    series.last = datetime.datetime.now(datetime.UTC).date().isoformat()
    FOLDER.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(series), indent=1) + "\n")
    print(f"measured: {what}: {_number(value)} {unit}")


def forget() -> None:
    """Begin anew with the figures of this engine."""
    for file in FOLDER.glob(f"*_{ENGINE}.json"):
        file.unlink()


def recorded() -> dict[str, Series]:
    """Every figure that there is, of both engines."""
    return {file.stem: Series(**json.loads(file.read_text())) for file in sorted(FOLDER.glob("*.json"))}


def machine() -> str:
    """What matters of the machine on which it was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, Linux {platform.release().split('-')[0]}"


def page(series: Iterable[Series], machine: str) -> str:
    """The whole of docs/measurements.md."""
    rows = [
        f"| {one.what} | `{one.command}` | {len(one.values)} | {_number(one.median)} | {_number(max(one.values))} | {one.unit}"
        f" | {_limits(one) or 'none'} | {'yes' if one.within_limits else '**no**'} | {one.last} |"
        for one in series
    ]
    return "\n".join(
        [
            "# Measurements",
            "",
            "Written by `make soak` from what the stories in `tests/lab/` measured on the lab; do not edit it by hand.",
            "`make test` measures the same, once; `python -m tests.lab.measurements` writes this page from its figures.",
            f"All hosts, the load and the probes share one machine: {machine}.",
            "",
            "| What | Command | Runs | p50 | Max | Unit | Limit | Within it | Date |",
            "| --- | --- | --: | --: | --: | --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _limits(series: Series) -> str:
    limits = ((series.median_limit, "p50"), (series.limit, "max"))
    return ", ".join(f"{_number(limit)} {kind}" for limit, kind in limits if limit is not None)


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.3f}"


if __name__ == "__main__":
    PAGE.write_text(page(recorded().values(), machine()))
