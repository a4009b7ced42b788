"""The primary is cut off from every other host: another node writes within 10 s, the old one stops, and follows when it is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.eventually import widened
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster, fail_over

RTO_SECONDS = 10.0
FENCED_SECONDS = 6.0
LASTS_SECONDS = 15.0

pytestmark = pytest.mark.etapa_3


@pytest.mark.soak(runs=20)
def test_another_node_writes_within_10_s_and_the_old_one_is_fenced_within_6_s(
    whole_cluster: Cluster, output: Path
) -> None:
    lab, what = whole_cluster.lab, "the primary isolated"
    old, found = fail_over(
        whole_cluster,
        output,
        what,
        lambda primary: lab.verb("isolate", primary),
        lambda _primary: lab.verb("heal"),
        lasts=LASTS_SECONDS,
    )
    fenced = found.last_open(old)
    record("primary_isolated_fenced", fenced, "s", FENCED_SECONDS, what=f"{what}: it is fenced after", of=MANAGER)
    # That it acknowledged nothing after the cut which the new one lacks is part of what is held: the detector wrote directly on it all the while.
    found.hold("primary_isolated", what, limit=RTO_SECONDS)
    assert fenced <= widened(FENCED_SECONDS)
