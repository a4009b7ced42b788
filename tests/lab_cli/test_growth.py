"""A lab grows into a larger topology without a reboot of what runs."""

from __future__ import annotations

from lab import topology
from tests.lab_cli.handle import done, hosts, on


def test_a_larger_topology_adds_its_hosts_to_those_that_run() -> None:
    done("up", "--topology", "small")
    booted = on("lb1", "cat /proc/sys/kernel/random/boot_id; stat --format %Y /proc/1").stdout
    done("up", "--topology", "default")
    assert set(hosts()) == set(topology.load("default").hosts)
    assert {host["state"] for host in hosts().values()} == {"running"}
    assert on("lb1", "cat /proc/sys/kernel/random/boot_id; stat --format %Y /proc/1").stdout == booted
    assert on("lb1", "ping -c 1 -W 2 db1 >/dev/null").returncode == 0, "a host that ran before knows the new names"
    assert on("db1", "ping -c 1 -W 2 lb1 >/dev/null").returncode == 0
    # What runs has every host of the smaller one, so nothing is to be done for it.
    done("up", "--topology", "small")
