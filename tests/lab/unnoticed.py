"""What a fault under load must come to: nobody noticed it."""

from __future__ import annotations

from tests.lab.load import Result
from tests.lab.measurements import record

REQUESTS = 20_000


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
    assert result.failures == []
    assert result.requests >= REQUESTS
    assert result.acknowledged
    assert result.lost == []
