from __future__ import annotations

import os
import stat
import struct

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _storage_pair_observed as observed

PARAMS = {"name": "nas1", "device": "/dev/none", "resource": "uploads", "address": "192.0.2.50"}
CIB = (
    '<cib><configuration><resources><primitive id="r"><instance_attributes id="i"><nvpair id="n" name="drbd_resource" value="uploads"/>'
    "</instance_attributes></primitive></resources></configuration></cib>"
)


def says(**answers):
    """Programs that are there by their first word, and what they write."""

    def run(command):
        return (0, answers[command[0]]) if command[0] in answers else (127, "")

    return run


@pytest.fixture(autouse=True)
def _bare_host(monkeypatch):
    monkeypatch.setattr(observed, "_read", lambda path: "")


def test_a_host_without_any_of_it_is_an_observation():
    seen = observed.observe(PARAMS, says(), now=100.0, monotonic_now=10.0)
    assert seen["hostname"] == os.uname().nodename
    assert seen["device"]["is_block_device"] is False
    assert (seen["made"], seen["fencing"], seen["holds_address"], seen["restart_reason"]) == (False, False, False, "")
    assert seen["replication"]["connection"] is None


def test_a_cluster_that_is_off_is_known_by_its_file(monkeypatch):
    monkeypatch.setattr(observed, "_read", lambda path: CIB if path.endswith("cib.xml") else "")
    assert observed.observe(PARAMS, says(), 100.0, 10.0)["made"] is True
    # What runs is asked first.
    assert observed.observe(PARAMS, says(cibadmin="<cib/>"), 100.0, 10.0)["made"] is False


@pytest.mark.parametrize(("address", "holds"), [("192.0.2.50", True), ("192.0.2.5", False), ("192.0.2.501", False)])
def test_whether_the_host_has_the_address(address, holds):
    run = says(ip=f"2: eth0    inet {address}/24 brd 192.0.2.255 scope global eth0\n")
    assert observed.observe(PARAMS, run, 100.0, 10.0)["holds_address"] is holds


def test_a_program_that_is_older_than_its_file_is_due(monkeypatch):
    monkeypatch.setattr(observed, "changed_at", lambda files: {"/etc/default/sbd": 95.0} if "sbd" in files[0] else {})
    run = says(systemctl="ActiveState=active\nExecMainStartTimestampMonotonic=1000000\n")
    reason = observed.observe(PARAMS, run, now=100.0, monotonic_now=10.0)["restart_reason"]
    assert reason == "sbd: it has run since before /etc/default/sbd changed"


def block_device(tmp_path, monkeypatch, content):
    """A file that passes for a device: what says that it is none is not asked."""
    path = tmp_path / "disk"
    path.write_bytes(content)
    monkeypatch.setattr(stat, "S_ISBLK", lambda mode: True)
    monkeypatch.setattr(os, "O_DIRECT", 0)
    return str(path)


SIZE = 4 * 2**20
METADATA = struct.pack(">Q4QQQII", 8388608, 4, 0, 0, 0, 7, 0, 0, 0x8374026B)


def test_a_blank_device_is_empty(tmp_path, monkeypatch):
    seen = observed.device(block_device(tmp_path, monkeypatch, bytes(SIZE)), says())
    assert (seen["content"], seen["just_created"]) == ("empty", False)


@pytest.mark.parametrize("at", [0, 2**20 - 1, SIZE - 2**20, SIZE - 1])
def test_a_byte_at_either_end_is_data(tmp_path, monkeypatch, at):
    content = bytearray(SIZE)
    content[at] = 1
    assert observed.device(block_device(tmp_path, monkeypatch, content), says())["content"] == "foreign"


def test_a_signature_is_data_wherever_it_is(tmp_path, monkeypatch):
    path = block_device(tmp_path, monkeypatch, bytes(SIZE))
    assert observed.device(path, says(blkid="TYPE=LVM2_member\n"))["holds"] == "a LVM2_member"


# A device whose size is no multiple of 4096 has DRBD's block before the rest.
@pytest.mark.parametrize("rest", [0, 512, 3584])
def test_drbds_block_is_at_the_end(tmp_path, monkeypatch, rest):
    content = bytes(SIZE - 4096) + METADATA.ljust(4096, b"\0") + bytes(rest)
    seen = observed.device(block_device(tmp_path, monkeypatch, content), says(blkid="TYPE=ext4\n"))
    assert (seen["content"], seen["just_created"], seen["holds"]) == ("drbd", True, "")


def test_a_device_too_small_for_anything_is_none(tmp_path, monkeypatch):
    assert observed.device(block_device(tmp_path, monkeypatch, bytes(4096)), says())["is_block_device"] is False


def test_watchdogs_are_named_by_their_device(tmp_path, monkeypatch):
    (tmp_path / "watchdog0").mkdir()
    monkeypatch.setattr(observed, "_read", lambda path: "i6300ESB timer\n" if path.endswith("/identity") else "")
    assert observed.watchdogs(str(tmp_path)) == {"/dev/watchdog0": "i6300ESB timer\n"}
    assert observed.watchdogs(str(tmp_path / "none")) == {}
