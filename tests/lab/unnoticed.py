"""What a fault under load must come to: nobody noticed it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.lab.eventually import eventually
from tests.lab.load import Result, running_load
from tests.lab.measurements import record
from tests.lab.target import Target

# `make test` asks with fewer, the same faults in less time; `make soak` asks either engine with all.
REQUESTS = int(os.environ.get("ESCALA_REQUESTS", "20000"))


def load_while_away(
    target: Target,
    instances: list[str],
    save_to: Path,
    fault: Callable[[], object],
    end: Callable[[], object],
) -> Result:
    """A load under which these instances have a fault for a third of it, until they answer again as they did."""
    with running_load(target, requests=REQUESTS, save_to=save_to) as load:
        eventually("the load is steady", lambda: load.result.requests > REQUESTS // 5, within=30)
        fault()
        sent = load.result.requests
        eventually("a third of the load passes", lambda: load.result.requests > sent + REQUESTS // 3, within=40)
        end()
        before = {name: load.result.by_instance[name] for name in instances}
        eventually(
            f"{' and '.join(instances)} are back in rotation",
            lambda: all(load.result.by_instance[name] > before[name] + 100 for name in instances),
            within=60,
        )
    return load.result


def assert_nobody_noticed(result: Result, name: str, what: str) -> None:
    """Record the figures of a load, and hold them against the limits, which no busy machine widens."""
    print(result)
    record(f"{name}_requests", result.requests, "requests", what=f"{what}: requests sent")
    record(f"{name}_failed", len(result.failures), "requests", 0, what=f"{what}: requests that failed")
    record(
        f"{name}_broken", result.broken, "connections", what=f"{what}: connections that broke, their request sent again"
    )
    record(f"{name}_lost", len(result.lost), "writes", 0, what=f"{what}: acknowledged writes lost")
    record(f"{name}_slowest", result.quantile(1), "s", what=f"{what}: slowest request")
    result.assert_unharmed()
    assert result.requests >= REQUESTS
    assert result.acknowledged
