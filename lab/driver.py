"""What every host of the lab can do, whatever it is made of; machine.py and virtual_machine.py say how it boots and is reached."""

import secrets
import shutil
from abc import ABC, abstractmethod
from pathlib import Path

from lab import inventory, mirror, network
from lab.errors import LabError
from lab.paths import STATE
from lab.shell import run, say, ticks
from lab.topology import Host, Topology, Volume

_GONE_SECONDS = 15

# As /proc/net/tcp writes port 22 and the state of a socket that listens.
_SSH_PORT, _LISTENING = ":0016", "0A"


def cgroup_root() -> Path:
    """Where this machine has its cgroup2 tree."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise LabError("no cgroup2 tree is mounted; `mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified` gives one")


def ssh_listens(address: str, sockets: str, routes: str) -> bool:
    """Whether sshd listens at the host's address, by the text of the host's own /proc/net/tcp, tcp6 and fib_trie.

    Seen without a connection: sshd shuts out who connects and does not log in.
    """
    lines = (line.split() for line in sockets.splitlines())
    listening = any(local.endswith(_SSH_PORT) and state == _LISTENING for _, local, _, state, *_ in lines)
    return listening and address in routes.split()


class Driver(ABC):
    """One host; every verb may be called in any state and leaves the one it names."""

    stop_seconds = 60
    reachable_seconds = 60

    def __init__(self, host: Host, topology: Topology) -> None:
        """Bind a declared host to its place in the lab's state."""
        self.host = host
        self.topology = topology
        self.disk = STATE / "hosts" / host.name
        self.cgroup = cgroup_root() / "escala-lab" / host.name

    @abstractmethod
    def leader(self) -> int | None:
        """The number by which this machine knows the process that is the host, or None when the host is off."""

    @abstractmethod
    def boot(self, lower: list[Path]) -> None:
        """Start the host over its read-only layers (newest first) and its own upper layer; returns at once."""

    @abstractmethod
    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the host, from outside and without its network, and return what it prints."""

    @abstractmethod
    def set_clock(self, offset_seconds: int) -> None:
        """Have the host see a time that is wrong by this many seconds; 0 puts it right."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether sshd listens at the host's address."""

    @abstractmethod
    def _ask_to_stop(self) -> None:
        """Tell the host to shut down in order; returns at once."""

    @abstractmethod
    def _let_go_of_disks(self) -> None:
        """Undo what would keep the host from dying at once."""

    def state(self) -> str:
        """`off`, `booting`, `frozen` or `running` (reachable by ssh)."""
        if not self._populated():
            return "off"
        if (self.cgroup / "cgroup.freeze").read_text().strip() == "1":
            return "frozen"
        return "running" if self._answers() else "booting"

    def wait_reachable(self) -> None:
        """Return when sshd answers; raise LabError with the console's last line after its kind's time."""
        for _ in ticks(self.reachable_seconds):
            if self._answers():
                return
        lines = (self.disk / "console.log").read_text(errors="replace").strip().splitlines() or ["nothing"]
        raise LabError(
            f"{self.host.name} does not answer on {self.host.address}:22 after {self.reachable_seconds} s; its console ends with: {lines[-1]}"
        )

    def stop(self) -> None:
        """Shut down in order; a host that does not in its kind's time is powered off."""
        self.thaw()
        if self.leader():
            self._ask_to_stop()
        for _ in ticks(self.stop_seconds):
            if not self._populated():
                break
        else:
            say(f"{self.host.name} did not shut down within {self.stop_seconds} s: powered off")
        self.kill()

    def kill(self) -> None:
        """Power off without warning: the cable first, so that no connection says goodbye, then every process at once."""
        network.cut_cable(self.host)
        self._let_go_of_disks()
        if self.cgroup.exists():
            (self.cgroup / "cgroup.kill").write_text("1")
        for _ in ticks(_GONE_SECONDS):
            if not self._populated() and not network.has_link(self.host):
                break
            # A virtual machine's link is ours, and one of a machine that died half booted has no owner.
            if not self._populated():
                network.remove_link(self.host)
        else:
            raise LabError(
                f"{self.host.name} is not gone {_GONE_SECONDS} s after its power-off; `python3 -m lab down --force` removes what is left"
            )
        inventory.leave(self.host)

    def freeze(self) -> None:
        """Stop all processes of the host where they are; its kernel still accepts connections."""
        self._freezer("1")

    def thaw(self) -> None:
        """Let a frozen host's processes go on."""
        self._freezer("0")

    def keep_upper(self, layer: Path) -> None:
        """Make what the shut down host has written a layer to stand on."""
        (self.disk / "upper").rename(layer)

    def learn_names(self) -> None:
        """Give a running host the names of all hosts, where the topology has grown since it was booted."""
        text, _ = self.identity()["etc/hosts"]
        self.run("sh", "-c", '[ "$(cat /etc/hosts)" = "$1" ] || echo "$1" > /etc/hosts', "sh", text.rstrip("\n"))

    def wipe(self) -> None:
        """Forget the host's own layer and volumes; what a snapshot holds stays."""
        for part in ("upper", "work", "volumes"):
            if (self.disk / part).exists():
                shutil.rmtree(self.disk / part)

    def fill_disk(self, volume: str) -> None:
        """Leave no free byte on a declared volume."""
        folder = self._volume_path(volume)
        file = f"{folder}/.lab-disk-full"
        # Nearly all of it in one call, then what is left block by block.
        self.run(
            "sh",
            "-c",
            f"fallocate -l $(df --output=avail -B1 {folder} | tail -1) {file}; cat /dev/zero >> {file} 2>/dev/null; sync {file}",
            check=False,
        )

    def hang_disk(self, volume: str) -> None:
        """Make every write to a declared volume wait."""
        self.run("fsfreeze", "--freeze", self._volume_path(volume))

    def heal_disks(self) -> None:
        """Undo fill_disk and hang_disk on every volume; a write that waited goes on."""
        if self.leader() is None:
            return
        for volume in filter(_has_files, self.host.volumes):
            self.run("fsfreeze", "--unfreeze", volume.path, check=False)
            self.run("rm", "-f", f"{volume.path}/.lab-disk-full", check=False)

    def _volume_path(self, name: str) -> str:
        for volume in self.host.volumes:
            if volume.name == name and not _has_files(volume):
                raise LabError(
                    f"{self.host.name}'s volume {name!r} is a disk without a file system, and the fault is one of files"
                )
            if volume.name == name:
                return volume.path
        declared = ", ".join(volume.name for volume in self.host.volumes) or "none"
        raise LabError(
            f"{self.host.name} has no volume {name!r} in topology {self.topology.name}; it declares {declared}"
        )

    def _freezer(self, value: str) -> None:
        if not self.cgroup.exists():
            return
        (self.cgroup / "cgroup.freeze").write_text(value)
        for _ in ticks(5, step_seconds=0.01):
            if f"frozen {value}" in (self.cgroup / "cgroup.events").read_text():
                return
        raise LabError(f"{self.host.name} is neither frozen nor thawed after 5 s (cgroup {self.cgroup})")

    def _processes(self, group: Path) -> list[str]:
        try:
            return (group / "cgroup.procs").read_text().split()
        except FileNotFoundError:
            return []

    def _populated(self) -> bool:
        try:
            return "populated 1" in (self.cgroup / "cgroup.events").read_text()
        except FileNotFoundError:
            return False

    def _remove_remains(self) -> None:
        if self._populated() or network.has_link(self.host):
            self.kill()
        if self.cgroup.exists():
            for group in sorted(self.cgroup.rglob("*/"), reverse=True):
                group.rmdir()
            self.cgroup.rmdir()

    def _make_cgroup(self) -> None:
        root = cgroup_root()
        self.cgroup.mkdir(parents=True)
        controllers = set((root / "cgroup.controllers").read_text().split()) & {"cpu", "memory", "io", "pids"}
        if controllers:
            wanted = " ".join(f"+{controller}" for controller in sorted(controllers))
            for group in (root, self.cgroup.parent):
                (group / "cgroup.subtree_control").write_text(wanted)

    def _make_volumes(self) -> None:
        (self.disk / "volumes").mkdir(parents=True, exist_ok=True)
        for volume in self.host.volumes:
            image = self.disk / "volumes" / f"{volume.name}.img"
            if not image.exists():
                draft = image.with_suffix(".new")
                with draft.open("wb") as file:
                    file.truncate(volume.size_mib * 2**20)
                if _has_files(volume):
                    run("mkfs.ext4", "-q", "-m", "0", "-L", volume.name, "-E", "lazy_itable_init=1,nodiscard", draft)
                draft.rename(image)

    def identity(self) -> dict[str, tuple[str, int]]:
        """The files that make this host itself: {path below the root: (text, mode)}."""
        host, topology = self.host, self.topology
        machine_id = self.disk / "machine-id"
        if not machine_id.exists():
            machine_id.write_text(secrets.token_hex(16) + "\n")
        keys = STATE / "ssh"
        network_file = (
            f"[Match]\nName=host0\n\n[Link]\nMTUBytes={network.mtu()}\n\n"
            f"[Network]\nAddress={host.address}/{topology.network.prefixlen}\nGateway={topology.gateway}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        )
        names = "".join(f"{other.address} {other.name}\n" for other in topology.hosts.values())
        return {
            "etc/machine-id": (machine_id.read_text(), 0o444),
            "etc/hostname": (f"{host.name}\n", 0o644),
            "etc/hosts": (f"127.0.0.1 localhost\n{names}{topology.vip} {topology.server_name}\n", 0o644),
            "etc/resolv.conf": (Path("/etc/resolv.conf").read_text(), 0o644),
            "etc/systemd/network/10-host0.network": (network_file, 0o644),
            "etc/apt/apt.conf.d/90lab": (mirror.proxy_setting(topology.gateway), 0o644),
            "etc/ssh/ssh_host_ed25519_key": ((keys / f"host_{host.name}").read_text(), 0o600),
            "etc/ssh/ssh_host_ed25519_key.pub": ((keys / f"host_{host.name}.pub").read_text(), 0o644),
            "root/.ssh/authorized_keys": ((keys / "id_ed25519.pub").read_text(), 0o600),
        }


def _has_files(volume: Volume) -> bool:
    return volume.path != ""
