"""The lab itself: what it cannot do it says in one line, and what a crash left it repairs."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import check, network, state, topology
from lab.errors import LabError
from tests.lab.eventually import eventually
from tests.lab_cli.handle import ROOT, hosts, lab


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that the command ended with."""
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture
def link() -> Iterator[str]:
    subprocess.run(["ip", "link", "add", "taken0", "type", "bridge"], check=True)
    yield "taken0"
    subprocess.run(["ip", "link", "delete", "taken0"], check=True)


def elsewhere(bridge: str) -> topology.Topology:
    return topology.Topology("elsewhere", bridge, ipaddress.IPv4Network("10.79.0.0/24"), "10.79.0.100", "a.test")


def test_who_is_not_root_is_told_so() -> None:
    with tempfile.TemporaryDirectory() as name:
        # A copy that anybody may read, since the checkout may be somebody's own.
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(ROOT / "lab", folder / "lab", ignore=shutil.ignore_patterns("__pycache__"))
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        done = subprocess.run(
            [*nobody, "/usr/bin/python3", "-m", "lab", "up"], cwd=folder, capture_output=True, text=True, timeout=60
        )
    assert "takes root; run the same command as root" in refused(done)


def test_a_machine_without_nspawn_and_apt_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LabError, match=r"lacks .*systemd-container.* and has no apt-get"):
        check.machine()


def test_a_full_disk_is_named_with_the_space_it_lacks(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", tmp_path], check=True)
    try:
        line = refused(lab("check", ESCALA_LAB_STATE=str(tmp_path)))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert f"{tmp_path} has 20 MiB free, and a lab needs 3072 MiB" in line


def test_a_bridge_of_somebody_else_is_left_alone(link: str) -> None:
    with pytest.raises(LabError, match="the link taken0 exists and is not the lab.s"):
        network.ensure(elsewhere(link))


def test_an_address_of_somebody_else_is_left_alone(link: str) -> None:
    subprocess.run(["ip", "address", "add", "10.79.0.9/24", "dev", link], check=True)
    with pytest.raises(LabError, match=r"network 10.79.0.0/24 is in use: taken0 has 10.79.0.9"):
        network.ensure(elsewhere("free0"))
    assert not Path("/sys/class/net/free0").exists()


def test_the_second_of_two_commands_is_told_of_the_first() -> None:
    with state.lock("up", 30):
        assert "another lab command is at work (up, process" in refused(lab("up", "--topology", "small"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("kill", "nobody"), "host 'nobody' is not in topology"),
        (("cut", "lb1", "lb1"), "a cut is between two hosts"),
        (("loss", "lb1", "101"), "loss is 101 percent"),
        (("restore", "nothing"), "there is no snapshot 'nothing'"),
        (("snapshot", "fresh"), "a snapshot cannot be called 'fresh'"),
        (("disk-full", "lb1", "postgresql"), "lb1 has no volume 'postgresql'"),
        (("up", "--topology", "huge"), "topology 'huge' does not exist"),
    ],
)
def test_a_verb_that_cannot_be_done_says_why(words: tuple[str, ...], complaint: str) -> None:
    assert complaint in refused(lab(*words))


def states() -> dict[str, str]:
    return {name: host["state"] for name, host in hosts().items()}


def test_a_crash_in_the_middle_of_up_is_repaired_by_the_next() -> None:
    for host in ("lb1", "lb2"):
        assert lab("kill", host).returncode == 0
    command = subprocess.Popen(
        [sys.executable, "-m", "lab", "up", "--topology", "small"], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    # Somewhere between its first act and its last; where exactly does not matter to what must hold.
    eventually("the first host is booting", lambda: states().get("lb1") != "off", within=30, every=0.02)
    command.send_signal(signal.SIGKILL)
    command.wait()
    done = lab("up", "--topology", "small")
    assert done.returncode == 0, done.stderr
    assert set(states().values()) == {"running"}


def test_a_dead_hosts_remains_do_not_keep_it_from_booting() -> None:
    """The supervising process dies alone: the host behind it goes, the link and the control group may stay."""
    before = hosts()["lb2"]
    os.kill(int(Path(f"/proc/{before['pid']}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
    assert lab("up", "--topology", "small").returncode == 0
    assert states()["lb2"] == "running"
