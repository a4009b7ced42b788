"""A node of the storage loses its power in the midst of uploads and comes back: whatever was acknowledged is there, whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.measurements import record
from tests.lab.target import Target
from tests.lab.uploads import running_uploads

pytestmark = [
    pytest.mark.etapa_2,
    pytest.mark.topology("object_storage"),
    pytest.mark.usefixtures("whole_platform", "moved_uploads"),
]

FILES = 2_000
NODE = "storage3"


@pytest.mark.soak(runs=3)
def test_no_acknowledged_upload_is_lost_and_a_retry_cures_every_failure(lab: Lab, target: Target, output: Path) -> None:
    with running_uploads(target, files=FILES, save_to=output / "uploads.json") as uploads:
        taken = uploads.result.acknowledged
        eventually("uploads flow", lambda: len(taken) > FILES // 10, within=120)
        lab.verb("kill", NODE)
        away = len(taken)
        eventually("they go on without the node", lambda: len(taken) > away + FILES // 4, within=240)
        lab.verb("start", NODE)
        back = len(taken)
        eventually("they go on with it", lambda: len(taken) > back + FILES // 10, within=240)
    result = uploads.result
    assert not result.uncured, result
    assert not result.lost, result
    assert not result.damaged, result
    # From both application hosts.
    assert {name.split("-")[0] for name in result.by_instance} == set(lab.group("app_servers"))
    again = max((result.tries_of(failure.request) for failure in result.refusals), default=0)
    record("storage_node_power_off_tries", again, "", 1, what="a node of MinIO powered off: failed tries of one upload")
    record(
        "storage_node_power_off_gap",
        result.longest_gap,
        "s",
        what="the same: longest time without an acknowledged upload",
    )
    assert again <= 1, result
