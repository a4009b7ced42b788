"""Faults beyond the promised list: a hung disk, links cut one way, a clock that is wrong, two faults at once. The rule holds in all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.eventually import eventually
from tests.lab.postgres import Cluster, fail_over, wait_until

# Longer than for the faults that are promised: some of these are noticed only by what does not come.
RTO_SECONDS = 20.0
LASTS_SECONDS = 20.0
WHOLE_SECONDS = 120.0

pytestmark = [pytest.mark.etapa_3, pytest.mark.soak_only, pytest.mark.soak(runs=2)]


def test_a_primary_whose_disk_hangs_gives_way(whole_cluster: Cluster, output: Path) -> None:
    lab, what = whole_cluster.lab, "the primary's disk hangs"
    _, found = fail_over(
        whole_cluster,
        output,
        what,
        lambda old: lab.verb("disk-hang", old, "postgresql"),
        lambda old: lab.verb("disk-heal", old),
        lasts=LASTS_SECONDS,
    )
    found.hold("disk_hung", what, limit=RTO_SECONDS)


def test_a_primary_that_is_heard_by_nobody_and_hears_all_gives_way(whole_cluster: Cluster, output: Path) -> None:
    lab, what = whole_cluster.lab, "what the primary sends is lost, what it is sent arrives"

    def mute(old: str) -> None:
        for other in [*whole_cluster.others(old), *whole_cluster.pools]:
            lab.verb("cut", old, other, "--one-way")

    _, found = fail_over(whole_cluster, output, what, mute, lambda _old: lab.verb("heal"), lasts=LASTS_SECONDS)
    found.hold("primary_mute", what, limit=RTO_SECONDS)


def judged(cluster: Cluster, output: Path, what: str, fault: Callable[[], object], undo: Callable[[], object]) -> None:
    """A fault after which any node may be primary: rows go on, none is lost, and never two nodes write."""
    with cluster.measuring(output) as measurement:
        at = measurement.mark(what)
        fault()
        cluster.wait_acknowledged(measurement, at)
        wait_until(at + LASTS_SECONDS, "the fault has lasted its time")
        measurement.mark("it ends")
        undo()
        cluster.wait_until_whole(WHOLE_SECONDS)
    found = cluster.judge(measurement, output, what, at)
    found.hold("_".join(what.split()), what, limit=RTO_SECONDS)


@pytest.mark.parametrize("seconds", [-3600, 3600], ids=["behind", "ahead"])
def test_a_primary_with_a_wrong_clock_costs_a_restart_and_no_row(
    whole_cluster: Cluster, output: Path, seconds: int
) -> None:
    lab, primary = whole_cluster.lab, whole_cluster.primary()
    judged(
        whole_cluster,
        output,
        f"the primary's clock {'behind' if seconds < 0 else 'ahead'} by an hour",
        lambda: lab.verb("clock", primary, f"{seconds}"),
        lambda: lab.verb("clock", primary, "0"),
    )


def test_a_primary_lost_while_one_guard_does_not_run_waits_for_it(whole_cluster: Cluster, output: Path) -> None:
    lab, primary = whole_cluster.lab, whole_cluster.primary()
    deaf = whole_cluster.others(primary)[0]
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark(f"the guard of {deaf} stopped, {primary} powered off")
        lab.on(deaf, "systemctl stop escala-pg-guard")
        lab.verb("kill", primary)
        wait_until(at + LASTS_SECONDS, "there is no majority")
        assert not [node for node, state in whole_cluster.states().items() if state and state[0]], "one vote elected"
        back = measurement.mark(f"the guard of {deaf} runs again")
        lab.on(deaf, "systemctl start escala-pg-guard")
        whole_cluster.wait_acknowledged(measurement, back)
        lab.verb("start", primary)
        whole_cluster.wait_until_whole(WHOLE_SECONDS)
    found = whole_cluster.judge(measurement, output, "a primary and a guard lost", at)
    found.hold("primary_and_guard", "a primary lost, with the guard of one standby stopped before")


def test_nodes_that_hear_only_some_of_the_others_never_have_two_writers(whole_cluster: Cluster, output: Path) -> None:
    lab, primary = whole_cluster.lab, whole_cluster.primary()
    apart = whole_cluster.others(primary)[0]
    judged(
        whole_cluster,
        output,
        "the primary and one standby apart, the third sees both",
        lambda: lab.verb("cut", primary, apart),
        lambda: lab.verb("heal"),
    )


def test_two_failovers_in_a_row_lose_nothing(whole_cluster: Cluster, output: Path) -> None:
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark("two postmasters killed, the second as soon as rows are acknowledged again")
        for _ in range(2):
            primary = whole_cluster.primary()
            process = whole_cluster.postmaster(primary)
            killed = measurement.mark(f"{primary} killed")
            whole_cluster.lab.on(primary, f"kill -9 {process}")
            whole_cluster.wait_acknowledged(measurement, killed)
            eventually("there is one primary", whole_cluster.primary, within=30)
        whole_cluster.wait_until_whole(WHOLE_SECONDS)
    found = whole_cluster.judge(measurement, output, "two failovers in a row", at)
    found.hold("two_in_a_row", "two failovers in a row", limit=RTO_SECONDS)
