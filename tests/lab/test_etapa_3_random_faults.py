"""Three faults drawn by a seed, over each other: never two writers, no acknowledged row lost, whole again without a person."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

import pytest

from tests.lab.postgres import Cluster, wait_until
from tests.lab.random_faults import Fault, draw

FAULTS = 3
# Runs count from 1, and so do their seeds; with ESCALA_SEED they go on from there, and 20 gives other twenty.
BEFORE_THE_FIRST_SEED = int(os.environ.get("ESCALA_SEED") or 0)
# After the last fault has ended: a node may have its data to copy anew.
WHOLE_SECONDS = 180.0

pytestmark = [pytest.mark.etapa_3, pytest.mark.soak_only]


def act(cluster: Cluster, fault: Fault, words: str) -> None:
    """Begin or end a fault; what another fault has made impossible, such as a command on a host without power, is left out."""
    if not words:
        return
    if fault.by_verb:
        cluster.lab.verb(*words.split(), check=False)
    elif cluster.lab.hosts()[fault.node]["state"] == "running":
        cluster.lab.on(fault.node, f"timeout 5 sh -c {shlex.quote(words)}", check=False)


@pytest.mark.soak(runs=20)
def test_faults_over_each_other_lose_nothing(whole_cluster: Cluster, output: Path, run: int) -> None:
    seed = BEFORE_THE_FIRST_SEED + run
    faults = draw(seed, list(whole_cluster.nodes), list(whole_cluster.pools), whole_cluster.primary(), FAULTS)
    said = "; ".join(map(str, faults))
    print(f"seed {seed}: {said}")
    with whole_cluster.measuring(output) as measurement:
        begun = time.monotonic()
        moments = sorted(
            [(fault.begin, "begins", fault, fault.act) for fault in faults]
            + [(fault.end, "ends", fault, fault.undo) for fault in faults],
            key=lambda moment: moment[0],
        )
        at = measurement.mark("faults begin")
        for seconds, what, fault, words in moments:
            wait_until(begun + seconds, "the next one is due")
            measurement.mark(f"{fault.node} {fault.kind}: {what}")
            act(whole_cluster, fault, words)
        over = measurement.mark("the last one has ended")
        for fault in faults:
            act(whole_cluster, fault, fault.undo)
        whole_cluster.heal()
        whole_cluster.wait_until_whole(WHOLE_SECONDS)
        whole = measurement.mark("whole again")
        whole_cluster.wait_acknowledged(measurement, whole)
        print(f"whole {whole - over:.1f} s after the last one had ended")
    found = whole_cluster.judge(measurement, output, f"seed {seed}: {said}", at)
    found.hold("random_faults", "three faults drawn by a seed, over each other")
