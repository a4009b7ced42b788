from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._mounts import Mount, differences, mounts_at

AUTOMOUNT = "100 29 0:46 / /srv/uploads rw,relatime shared:138 - autofs systemd-1 rw,fd=107,pgrp=1,timeout=0,direct"
SHARE = "105 100 0:47 / /srv/uploads rw,nosuid shared:140 - nfs4 192.0.2.41:/srv/shared/uploads rw,vers=4.2,softerr,timeo=50"
ROOT = "29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw"
SEEN = Mount("nfs4", "192.0.2.41:/srv/shared/uploads", ("rw", "nosuid", "vers=4.2", "softerr", "timeo=50"))


def test_nothing_is_mounted_at_a_path_that_is_not_listed():
    assert mounts_at(ROOT, "/srv/uploads") == []


def test_a_path_below_a_mount_is_none():
    assert mounts_at(f"{ROOT}\n{SHARE}\n", "/srv/uploads/a") == []


def test_the_mount_that_is_seen_comes_last():
    assert mounts_at(f"{ROOT}\n{AUTOMOUNT}\n{SHARE}\n", "/srv/uploads")[-1] == SEEN


def test_an_automount_that_waits_is_a_mount_of_its_own_type():
    assert [mount.type for mount in mounts_at(f"{ROOT}\n{AUTOMOUNT}\n", "/srv/uploads")] == ["autofs"]


def test_a_mount_without_optional_fields_is_read_as_well():
    assert mounts_at("29 1 254:0 / /a rw - ext4 /dev/vda rw", "/a") == [Mount("ext4", "/dev/vda", ("rw",))]


def test_spaces_are_written_in_octal():
    line = r"29 1 0:5 / /a\040b rw - cifs //192.0.2.41/x\040y rw"
    assert mounts_at(line, "/a b") == [Mount("cifs", "//192.0.2.41/x y", ("rw",))]


@pytest.mark.parametrize(
    "line", ["", "29 1 0:5 / /a rw shared:1", "29 1 - ext4 /dev/vda rw", "29 1 0:5 / /a rw - ext4 rw"]
)
def test_what_is_no_line_of_mountinfo_is_said(line: str):
    with pytest.raises(ValueError, match="no line of mountinfo"):
        mounts_at(f"{ROOT}\n{line}\n{ROOT}", "/a")


def test_nothing_mounted_differs_in_nothing():
    assert differences([], "a:/b", ["softerr"]) == []


def test_an_automount_that_waits_differs_in_nothing():
    assert differences([Mount("autofs", "systemd-1", ("rw",))], "a:/b", ["softerr"]) == []


def test_what_is_as_wanted_differs_in_nothing():
    assert (
        differences([Mount("autofs", "systemd-1", ()), SEEN], "192.0.2.41:/srv/shared/uploads", ["softerr", "timeo=50"])
        == []
    )


def test_another_source_and_each_lacking_option_is_named():
    assert differences([SEEN], "192.0.2.42:/srv/shared/uploads", ["softerr", "timeo=100", "xprtsec=mtls"]) == [
        "192.0.2.41:/srv/shared/uploads is mounted there and not 192.0.2.42:/srv/shared/uploads",
        "it is mounted without timeo=100",
        "it is mounted without xprtsec=mtls",
    ]


def test_two_file_systems_one_over_the_other_are_a_difference():
    assert differences([SEEN, SEEN], SEEN.source, ["softerr"]) == [
        "2 file systems are mounted there, one over the other"
    ]
