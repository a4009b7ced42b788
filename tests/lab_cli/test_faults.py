"""Each fault of the lab does what its name says, is seen, and is undone."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.lab.eventually import eventually, widened
from tests.lab_cli.handle import ROOT, done, hosts, lab, on


@pytest.fixture(autouse=True)
def _whole_lab() -> Iterator[None]:
    """Every test begins and ends with all hosts running and no fault in force."""
    done("up", "--topology", "small")
    yield
    done("heal")
    done("disk-heal", "legacy1")
    done("thaw", "lb2")
    done("up", "--topology", "small")


def reaches(host: str, other: str) -> bool:
    return on(host, f"ping -c 1 -W 1 {other} >/dev/null").returncode == 0


def test_the_exit_status_of_a_command_on_a_host_is_handed_through() -> None:
    assert on("lb1", "exit 7").returncode == 7


def test_a_cut_link_carries_nothing_either_way_and_the_machine_keeps_its_own() -> None:
    done("cut", "lb1", "lb2")
    assert not reaches("lb1", "lb2")
    assert not reaches("lb2", "lb1")
    assert reaches("lb1", "app1")
    done("heal")
    # A neighbour that was asked for in vain is asked for again after a moment.
    eventually("lb1 reaches lb2 again", lambda: reaches("lb1", "lb2"), within=5)


def test_a_link_cut_one_way_still_carries_the_other() -> None:
    def echoes(host: str) -> int:
        names, values = (line.split() for line in on(host, "grep ^Icmp: /proc/net/snmp").stdout.splitlines())
        return int(values[names.index("InEchos")])

    done("cut", "lb1", "app1", "--one-way")
    at_lb1, at_app1 = echoes("lb1"), echoes("app1")
    assert not reaches("app1", "lb1")
    assert echoes("lb1") == at_lb1 + 1, "the question arrives, and only the answer is lost"
    assert not reaches("lb1", "app1")
    assert echoes("app1") == at_app1


def test_an_isolated_host_is_alone_and_can_be_entered() -> None:
    done("isolate", "app1")
    assert not reaches("app1", "lb1")
    assert not reaches("lb1", "app1")
    assert on("app1", "true").returncode == 0


def test_loss_drops_some_packets_and_not_all() -> None:
    done("loss", "app1", "30")
    report = on("lb1", "ping -c 60 -i 0.02 -W 1 app1").stdout
    received = int(re.search(r"(\d+) received", report)[1])  # type: ignore[index]
    assert 0 < received < 60, report


def test_a_powered_off_host_says_no_goodbye_and_boots_with_its_disk() -> None:
    on("lb2", "echo kept > /var/tmp/kept; sync")
    with socket.create_connection((hosts()["lb2"]["address"], 22), timeout=5) as connection:
        connection.recv(100)
        done("kill", "lb2")
        assert hosts()["lb2"]["state"] == "off"
        connection.settimeout(2)
        with pytest.raises(TimeoutError):
            connection.recv(100)
    done("start", "lb2")
    assert on("lb2", "cat /var/tmp/kept").stdout == "kept\n"


def test_a_stopped_host_shuts_down_in_order() -> None:
    done("stop", "lb2")
    assert hosts()["lb2"]["state"] == "off"
    done("start", "lb2")
    assert "Reached target" in on("lb2", "journalctl -b -1 -n 200 --no-pager | grep -i poweroff.target").stdout


def test_a_frozen_host_accepts_connections_and_says_nothing() -> None:
    done("freeze", "lb2")
    assert hosts()["lb2"]["state"] == "frozen"
    with socket.create_connection((hosts()["lb2"]["address"], 22), timeout=2) as connection:
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(4)
    done("thaw", "lb2")
    assert hosts()["lb2"]["state"] == "running"


def test_a_frozen_host_can_be_powered_off() -> None:
    done("freeze", "lb2")
    done("kill", "lb2")
    assert hosts()["lb2"]["state"] == "off"


def test_a_full_volume_takes_nothing_more_until_it_is_healed() -> None:
    write = "head -c 1000000 /dev/zero > /var/lib/postgresql/probe"
    done("disk-full", "legacy1", "postgresql")
    assert "No space left on device" in on("legacy1", write).stderr
    done("disk-heal", "legacy1")
    assert on("legacy1", f"{write} && rm /var/lib/postgresql/probe").returncode == 0


def test_a_write_to_a_hung_volume_waits_and_then_goes_on() -> None:
    done("disk-hang", "legacy1", "postgresql")
    command = ["python3", "-m", "lab", "ssh", "legacy1", "--", "echo probe > /var/lib/postgresql/probe"]
    with subprocess.Popen(command, cwd=ROOT) as write:
        with pytest.raises(subprocess.TimeoutExpired):
            write.wait(timeout=2)
        done("disk-heal", "legacy1")
        assert write.wait(timeout=widened(10)) == 0
    assert on("legacy1", "rm /var/lib/postgresql/probe").returncode == 0


def test_a_host_with_a_hung_volume_can_be_powered_off() -> None:
    done("disk-hang", "legacy1", "postgresql")
    done("kill", "legacy1")
    done("start", "legacy1")
    assert on("legacy1", "touch /var/lib/postgresql/probe && rm /var/lib/postgresql/probe").returncode == 0


def test_the_services_of_a_host_with_a_wrong_clock_see_another_time() -> None:
    def offset() -> float:
        return float(on("lb2", "systemd-run --quiet --pipe --wait date +%s").stdout) - time.time()

    done("clock", "lb2", "-3600")
    assert offset() == pytest.approx(-3600, abs=10)
    done("clock", "lb2", "0")
    assert offset() == pytest.approx(0, abs=10)


def test_a_snapshot_brings_back_disks_and_volumes_in_seconds() -> None:
    files = ("/var/tmp/before", "/var/lib/postgresql/before")
    for file in files:
        assert on("legacy1", f"echo 1 > {file}").returncode == 0
    done("snapshot", "tried")
    for file in files:
        assert on("legacy1", f"cat {file} && rm {file} && touch {file}.later").returncode == 0
    begin = time.monotonic()
    done("restore", "tried")
    assert time.monotonic() - begin < widened(20)
    for file in files:
        assert on("legacy1", f"cat {file} && rm {file} && test ! -e {file}.later").returncode == 0
    # A name that is in use is taken again, and what nothing stands on any more goes.
    done("snapshot", "tried")
    assert {host["state"] for host in hosts().values()} == {"running"}


def test_known_host_keys_are_the_hosts_own_after_a_fresh_start() -> None:
    """A host that came back with another key would be refused, here and by ansible."""
    eventually("every host lets us in", lambda: all(on(host, "true").returncode == 0 for host in hosts()), within=10)
    assert "StrictHostKeyChecking=yes" in (ROOT / "inventories/lab/hosts.yml").read_text()
    assert lab("ssh", "lb1", "--", "true").stderr == ""
