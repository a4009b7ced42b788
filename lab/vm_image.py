"""What a virtual machine boots from, made of a root tree: a disk, an uncompressed kernel, and an initrd of three files."""

import struct
from pathlib import Path

from lab.shell import run

# What the tree of hosts that share the machine's kernel lacks.
_SYSTEM = "udev,kmod,linux-image-cloud-amd64,qemu-guest-agent,busybox-static"
# What an emulated host takes a quarter of an hour to unpack when the etapas ask for it: languages and libraries, and nothing that runs by itself.
_LIBRARIES = (
    "perl,libtimedate-perl,python3-cryptography,nodejs,samba-libs,snmp,xsltproc,libnss3-tools,libglib2.0-bin,gawk,bc,bzip2,psmisc,keyutils,libqb-tools,"
    "libcorosync-common4,libcpg4,libcmap4,libcfg7,libquorum5,libvotequorum8"
)
PACKAGES = f"{_SYSTEM},{_LIBRARIES}"
# Sparse: a host's disk takes of it what it writes.
DISK_MIB = 10240

# Debian's own initrd starts a second udev, which costs an emulated host seconds; all that its disk needs is one module. The files that make
# the host itself come with the initrd, as a provider's metadata come from outside.
INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do /bin/busybox insmod "$module"; done
/bin/busybox mount -t ext4 /dev/vda /system || exec /bin/busybox sh
/bin/busybox cp -a /identity/. /system/
/bin/busybox mount --move /dev /system/dev
exec /bin/busybox switch_root /system /sbin/init
"""
# What an emulated host would take seconds for and nobody uses here: an initrd at each package that asks for one, modules to unpack, kernel
# file systems and terminals to prepare, caches to make anew at the first boot.
_UNUSED_UNITS = (
    "dev-hugepages.mount sys-kernel-tracing.mount modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service "
    "systemd-pstore.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount getty@tty1.service serial-getty@ttyS0.service "
    "e2scrub_reap.service e2scrub_all.timer"
)
# Nor does anybody read manuals there, and what a disk has not been told to flush is lost with this machine only.
_DPKG = "force-unsafe-io\\npath-exclude=/usr/share/doc/*\\npath-exclude=/usr/share/man/*\\npath-exclude=/usr/share/locale/*\\n"
HOOK = (
    f"printf '{_DPKG}' > \"$1\"/etc/dpkg/dpkg.cfg.d/lab; "
    'sed -i s/^update_initramfs=.*/update_initramfs=no/ "$1"/etc/initramfs-tools/update-initramfs.conf; rm -f "$1"/boot/initrd.img-*; '
    'find "$1"/lib/modules -name "*.ko.xz" -exec xz -d {} +; chroot "$1" depmod "$(ls "$1"/lib/modules)"; '
    f'chroot "$1" systemctl mask -q {_UNUSED_UNITS}; touch "$1"/etc/.updated "$1"/var/.updated'
)
_DISK_MODULES = ("virtio_pci", "virtio_blk", "ext4")
_ZSTD = b"\x28\xb5\x2f\xfd"


def pack(tree: Path, folder: Path) -> None:
    """Make `root.img`, `vmlinuz` and `initrd` of a root tree."""
    _write_kernel(next((tree / "boot").glob("vmlinuz-*")).read_bytes(), folder)
    files = {"init": (INIT.encode(), 0o755), "bin/busybox": ((tree / "bin/busybox").read_bytes(), 0o755)}
    for number, module in enumerate(_modules(tree)):
        files[f"modules/{number}.ko"] = (module.read_bytes(), 0o644)
    (folder / "initrd").write_bytes(archive(files, ("dev", "system", "identity", "modules")))
    disk = folder / "root.img"
    with disk.open("wb") as file:
        file.truncate(DISK_MIB * 2**20)
    run("mkfs.ext4", "-q", "-m", "1", "-L", "root", "-E", "lazy_itable_init=1,nodiscard", "-d", tree, disk)


def packed_kernel(image: bytes) -> bytes | None:
    """What a bzImage unpacks itself from, where that is of a kind that we can unpack, else None."""
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    begin = (sectors + 1) * 512 + offset
    # The last four bytes are the size of what is packed.
    packed = image[begin : begin + length - 4]
    return packed if packed.startswith(_ZSTD) else None


def archive(files: dict[str, tuple[bytes, int]], folders: tuple[str, ...] = ()) -> bytes:
    """A cpio archive as the kernel unpacks it: {path: (content, mode)}, with the folders that the paths are in, and these empty ones.

    A folder of root's own home is root's alone, all else is for all to read.
    """
    entries: dict[str, tuple[bytes, int]] = {}
    for path in (*folders, *files):
        inner = [str(folder) for folder in reversed(Path(path).parents) if str(folder) != "."]
        for folder in [*inner, path] if path in folders else inner:
            private = "root" in Path(folder).parts[1:]
            entries[folder] = (b"", 0o040700 if private else 0o040755)
    entries |= {path: (content, 0o100000 | mode) for path, (content, mode) in files.items()}
    entries["TRAILER!!!"] = (b"", 0)
    return b"".join(_entry(number, path, *entry) for number, (path, entry) in enumerate(entries.items(), start=1))


def _entry(number: int, path: str, content: bytes, mode: int) -> bytes:
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _write_kernel(image: bytes, folder: Path) -> None:
    """Unpack the kernel here, where it takes no time: an emulated machine takes seconds for it."""
    packed = packed_kernel(image)
    if packed is None:
        (folder / "vmlinuz").write_bytes(image)
        return
    (folder / "vmlinuz.zst").write_bytes(packed)
    run("zstd", "-d", "-q", "--rm", folder / "vmlinuz.zst", "-o", folder / "vmlinuz")


def _modules(tree: Path) -> list[Path]:
    """The files of the disk's module and of what it needs, in the order in which they are loaded."""
    release = next((tree / "lib/modules").iterdir()).name
    listed = run("chroot", tree, "modprobe", "--set-version", release, "--all", "--show-depends", *_DISK_MODULES).stdout
    return [tree / line.split()[1].lstrip("/") for line in listed.splitlines() if line.startswith("insmod ")]
