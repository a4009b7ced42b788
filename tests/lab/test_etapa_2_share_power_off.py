"""The server of the share loses its power in the midst of uploads and comes back: what was acknowledged is there, whole, and nothing hangs for good."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.measurements import record
from tests.lab.target import Target
from tests.lab.uploads import running_uploads

pytestmark = [
    pytest.mark.etapa_2,
    pytest.mark.topology("nfs_storage"),
    pytest.mark.usefixtures("whole_platform", "moved_uploads"),
]

FILES = 2_000
# An operation has 15 s, and storing a file has several: docs/shared-mount.md.
ANSWER_SECONDS = 60.0
# A host of this kind boots within minutes.
BOOT_SECONDS = 600.0


@pytest.mark.soak(runs=3)
def test_no_acknowledged_upload_is_lost_and_whoever_waits_is_told_why(
    lab: Lab, target: Target, instances: list[str], output: Path
) -> None:
    server = lab.group("storage_servers")[0]
    processes = processes_of(lab)
    with running_uploads(
        target, files=FILES, clients=4, patience_seconds=BOOT_SECONDS, save_to=output / "uploads.json"
    ) as uploads:
        taken = uploads.result.acknowledged
        eventually("uploads flow", lambda: len(taken) > FILES // 10, within=BOOT_SECONDS)
        lab.verb("kill", server)
        begin = time.monotonic()
        eventually(
            "every instance says that it is the storage",
            lambda: all(blames_the_storage(lab, instance) for instance in instances),
            within=ANSWER_SECONDS,
            every=1,
        )
        lab.verb("start", server)
        back = len(taken)
        eventually("uploads flow again", lambda: len(taken) > back + FILES // 20, within=BOOT_SECONDS, every=1)
        away = time.monotonic() - begin
    result = uploads.result
    assert result.sent >= FILES, result
    assert not result.uncured, result
    assert not result.lost, result
    assert not result.damaged, result
    # From both application hosts.
    assert {name.split("-")[0] for name in result.by_instance} == set(lab.group("app_servers"))
    # An upload that cannot be stored gets an answer that says so, and never none.
    assert {failure.how for failure in result.refusals} <= {"status 503"}, result
    assert processes_of(lab) == processes, "an instance was restarted"
    assert not hanging(lab)
    what = f"{FILES} uploads while the server is powered off and comes back"
    record("share_power_off_away", away, "s", what=f"{what}: until uploads flow again", of="nfs")
    record(
        "share_power_off_gap",
        result.longest_gap,
        "s",
        what=f"{what}: longest time without an acknowledged upload",
        of="nfs",
    )
    record("share_power_off_told", len(result.refusals), "tries", what=f"{what}: told to try again", of="nfs")


def blames_the_storage(lab: Lab, instance: str) -> bool:
    """Whether the instance is not ready, and says which check it is and why."""
    said = readiness(lab, instance)
    checks = said.get("checks", {})
    return said.get("status") != "ready" and bool(checks.get("storage", {}).get("reason"))


def readiness(lab: Lab, instance: str) -> dict[str, Any]:
    host, port = instance.rsplit("-", 1)
    address = lab.hosts()[host]["address"]
    said = lab.on(host, f"curl --silent --max-time 5 http://{address}:{port}/health/ready", check=False)
    found: dict[str, Any] = json.loads(said or "{}")
    return found


def processes_of(lab: Lab) -> dict[str, str]:
    """Which process each instance is."""
    return {
        host: lab.on(host, "systemctl show --property=Id,MainPID 'tenant-app@*.service'")
        for host in lab.group("app_servers")
    }


def hanging(lab: Lab) -> dict[str, str]:
    """What waits in the kernel and cannot be killed, on the hosts that mount the share."""
    listing = {host: lab.on(host, "ps -eo stat=,comm= | grep ^D; true") for host in lab.group("app_servers")}
    return {host: waiting for host, waiting in listing.items() if "node" in waiting}
