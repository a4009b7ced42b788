from __future__ import annotations

from pathlib import Path

import pytest

from lab import driver, topology, virtual_machine
from lab.topology import Host, Volume
from lab.virtual_machine import VirtualMachine, accelerator, command_line, link_file, mac_address, mounts, unit_name

DATA, BARE = Volume("data", "/var/lib/my-data", 64), Volume("bare", "", 64)
HOST = Host("nas1", "10.9.0.2", (), kind="vm", volumes=(DATA, BARE), memory_mib=512)


@pytest.mark.parametrize("flags", ["flags\t\t: fpu vmx sse\n", "flags\t\t: fpu svm\n"])
def test_a_processor_that_can_accelerates_where_the_device_opens(flags: str) -> None:
    assert accelerator(flags, kvm_opens=True)[:2] == ["-accel", "kvm"]
    assert accelerator(flags, kvm_opens=False)[1].startswith("tcg")


def test_a_device_without_the_processors_support_is_not_used() -> None:
    # As a name of another feature, and in another line.
    assert accelerator("flags\t\t: fpu svm_lock\nvmx flags\t: \nbugs\t\t: svm\n", kvm_opens=True)[1].startswith("tcg")


def test_every_disk_can_be_told_by_its_name() -> None:
    words = command_line(HOST, Path("/state/nas1"), Path("/k"), [])
    drives = [word for word in words if word.startswith("if=none")]
    assert [drive.split(",")[1:4] for drive in drives] == [
        ["id=disk-root", "file=/state/nas1/upper/root.qcow2", "format=qcow2"],
        ["id=disk-data", "file=/state/nas1/volumes/data.img", "format=raw"],
        ["id=disk-bare", "file=/state/nas1/volumes/bare.img", "format=raw"],
    ]
    devices = [word for word in words if word.startswith("virtio-blk")]
    assert devices == [f"virtio-blk-pci,drive=disk-{name},serial={name}" for name in ("root", "data", "bare")]


def test_the_cable_is_named_as_a_machines_is_and_the_memory_is_the_hosts() -> None:
    words = command_line(HOST, Path("/d"), Path("/k"), ["-accel", "kvm"])
    assert "tap,id=host0,ifname=vb-nas1,script=no,downscript=no" in words
    assert words[words.index("-m") + 1] == "512"
    assert words[words.index("-accel") + 1] == "kvm"


def test_a_host_has_a_watchdog_that_resets_it() -> None:
    words = command_line(HOST, Path("/d"), Path("/k"), [])
    assert words[words.index("i6300esb") - 1] == "-device"
    assert words[words.index("-action") + 1] == "watchdog=reset"


def test_a_comma_in_a_path_is_not_the_end_of_it() -> None:
    words = command_line(HOST, Path("/a,b"), Path("/k"), [])
    assert any("file=/a,,b/upper/root.qcow2" in word for word in words)


def test_the_interface_is_found_by_an_address_of_its_own() -> None:
    other = Host("nas2", "10.9.0.3", ())
    assert mac_address(HOST) == mac_address(HOST) != mac_address(other)
    # One host's alone, and given by nobody.
    assert int(mac_address(HOST)[:2], 16) & 3 == 2
    assert mac_address(HOST) in link_file(HOST)


def test_a_volume_is_mounted_before_what_needs_it_and_a_bare_disk_is_not() -> None:
    files = mounts(HOST)
    unit = "var-lib-my\\x2ddata.mount"
    assert set(files) == {f"etc/systemd/system/{unit}", f"etc/systemd/system/local-fs.target.d/{unit}.conf"}
    assert "What=/dev/disk/by-id/virtio-data\nWhere=/var/lib/my-data\n" in files[f"etc/systemd/system/{unit}"][0]


@pytest.mark.parametrize(
    ("path", "name"), [("/srv", "srv"), ("/srv/a_b.c/", "srv-a_b.c"), ("/a-b/ü", "a\\x2db-\\xc3\\xbc")]
)
def test_a_path_becomes_a_units_name_as_systemd_writes_it(path: str, name: str) -> None:
    assert unit_name(path) == name


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VirtualMachine:
    """A host whose disks are made of text: what one stands on is its content."""

    def create(*words: str | Path) -> None:
        Path(words[-1]).write_text(f"over {words[words.index('-b') + 1]}")

    monkeypatch.setattr(driver, "STATE", tmp_path)
    monkeypatch.setattr(driver, "cgroup_root", lambda: tmp_path / "cgroup")
    monkeypatch.setattr(virtual_machine, "run", create)
    return VirtualMachine(HOST, topology.load("nfs_storage"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    folder = tmp_path / "cache" / "debian13-vm-aa"
    folder.mkdir(parents=True)
    for name in ("root.img", "vmlinuz", "initrd"):
        (folder / name).write_text(f"first {name}")
    return folder


def test_a_new_disk_keeps_its_image_when_the_cache_gets_another(host: VirtualMachine, image: Path) -> None:
    boots_from = host.prepare_disk([image])
    assert (host.disk / "upper/root.qcow2").read_text() == "over root.img"
    for file in image.iterdir():
        file.unlink()
    assert {name: (boots_from / name).read_text() for name in ("root.img", "vmlinuz", "initrd")} == {
        name: f"first {name}" for name in ("root.img", "vmlinuz", "initrd")
    }


def test_a_disk_that_is_there_stays(host: VirtualMachine, image: Path) -> None:
    host.prepare_disk([image])
    (host.disk / "upper/root.qcow2").write_text("written")
    host.prepare_disk([image])
    assert (host.disk / "upper/root.qcow2").read_text() == "written"


def test_after_a_snapshot_the_disk_stands_on_what_was_kept_and_boots_its_kernel(
    host: VirtualMachine, image: Path, tmp_path: Path
) -> None:
    host.prepare_disk([image])
    first, second = tmp_path / "layers/1/nas1", tmp_path / "layers/2/nas1"
    for layer in (first, second):
        layer.parent.mkdir(parents=True)
    host.keep_upper(first)
    assert host.prepare_disk([first, image]) == first
    assert (host.disk / "upper/root.qcow2").read_text() == f"over {first}/root.qcow2"
    host.keep_upper(second)
    assert host.prepare_disk([second, first, image]) == first
    assert (host.disk / "upper/root.qcow2").read_text() == f"over {second}/root.qcow2"
    assert (first / "root.qcow2").read_text() == "over root.img"
