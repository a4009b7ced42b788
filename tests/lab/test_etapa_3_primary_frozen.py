"""Every process of the primary's PostgreSQL stands still, and nobody ends that: another node writes within 10 s, the old one never again as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.postgres import Cluster, fail_over

RTO_SECONDS = 10.0
# Long enough for another node to be elected, and in a soak for a minute.
STANDS_STILL_SECONDS, STANDS_STILL_IN_A_SOAK_SECONDS = 15.0, 60.0

pytestmark = pytest.mark.etapa_3


@pytest.mark.soak(runs=20)
def test_another_node_writes_within_10_s_and_the_old_one_never_again(whole_cluster: Cluster, output: Path) -> None:
    lab, what = whole_cluster.lab, "every process of the primary's PostgreSQL frozen"
    folder = whole_cluster.unit_folder(whole_cluster.primary())
    # Its guard kills what is frozen, which never goes on, and thaws the unit: systemd would wait for ever for what it starts in there.
    old, found = fail_over(
        whole_cluster, output, what, lambda primary: lab.on(primary, f"echo 1 > {folder}/cgroup.freeze")
    )
    assert lab.on(old, f"cat {folder}/cgroup.freeze").strip() == "0"
    assert [found.after_fault(end) < RTO_SECONDS for _, end in found.report["writers"][old]] == [True]
    found.hold("primary_frozen", what, limit=RTO_SECONDS)


@pytest.mark.soak(runs=3)
@pytest.mark.soak_only
def test_a_host_that_stood_still_goes_on_and_acknowledges_nothing(
    request: pytest.FixtureRequest, whole_cluster: Cluster, output: Path
) -> None:
    lab, what = whole_cluster.lab, "the primary's whole host frozen and thawed"
    # Its guard stands still with it, so nothing is killed: all of it goes on, and believes that it is the primary.
    old, found = fail_over(
        whole_cluster,
        output,
        what,
        lambda primary: lab.verb("freeze", primary),
        lambda primary: lab.verb("thaw", primary),
        lasts=STANDS_STILL_IN_A_SOAK_SECONDS if request.config.getoption("--soak") else STANDS_STILL_SECONDS,
    )
    assert [found.after_fault(end) < RTO_SECONDS for _, end in found.report["writers"][old]] == [True]
    found.hold("primary_host_frozen", what, limit=RTO_SECONDS)
