"""The only server of a share loses its power in the midst of uploads and comes back: who uploads is told to wait, what was acknowledged is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.share import (
    BOOT_SECONDS,
    FILES,
    assert_nothing_lost,
    processes_of,
    uploading,
    wait_until_the_storage_is_blamed,
)
from tests.lab.target import Target

pytestmark = [
    pytest.mark.etapa_2,
    pytest.mark.topology("smb_storage"),
    pytest.mark.soak_only,
    pytest.mark.soak(runs=3),
    pytest.mark.usefixtures("whole_platform", "moved_uploads"),
]


def test_no_acknowledged_upload_is_lost_and_nobody_has_to_mount_anything_again(
    lab: Lab, target: Target, instances: list[str], output: Path
) -> None:
    (server,) = lab.group("storage_servers")
    processes = processes_of(lab)
    with uploading(target, output) as uploads:
        taken = uploads.result.acknowledged
        eventually("uploads flow", lambda: len(taken) > FILES // 10, within=BOOT_SECONDS, every=1)
        lab.verb("kill", server)
        wait_until_the_storage_is_blamed(lab, instances)
        away = len(taken)
        lab.verb("start", server)
        eventually("uploads flow again", lambda: len(taken) > away + FILES // 20, within=BOOT_SECONDS, every=1)
    # As long as it was off, and its boot.
    assert_nothing_lost(
        lab,
        uploads,
        "the only server is powered off and comes back",
        "server_returns",
        of="smb",
        longest_gap_seconds=BOOT_SECONDS,
    )
    assert processes_of(lab) == processes, "an instance was restarted"
