"""What the stories of a share have in common: uploads over a fault of its servers, and what becomes of them and of those who wait."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.lab.eventually import eventually, widened
from tests.lab.handle import Lab
from tests.lab.measurements import record
from tests.lab.target import Target
from tests.lab.uploads import Uploads, running_uploads

# Emulated hosts store less than one in a second: who has an hour less takes fewer.
FILES = int(os.environ.get("ESCALA_SHARE_UPLOADS", "2000"))
# An operation has 15 s, and storing a file has several: docs/shared-mount.md.
ANSWER_SECONDS = 60.0
# Hosts of this kind boot within minutes.
BOOT_SECONDS = 900.0


def uploading(target: Target, output: Path) -> AbstractContextManager[Uploads]:
    return running_uploads(
        target, files=FILES, clients=4, patience_seconds=BOOT_SECONDS, save_to=output / "uploads.json"
    )


def assert_nothing_lost(
    lab: Lab, uploads: Uploads, fault: str, key: str, *, of: str, longest_gap_seconds: float
) -> None:
    """Every acknowledged upload is there with its bytes, whoever had to wait was told so, and nobody hangs."""
    result = uploads.result
    what = f"{result.sent} uploads while {fault}"
    record(
        f"share_{key}_gap",
        result.longest_gap,
        "s",
        what=f"{what}: longest time without an acknowledged upload",
        of=of,
    )
    record(f"share_{key}_told", len(result.refusals), "tries", what=f"{what}: tries that were told to try again", of=of)
    record(
        f"share_{key}_lost",
        len(result.lost + result.damaged),
        "uploads",
        0,
        what=f"{what}: acknowledged and lost",
        of=of,
    )
    assert result.sent >= FILES, result
    assert not result.uncured, result
    assert not result.lost, result
    assert not result.damaged, result
    # From both application hosts.
    assert {name.split("-")[0] for name in result.by_instance} == set(lab.group("app_servers"))
    # An upload that cannot be stored gets an answer that says so, and never none.
    assert {failure.how for failure in result.refusals} <= {"status 503"}, result
    assert result.longest_gap < widened(longest_gap_seconds), result
    assert not hanging(lab)


def wait_until_the_storage_is_blamed(lab: Lab, instances: list[str]) -> None:
    """Every instance says in time that it is the storage."""
    eventually(
        "every instance says that it is the storage",
        lambda: blames_the_storage(lab, instances),
        within=ANSWER_SECONDS,
        every=1,
    )


def blames_the_storage(lab: Lab, instances: list[str]) -> bool:
    """Whether every instance is not ready, and says that it is the storage."""
    return all(_blames_the_storage(lab, instance) for instance in instances)


def wait_until_all_are_ready(lab: Lab, instances: list[str]) -> None:
    eventually(
        "every instance is ready",
        lambda: all(_readiness(lab, instance).get("status") == "ready" for instance in instances),
        within=ANSWER_SECONDS,
        every=1,
    )


def _blames_the_storage(lab: Lab, instance: str) -> bool:
    """Whether the instance is not ready, and says which check it is and why."""
    said = _readiness(lab, instance)
    return said.get("status") != "ready" and bool(said.get("checks", {}).get("storage", {}).get("reason"))


def _readiness(lab: Lab, instance: str) -> dict[str, Any]:
    """What the instance says of itself, nothing where it does not answer."""
    host, port = instance.rsplit("-", 1)
    address = lab.hosts()[host]["address"]
    said: dict[str, Any] = json.loads(
        lab.on(host, f"curl --silent --max-time 10 http://{address}:{port}/health/ready", check=False) or "{}"
    )
    return said


def processes_of(lab: Lab) -> dict[str, str]:
    """Which process each instance is."""
    command = "systemctl show --property=Id,MainPID 'tenant-app@*.service'"
    return {host: lab.on(host, command) for host in lab.group("app_servers")}


def hanging(lab: Lab) -> dict[str, str]:
    """What waits in the kernel and cannot be killed, on the hosts that mount the share."""
    listing = {host: lab.on(host, "ps -eo stat=,comm= | grep ^D; true") for host in lab.group("app_servers")}
    return {host: waiting for host, waiting in listing.items() if "node" in waiting}
