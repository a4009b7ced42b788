"""The primary's postmaster is killed with SIGKILL: a node writes within 5 s, and what was primary comes back as a standby before it may be elected."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.postgres import Cluster, fail_over

RTO_SECONDS = 5.0

pytestmark = pytest.mark.etapa_3


def kill_postmaster(cluster: Cluster, output: Path, name: str, what: str) -> None:
    """Kill it on the primary, and hold what that cost against its limits under this name."""
    _, found = fail_over(
        cluster,
        output,
        what,
        lambda old: cluster.lab.on(old, f"kill -9 {cluster.postmaster(old)}"),
        may_return=True,
    )
    found.hold(name, what, limit=RTO_SECONDS)


@pytest.mark.soak(runs=20)
def test_rows_are_acknowledged_again_within_5_s(whole_cluster: Cluster, output: Path) -> None:
    kill_postmaster(whole_cluster, output, "postmaster_killed", "the primary's postmaster killed")
