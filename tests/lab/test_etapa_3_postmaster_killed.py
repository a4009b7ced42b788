"""The primary's postmaster is killed with SIGKILL: a node writes within 5 s, and what was primary comes back as a standby before it may be elected."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.postgres import Cluster, fail_over

RTO_SECONDS = 5.0

pytestmark = pytest.mark.etapa_3


@pytest.mark.soak(runs=20)
def test_rows_are_acknowledged_again_within_5_s(whole_cluster: Cluster, output: Path) -> None:
    what = "the primary's postmaster killed"
    _, found = fail_over(
        whole_cluster,
        output,
        what,
        lambda old: whole_cluster.lab.on(old, f"kill -9 {whole_cluster.postmaster(old)}"),
        may_return=True,
    )
    found.hold("postmaster_killed", what, limit=RTO_SECONDS)
