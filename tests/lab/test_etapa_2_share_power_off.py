"""Of two servers of a share the one that serves is lost in the midst of uploads: the other goes on, what was acknowledged is there, nothing hangs for good."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.measurements import record
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
    pytest.mark.topology("nfs_storage"),
    pytest.mark.soak_only,
    pytest.mark.usefixtures("whole_platform", "moved_uploads", "whole_pair"),
]

# What the hosts wait for each other is set for them in the lab's inventory.
TAKEOVER_SECONDS = 180.0
# The address that moves, or threads of NFS.
_SERVES = "ip -oneline address show | grep -qF ' {address}/' || cat /proc/fs/nfsd/threads 2>/dev/null | grep -qv '^0$'"


class Pair:
    """Two servers of which one serves, and each look at who does."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._command = _SERVES.format(address=lab.variables()["shared_storage_address"])
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
        wait_until_the_storage_is_blamed(lab, instances)
        away = len(taken)
        eventually("uploads flow again", lambda: len(taken) > away + FILES // 20, within=BOOT_SECONDS, every=1)
        assert whole_pair.serving() == [other]
        lab.verb("start", active)
        eventually("the host that was off has everything", whole_pair.is_whole, within=BOOT_SECONDS, every=5)
        assert whole_pair.serving() == [other], "the host that came back took the service back"
    assert_nothing_lost(
        lab, uploads, "the serving host is powered off", "power_off", of="nfs", longest_gap_seconds=TAKEOVER_SECONDS
    )
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
    assert_nothing_lost(
        lab, uploads, "the serving host is cut off", "cut_off", of="nfs", longest_gap_seconds=TAKEOVER_SECONDS
    )
    record(
        "share_cut_off_takeover",
        took,
        "s",
        what="the serving host of a pair is cut off: until the other serves",
        of="nfs",
    )
    assert max(map(len, whole_pair.looks)) == 1, "both served"
