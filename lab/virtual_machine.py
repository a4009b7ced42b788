"""A host of kind `vm`: a virtual machine with a kernel of its own, by QEMU; accelerated where the processor can, emulated elsewhere."""

import hashlib
import os
import re
import time
from pathlib import Path

from lab import network, vm_image
from lab.driver import Driver, ssh_listens
from lab.errors import LabError
from lab.guest_agent import LABEL, GuestAgent, listens
from lab.shell import background, run, say
from lab.topology import Host

_CPUS = 2
# An agent may be as busy as its host.
_PATIENCE_SECONDS, _COMMAND_SECONDS = 30, 120
# Of Debian's security modules without BPF's, whose programs systemd takes seconds to load here. On a busy machine an emulated host's clocks come
# late, which the kernel would take for broken hardware, and what systemd gives a minute and a half takes minutes. Seldom one of several that boot at
# once panics within its first seconds, where the kernel patches its own code, which emulation bears badly: it boots again.
_KERNEL_OPTIONS = (
    "console=ttyS0 quiet panic=1 mitigations=off lsm=landlock,yama,apparmor no_timer_check tsc=reliable systemd.ssh_auto=no "
    "systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=300"
)
_START = 'echo $$ > "$1"; shift; exec "$@"'
# What it takes beside the host's own disk: the kernel and the initrd that belong to the modules there.
_BASE = ("root.img", "vmlinuz", "initrd")


class VirtualMachine(Driver):
    """One virtual machine. Its upper layer is a folder with a disk that holds what differs from the disk below."""

    # Four that are emulated boot at once on two cores, which may have other work.
    reachable_seconds = 600
    stop_seconds = 120

    def leader(self) -> int | None:
        """QEMU's process."""
        processes = self._processes(self.cgroup)
        return int(processes[0]) if processes else None

    def boot(self, lower: list[Path]) -> None:
        """Start QEMU on the host's disk."""
        self._remove_remains()
        self._make_volumes()
        boots_from = self.prepare_disk(lower)
        self._make_cgroup()
        (self.disk / "initrd").write_bytes((boots_from / "initrd").read_bytes() + self._identity_archive())
        network.add_tap(self.host, self.topology)
        command = command_line(self.host, self.disk, boots_from / "vmlinuz", accelerator(*_processor()))
        with background(
            ["bash", "-c", _START, "boot", str(self.cgroup / "cgroup.procs"), *command], self.disk / "console.log"
        ):
            pass

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command by the host's guest agent."""
        if self.leader() is None:
            raise LabError(f"{self.host.name} is off; `python3 -m lab start {self.host.name}` boots it")
        with self._agent() as agent:
            done = agent.execute(["/usr/bin/env", *command], _COMMAND_SECONDS)
        if check and done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
            raise LabError(f"{self.host.name}: `{' '.join(command)}` exited {done.returncode}: {lines[-1]}")
        return done.stdout

    def set_clock(self, offset_seconds: int) -> None:
        """Set the clock of the whole host, which is its own."""
        self.run("date", "--set", f"@{time.time() + offset_seconds:.3f}")

    def _agent(self) -> GuestAgent:
        return GuestAgent(self.host.name, self.disk / "agent.sock", _PATIENCE_SECONDS)

    def _answers(self) -> bool:
        if not listens(self.disk / "monitor.sock"):
            return False
        try:
            with self._agent() as agent:
                tcp, tcp6, routes = (agent.read(f"/proc/net/{name}") for name in ("tcp", "tcp6", "fib_trie"))
        except LabError:
            return False
        return ssh_listens(self.host.address, tcp + tcp6, routes)

    def _ask_to_stop(self) -> None:
        if not listens(self.disk / "monitor.sock"):
            say(f"{self.host.name} has not booted so far that it can shut down: powered off")
            self.kill()
            return
        with self._agent() as agent:
            agent.tell("guest-shutdown", mode="powerdown")

    def _let_go_of_disks(self) -> None:
        """Nothing: what waits for a hung disk waits in the host's own kernel, and dies with it."""

    def prepare_disk(self, lower: list[Path]) -> Path:
        """Make the host's disk where it has none; return the folder with the kernel that belongs to it.

        The image is linked, not stood on where it is: the cache may be emptied or made anew while the host's disk stays.
        """
        upper = self.disk / "upper"
        upper.mkdir(parents=True, exist_ok=True)
        *layers, image = lower
        boots_from = layers[-1] if layers else upper
        if not (upper / "root.qcow2").exists():
            if not layers:
                for name in _BASE:
                    _link(image / name, upper / name)
            below, kind = (layers[0] / "root.qcow2", "qcow2") if layers else ("root.img", "raw")
            draft = upper / "root.new"
            run("qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", kind, draft)
            draft.rename(upper / "root.qcow2")
        return boots_from

    def _identity_archive(self) -> bytes:
        files = (
            self.identity() | {"etc/systemd/network/10-host0.link": (link_file(self.host), 0o644)} | mounts(self.host)
        )
        return vm_image.archive({f"identity/{path}": (text.encode(), mode) for path, (text, mode) in files.items()})


