"""Figures that the stories measure: each is kept in a file of its own, and all of them make docs/measurements.md."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "output" / "measurements"
PAGE = ROOT / "docs" / "measurements.md"
# Each engine of the balancers has its own figures, and so has each manager of the database.
ENGINE = os.environ.get("ESCALA_LOAD_BALANCER_ENGINE") or "nginx"
MANAGER = "repmgr"
_CELLS = 10
# Series that this process has begun: its first figure of each puts older ones away, and the series that it does not measure stay.
_begun: set[Path] = set()


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

    @property
    def p95(self) -> float:
        """The value that 19 of 20 do not exceed; of fewer than 20 it is the largest."""
        return sorted(self.values)[math.ceil(0.95 * len(self.values)) - 1]

    def __str__(self) -> str:
        """One line for a terminal."""
        seen = (
            f"p50 {_number(self.median)}, p95 {_number(self.p95)}, max {_number(max(self.values))} of {len(self.values)}"
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
    name: str,
    value: float,
    unit: str,
    limit: float | None = None,
    *,
    what: str,
    median_limit: float | None = None,
    of: str = ENGINE,
) -> None:
    """Print a figure and add it to its series; the limits are the promised ones, never widened.

    It is a figure of an engine of the balancers or of a manager of the database, which is what the page says before it.
    """
    file = FOLDER / f"{name}_{of}.json"
    # pytest says here which story runs, and in which phase.
    story = os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[0]
    series = Series(f"{of}: {what}", unit, limit, median_limit, f"pytest {story}" if story else "make soak")
    if file in _begun:
        series.values = Series(**json.loads(file.read_text())).values
    _begun.add(file)
    series.values.append(value)
    series.last = datetime.datetime.now(datetime.UTC).date().isoformat()
    FOLDER.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(series), indent=1) + "\n")
    print(f"measured: {what}: {_number(value)} {unit}")


def recorded() -> dict[str, Series]:
    """Every figure that there is, of every engine and manager."""
    return {file.stem: Series(**json.loads(file.read_text())) for file in sorted(FOLDER.glob("*.json"))}


def machine() -> str:
    """What matters of the machine on which it was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB of memory, Linux {platform.release().split('-')[0]}"


def page(series: Iterable[Series], machine: str, before: str = "") -> str:
    """The whole of docs/measurements.md: these series, and those of the page as it was before that were not measured again."""
    kept = {what: line for line in before.splitlines() if (what := _measured(line))}
    rows = kept | {
        one.what: f"| {one.what} | `{one.command}` | {len(one.values)} | {_number(one.median)} | {_number(one.p95)} | {_number(max(one.values))} | {one.unit}"
        f" | {_limits(one) or 'none'} | {'yes' if one.within_limits else '**no**'} | {one.last} |"
        for one in series
    }
    return "\n".join(
        [
            "# Measurements",
            "",
            "Written by `make soak` from what the stories in `tests/lab/` measured on the lab; do not edit it by hand.",
            "`make test` measures the same, once; `python -m tests.lab.measurements` writes this page from its figures.",
            f"All hosts, the load and the probes share one machine: {machine}.",
            "",
            "| What | Command | Runs | p50 | p95 | Max | Unit | Limit | Within it | Date |",
            "| --- | --- | --: | --: | --: | --: | --- | --- | --- | --- |",
            *(rows[what] for what in sorted(rows, key=lambda what: (_story(rows[what]), what))),
            "",
        ]
    )


def _measured(line: str) -> str:
    """What a row of the page is about, empty for any other line."""
    cells = [cell.strip() for cell in line.split("|")]
    return cells[1] if len(cells) > _CELLS and cells[2].startswith("`") else ""


def _story(line: str) -> str:
    return line.split("|")[2]


def _limits(series: Series) -> str:
    limits = ((series.median_limit, "p50"), (series.limit, "max"))
    return ", ".join(f"{_number(limit)} {kind}" for limit, kind in limits if limit is not None)


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.3f}"


if __name__ == "__main__":
    PAGE.write_text(page(recorded().values(), machine(), PAGE.read_text()))
