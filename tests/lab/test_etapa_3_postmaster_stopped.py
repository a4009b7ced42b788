"""The postmaster alone stands still, so that sessions go on and no new one opens: the guard kills the whole unit, and another node writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.eventually import widened
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster, fail_over

RTO_SECONDS = 10.0
# 3 s without a new session, and what the look at it and the kill take.
NOTICED_SECONDS = 6.0

pytestmark = pytest.mark.etapa_3


@pytest.mark.soak(runs=3)
@pytest.mark.soak_only
def test_it_is_noticed_and_another_node_writes_within_10_s(whole_cluster: Cluster, output: Path) -> None:
    what = "the primary's postmaster alone stopped"
    process = whole_cluster.postmaster(whole_cluster.primary())
    old, found = fail_over(
        whole_cluster,
        output,
        what,
        lambda primary: whole_cluster.lab.on(primary, f"kill -STOP {process}"),
        lambda primary: whole_cluster.lab.on(primary, f"kill -CONT {process}", check=False),
        # Sessions that are open go on until the guard ends them.
        lasts=RTO_SECONDS,
    )
    noticed = found.last_open(old)
    record("postmaster_stopped_noticed", noticed, "s", NOTICED_SECONDS, what=f"{what}: killed after", of=MANAGER)
    found.hold("postmaster_stopped", what, limit=RTO_SECONDS)
    assert noticed <= widened(NOTICED_SECONDS)
