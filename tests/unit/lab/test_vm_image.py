from __future__ import annotations

import stat
import struct
from collections.abc import Iterator

from lab.vm_image import archive, packed_kernel


def unpacked(data: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Each entry's name, mode and content, read as the kernel's documentation of its initrd says."""
    at = 0
    while at < len(data):
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        name_end = at + 110 + fields[11]
        begin = -(-name_end // 4) * 4
        yield data[at + 110 : name_end - 1].decode(), fields[1], data[begin : begin + fields[6]]
        at = -(-(begin + fields[6]) // 4) * 4


def test_an_archive_has_the_files_with_their_modes_and_each_folder_before_what_is_in_it() -> None:
    data = archive({"identity/etc/hosts": (b"12345", 0o644), "identity/root/.ssh/keys": (b"", 0o600)}, ("dev",))
    entries = [(name, stat.filemode(mode), content) for name, mode, content in unpacked(data)]
    assert entries == [
        ("dev", "drwxr-xr-x", b""),
        ("identity", "drwxr-xr-x", b""),
        ("identity/etc", "drwxr-xr-x", b""),
        ("identity/root", "drwx------", b""),
        ("identity/root/.ssh", "drwx------", b""),
        ("identity/etc/hosts", "-rw-r--r--", b"12345"),
        ("identity/root/.ssh/keys", "-rw-------", b""),
        ("TRAILER!!!", "?---------", b""),
    ]


def test_archives_can_follow_each_other() -> None:
    assert len(archive({"a": (b"1", 0o644)})) % 4 == 0


def boot_image(payload: bytes, sectors: int = 2) -> bytes:
    image = bytearray(b"\0" * ((sectors + 1) * 512))
    image[0x1F1] = sectors
    struct.pack_into("<II", image, 0x248, 8, len(payload) + 4)
    return bytes(image) + b"unpacker" + payload + b"size" + b"more"


def test_what_a_kernel_image_unpacks_is_found_where_its_head_says() -> None:
    packed = b"\x28\xb5\x2f\xfd and so on"
    assert packed_kernel(boot_image(packed)) == packed


def test_a_kernel_packed_otherwise_is_booted_as_it_is() -> None:
    assert packed_kernel(boot_image(b"\xfd7zXZ")) is None
