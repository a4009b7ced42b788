"""Of two servers of a share the one that serves is lost in the midst of uploads: the other goes on, what was acknowledged is there, nothing hangs for good."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.paths import INVENTORY
from tests.lab.eventually import eventually, widened
from tests.lab.handle import Lab
from tests.lab.measurements import record
from tests.lab.target import Target
from tests.lab.uploads import Uploads, running_uploads

pytestmark = [
    pytest.mark.etapa_2,
    pytest.mark.topology("nfs_storage"),
    pytest.mark.soak_only,
    pytest.mark.usefixtures("whole_platform", "moved_uploads", "whole_pair"),
]

FILES = 2_000
# An operation has 15 s, and storing a file has several: docs/shared-mount.md.
ANSWER_SECONDS = 60.0
# Hosts of this kind boot within minutes, and what they wait for each other is set for them in the lab's inventory.
TAKEOVER_SECONDS = 180.0
BOOT_SECONDS = 900.0
# The address that moves, or threads of NFS.
_SERVES = "ip -oneline address show | grep -qF ' {address}/' || cat /proc/fs/nfsd/threads 2>/dev/null | grep -qv '^0$'"


class Pair:
    """Two servers of which one serves, and each look at who does."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        variables = yaml.safe_load((INVENTORY / "hosts.yml").read_text())["all"]["vars"]
        self._command = _SERVES.format(address=variables["shared_storage_address"])
        self.hosts = lab.group("storage_servers")
        self.looks: list[list[str]] = []

    def serving(self) -> list[str]:
        hosts = self._lab.hosts()
        on = [host for host in self.hosts if hosts[host]["state"] == "running"]
        seen = [
            host
            for host in on
            if self._lab.on(host, f"({self._command}) && echo yes; true", check=False).strip() == "yes"
        ]
        self.looks.append(seen)
        return seen

    def is_whole(self) -> bool:
        """Both devices are connected and have everything, and one host serves."""
        said = [self._lab.on(host, "cat /proc/drbd", check=False) for host in self.hosts]
        return (
            all("cs:Connected" in text and "ds:UpToDate/UpToDate" in text for text in said) and len(self.serving()) == 1
        )


@pytest.fixture
def whole_pair(lab: Lab) -> Iterator[Pair]:
    pair = Pair(lab)
    eventually("both servers have everything", pair.is_whole, within=BOOT_SECONDS, every=5)
    yield pair
    lab.start_all()
    eventually("both servers have everything again", pair.is_whole, within=BOOT_SECONDS, every=5)


