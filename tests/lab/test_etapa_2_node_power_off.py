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

# A fault under the same load in `make test`, for a shorter time.
FILES, FILES_OF_A_SOAK = 500, 2_000
NODE = "storage3"


@pytest.mark.soak(runs=3)
def test_no_acknowledged_upload_is_lost_and_a_retry_cures_every_failure(
    lab: Lab, target: Target, output: Path, pytestconfig: pytest.Config
) -> None:
    files = FILES_OF_A_SOAK if pytestconfig.getoption("--soak") else FILES
    with running_uploads(target, files=files, save_to=output / "uploads.json") as uploads:
        taken = uploads.result.acknowledged
        eventually("uploads flow", lambda: len(taken) > files // 10, within=120)
        lab.verb("kill", NODE)
        away = len(taken)
        eventually("they go on without the node", lambda: len(taken) > away + files // 4, within=240)
        lab.verb("start", NODE)
        back = len(taken)
        eventually("they go on with it", lambda: len(taken) > back + files // 10, within=240)
    result = uploads.result
    assert not result.uncured, result
    assert not result.lost, result
    assert not result.damaged, result
    # From both application hosts.
    assert {name.split("-")[0] for name in result.by_instance} == set(lab.group("app_servers"))
    again = max((result.tries_of(failure.request) for failure in result.refusals), default=0)
    what = f"{files} uploads while a node is powered off and comes back"
    record("node_power_off_tries", again, "tries", 1, what=f"{what}: failed tries of one upload", of="minio")
    record("node_power_off_failed", len(result.refusals), "tries", what=f"{what}: failed tries", of="minio")
    record(
        "node_power_off_gap",
        result.longest_gap,
        "s",
        what=f"{what}: longest time without an acknowledged upload",
        of="minio",
    )
