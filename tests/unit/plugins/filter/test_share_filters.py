from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter import (
    mount_differences,
    mounts_at,
    nfs_server_differences,
    share_fault,
)


def test_mounts_at_gives_what_mount_differences_takes():
    line = "105 100 0:47 / /a rw,nosuid shared:140 - nfs4 192.0.2.41:/b rw,softerr"
    mounts = mounts_at.FilterModule().filters()["mounts_at"](line, "/a")
    assert mounts == [{"type": "nfs4", "source": "192.0.2.41:/b", "options": ["rw", "nosuid", "softerr"]}]
    differences = mount_differences.FilterModule().filters()["mount_differences"]
    assert differences(mounts, "192.0.2.41:/b", ["softerr"]) == []
    assert differences(mounts, "192.0.2.41:/b", ["hard"]) == ["it is mounted without hard"]


def test_mounts_at_refuses_what_is_no_mountinfo():
    with pytest.raises(AnsibleFilterError, match="mounts_at: this is no line"):
        mounts_at.FilterModule().filters()["mounts_at"]("nonsense", "/a")


def test_nfs_server_differences_compares_and_refuses_what_lacks_an_answer():
    differences = nfs_server_differences.FilterModule().filters()["nfs_server_differences"]
    assert differences("threads:8", {"threads": 16}) == ["threads is 8 and should be 16"]
    with pytest.raises(AnsibleFilterError, match="nfs_server_differences: the kernel's answer lacks versions"):
        differences("threads:8", {"versions": "+4"})


def test_share_fault_takes_the_share_as_a_dictionary():
    share = {
        "kind": "nfs",
        "address": "192.0.2.41",
        "name": "/b",
        "path": "/a",
        "user": "app",
        "unit": "a",
        "account": "",
    }
    assert "full" in share_fault.FilterModule().filters()["share_fault"]("No space left on device", share, True)