@pytest.mark.soak(runs=3)
def test_no_acknowledged_upload_is_lost_when_the_serving_host_loses_its_power(
    lab: Lab, target: Target, whole_pair: Pair, instances: list[str], output: Path
) -> None:
    processes = processes_of(lab)
    with uploading(target, output) as uploads:
        taken = uploads.result.acknowledged
        eventually("uploads flow", lambda: len(taken) > FILES // 10, within=BOOT_SECONDS, every=1)
        (active,) = whole_pair.serving()
        (other,) = set(whole_pair.hosts) - {active}
        lab.verb("kill", active)
        eventually(
            "every instance says that it is the storage",
            lambda: all(blames_the_storage(lab, instance) for instance in instances),
            within=ANSWER_SECONDS,
            every=1,
        )
        away = len(taken)
        eventually("uploads flow again", lambda: len(taken) > away + FILES // 20, within=BOOT_SECONDS, every=1)
        assert whole_pair.serving() == [other]
        lab.verb("start", active)
        eventually("the host that was off has everything", whole_pair.is_whole, within=BOOT_SECONDS, every=5)
        assert whole_pair.serving() == [other], "the host that came back took the service back"
    assert_nothing_lost(lab, uploads, "the serving host is powered off", "power_off")
    assert max(map(len, whole_pair.looks)) == 1, "both served"
    assert processes_of(lab) == processes, "an instance was restarted"


@pytest.mark.soak(runs=1)
def test_a_host_that_is_cut_off_resets_itself_before_the_other_serves(
    lab: Lab, target: Target, whole_pair: Pair, output: Path
) -> None:
    with uploading(target, output) as uploads:
        taken = uploads.result.acknowledged
        eventually("uploads flow", lambda: len(taken) > FILES // 10, within=BOOT_SECONDS, every=1)
        (active,) = whole_pair.serving()
        (other,) = set(whole_pair.hosts) - {active}
        booted = lab.on(active, "cat /proc/sys/kernel/random/boot_id")
        # Its clients still reach it.
        for place in (other, lab.group("load_balancers")[0]):
            lab.verb("cut", active, place)
        begin = time.monotonic()
        eventually("the other host serves", lambda: whole_pair.serving() == [other], within=BOOT_SECONDS, every=1)
        took = time.monotonic() - begin
        away = len(taken)
        eventually("uploads flow again", lambda: len(taken) > away + FILES // 20, within=BOOT_SECONDS, every=1)
        lab.verb("heal")
        eventually("the host that was cut off has everything", whole_pair.is_whole, within=BOOT_SECONDS, every=5)
    assert lab.on(active, "cat /proc/sys/kernel/random/boot_id") != booted, "it went on running"
    assert_nothing_lost(lab, uploads, "the serving host is cut off", "cut_off")
    record(
        "share_cut_off_takeover",
        took,
        "s",
        what="the serving host of a pair is cut off: until the other serves",
        of="nfs",
    )
    assert max(map(len, whole_pair.looks)) == 1, "both served"


def uploading(target: Target, output: Path) -> Any:
    return running_uploads(
        target, files=FILES, clients=4, patience_seconds=BOOT_SECONDS, save_to=output / "uploads.json"
    )


def assert_nothing_lost(lab: Lab, uploads: Uploads, fault: str, key: str) -> None:
    result = uploads.result
    what = f"{result.sent} uploads while {fault}"
    record(
        f"share_{key}_gap",
        result.longest_gap,
        "s",
        what=f"{what}: longest time without an acknowledged upload",
        of="nfs",
    )
    record(
        f"share_{key}_told", len(result.refusals), "tries", what=f"{what}: tries that were told to try again", of="nfs"
    )
    record(
        f"share_{key}_lost",
        len(result.lost + result.damaged),
        "uploads",
        0,
        what=f"{what}: acknowledged and lost",
        of="nfs",
    )
    assert result.sent >= FILES, result
    assert not result.uncured, result
    assert not result.lost, result
    assert not result.damaged, result
    # From both application hosts.
    assert {name.split("-")[0] for name in result.by_instance} == set(lab.group("app_servers"))
    # An upload that cannot be stored gets an answer that says so, and never none.
    assert {failure.how for failure in result.refusals} <= {"status 503"}, result
    assert result.longest_gap < widened(TAKEOVER_SECONDS), result
    assert not hanging(lab)


def blames_the_storage(lab: Lab, instance: str) -> bool:
    """Whether the instance is not ready, and says which check it is and why."""
    host, port = instance.rsplit("-", 1)
    address = lab.hosts()[host]["address"]
    said = json.loads(
        lab.on(host, f"curl --silent --max-time 5 http://{address}:{port}/health/ready", check=False) or "{}"
    )
    checks = said.get("checks", {})
    return said.get("status") != "ready" and bool(checks.get("storage", {}).get("reason"))


def processes_of(lab: Lab) -> dict[str, str]:
    """Which process each instance is."""
    command = "systemctl show --property=Id,MainPID 'tenant-app@*.service'"
    return {host: lab.on(host, command) for host in lab.group("app_servers")}


def hanging(lab: Lab) -> dict[str, str]:
    """What waits in the kernel and cannot be killed, on the hosts that mount the share."""
    listing = {host: lab.on(host, "ps -eo stat=,comm= | grep ^D; true") for host in lab.group("app_servers")}
    return {host: waiting for host, waiting in listing.items() if "node" in waiting}