def accelerator(cpu_flags: str, kvm_opens: bool) -> list[str]:
    """QEMU's options for the processor: KVM where it is the hardware's own, emulation elsewhere.

    A /dev/kvm without the processor's support is there on some rented machines, and aborts with Debian's kernels.
    """
    if kvm_opens and re.search(r"^flags\s*:.* (vmx|svm)\b", cpu_flags, re.MULTILINE):
        return ["-accel", "kvm", "-cpu", "host"]
    # Without what would only have the host load KVM's own modules.
    return ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max,svm=off"]


def _processor() -> tuple[str, bool]:
    return Path("/proc/cpuinfo").read_text(), os.access("/dev/kvm", os.R_OK | os.W_OK)


def mac_address(host: Host) -> str:
    """A hardware address of the host's own, the same at each boot."""
    digest = hashlib.sha256(host.address.encode()).hexdigest()
    return "02:65:73:" + ":".join(digest[at : at + 2] for at in (0, 2, 4))


def command_line(host: Host, disk: Path, kernel: Path, processor: list[str]) -> list[str]:
    """QEMU's, for a host whose files are in a folder."""
    drives = [("root", disk / "upper" / "root.qcow2", "qcow2")]
    drives += [(volume.name, disk / "volumes" / f"{volume.name}.img", "raw") for volume in host.volumes]
    words = [
        "qemu-system-x86_64",
        *("-name", host.name),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", "q35,sata=off,smbus=off,i8042=off", *processor, "-smp", str(_CPUS), "-m", str(host.memory_mib)),
        *("-kernel", str(kernel), "-initrd", str(disk / "initrd")),
        *("-append", _KERNEL_OPTIONS),
        *("-chardev", f"file,id=console,path={_escaped(disk / 'console.log')},append=on", "-serial", "chardev:console"),
        *("-netdev", f"tap,id=host0,ifname={host.link},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=host0,mac={mac_address(host)},romfile="),
        *("-qmp", f"unix:{_escaped(disk / 'monitor.sock')},server=on,wait=off"),
        *("-chardev", f"socket,id={LABEL},path={_escaped(disk / 'agent.sock')},server=on,wait=off"),
        *("-device", "virtio-serial-pci"),
        *("-device", f"virtserialport,chardev={LABEL},name=org.qemu.guest_agent.0"),
        *("-device", "virtio-rng-pci"),
        # Resets the host when what feeds it stops: a host that must not serve any more ends itself so.
        *("-device", "i6300esb", "-action", "watchdog=reset"),
        # What the host frees is this machine's again.
        *("-device", "virtio-balloon-pci,free-page-reporting=on"),
    ]
    for name, file, kind in drives:
        # What the host has flushed outlives QEMU, and that is all a power-off needs: this machine's own crash takes the lab with it.
        words += ["-drive", f"if=none,id=disk-{name},file={_escaped(file)},format={kind},cache=unsafe,discard=unmap"]
        words += ["-device", f"virtio-blk-pci,drive=disk-{name},serial={name}"]
    return words


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")


def link_file(host: Host) -> str:
    """What names the host's interface as a machine's is named."""
    return f"[Match]\nMACAddress={mac_address(host)}\n\n[Link]\nName=host0\n"


def mounts(host: Host) -> dict[str, tuple[str, int]]:
    """The units that mount the host's volumes: fstab is the operator's."""
    files = {}
    for volume in host.volumes:
        if not volume.path:
            continue
        unit = f"{unit_name(volume.path)}.mount"
        disk = f"/dev/disk/by-id/virtio-{volume.name}"
        mount = f"[Mount]\nWhat={disk}\nWhere={volume.path}\nType=ext4\nOptions=discard\n"
        files[f"etc/systemd/system/{unit}"] = (f"[Unit]\nDescription=Volume {volume.name}\n\n{mount}", 0o644)
        files[f"etc/systemd/system/local-fs.target.d/{unit}.conf"] = (f"[Unit]\nRequires={unit}\nAfter={unit}\n", 0o644)
    return files


def unit_name(path: str) -> str:
    """A path as systemd writes it in a unit's name."""
    escaped = re.sub(rb"[^A-Za-z0-9_./]", lambda found: b"\\x%02x" % found[0][0], path.strip("/").encode())
    return escaped.decode().replace("/", "-")


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        # Another file system.
        run("cp", "--sparse=always", "--reflink=auto", source, target)
