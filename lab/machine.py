"""A host of kind `machine`: a systemd-nspawn container with a root of its own over the shared tree, booted as a real host is."""

import os
import secrets
import shutil
import signal
from pathlib import Path

from lab import inventory, mirror, network
from lab.errors import LabError
from lab.paths import STATE
from lab.shell import background, run, say, ticks
from lab.topology import Host, Topology

_STOP_SECONDS = 60
_GONE_SECONDS = 15
_REACHABLE_SECONDS = 60
# systemd's own signal for an orderly power-off.
_POWER_OFF = signal.SIGRTMIN + 4

# As /proc/net/tcp writes port 22 and the state of a socket that listens.
_SSH_PORT, _LISTENING = ":0016", "0A"

# Everything is mounted in a mount namespace of the host's own: when the host dies, its mounts are gone with it.
_BOOT = r"""
set -eu
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
  umount -R /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
echo $$ > "/sys/fs/cgroup/$GROUP/cgroup.procs"
# A folder from a layer below can be given another name, as on any disk.
mount -t overlay overlay -o "redirect_dir=on,lowerdir=$LOWER,upperdir=$DISK/upper,workdir=$DISK/work" "$DISK/root"
for volume in $VOLUMES; do
  mkdir -p "$DISK/volumes/${volume%%:*}"
  mount -o loop,discard "$DISK/volumes/${volume%%:*}.img" "$DISK/volumes/${volume%%:*}"
  set -- "$@" "--bind=$DISK/volumes/${volume%%:*}:${volume#*:}"
done
exec systemd-nspawn --register=no --keep-unit --quiet --directory="$DISK/root" --machine="$NAME" \
  --network-bridge="$BRIDGE" --resolv-conf=off --timezone=off --link-journal=no "$@" --boot
"""


def cgroup_root() -> Path:
    """Where this machine has its cgroup2 tree."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise LabError("no cgroup2 tree is mounted; `mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified` gives one")


class Machine:
    """One nspawn host; every verb may be called in any state and leaves the one it names."""

    def __init__(self, host: Host, topology: Topology) -> None:
        """Bind a declared host to its place in the lab's state."""
        self.host = host
        self.topology = topology
        self.disk = STATE / "hosts" / host.name
        self.cgroup = cgroup_root() / "escala-lab" / host.name

    def leader(self) -> int | None:
        """The machine's number for the host's process 1, or None when the host is off."""
        for process in self._processes(self.cgroup / "supervisor"):
            children = Path(f"/proc/{process}/task/{process}/children")
            for child in children.read_text().split() if children.exists() else ():
                status = Path(f"/proc/{child}/status").read_text()
                if any(line.split()[-1] == "1" for line in status.splitlines() if line.startswith("NSpid:")):
                    return int(child)
        return None

    def state(self) -> str:
        """`off`, `booting`, `frozen` or `running` (reachable by ssh)."""
        if not self._populated():
            return "off"
        if (self.cgroup / "cgroup.freeze").read_text().strip() == "1":
            return "frozen"
        return "running" if self._answers() else "booting"

    def boot(self, lower: list[Path]) -> None:
        """Start the host over its read-only layers (newest first) and its own upper layer; returns at once."""
        self._remove_remains()
        self._prepare_disk()
        self._make_cgroup()
        environment = {
            "NAME": self.host.name,
            "DISK": str(self.disk),
            "LOWER": ":".join(map(str, lower)),
            "GROUP": str(self.cgroup.relative_to(cgroup_root())),
            "BRIDGE": self.topology.bridge,
            "VOLUMES": " ".join(f"{volume.name}:{volume.path}" for volume in self.host.volumes),
        }
        command = [
            "env",
            *(f"{key}={value}" for key, value in environment.items()),
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "bash",
            "-c",
            _BOOT,
            "boot",
        ]
        with background(command, self.disk / "console.log"):
            pass

    def wait_reachable(self) -> None:
        """Return when sshd answers; raise LabError with the console's last line after a minute."""
        for _ in ticks(_REACHABLE_SECONDS):
            if self._answers():
                return
        lines = (self.disk / "console.log").read_text(errors="replace").strip().splitlines() or ["nothing"]
        raise LabError(
            f"{self.host.name} does not answer on {self.host.address}:22 after {_REACHABLE_SECONDS} s; its console ends with: {lines[-1]}"
        )

    def stop(self) -> None:
        """Shut down in order; a host that does not within a minute is powered off."""
        self.thaw()
        if leader := self.leader():
            os.kill(leader, _POWER_OFF)
        for _ in ticks(_STOP_SECONDS):
            if not self._populated():
                break
        else:
            say(f"{self.host.name} did not shut down within {_STOP_SECONDS} s: powered off")
        self.kill()

    def kill(self) -> None:
        """Power off without warning: the cable first, so that no connection says goodbye, then every process at once."""
        network.cut_cable(self.host)
        self.heal_disks()
        if self.cgroup.exists():
            (self.cgroup / "cgroup.kill").write_text("1")
        for _ in ticks(_GONE_SECONDS):
            if not self._populated() and not network.has_link(self.host):
                break
            # A host that died half booted leaves its link without an owner.
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

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the host, from outside and without its network, and return what it prints."""
        leader = self.leader()
        if leader is None:
            raise LabError(f"{self.host.name} is off; `python3 -m lab start {self.host.name}` boots it")
        done = run("nsenter", "--target", str(leader), "--all", "--", *command, check=check)
        return done.stdout

    def learn_names(self) -> None:
        """Give a running host the names of all hosts, where the topology has grown since it was booted."""
        text, _ = self._identity()["etc/hosts"]
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
        for volume in self.host.volumes:
            self.run("fsfreeze", "--unfreeze", volume.path, check=False)
            self.run("rm", "-f", f"{volume.path}/.lab-disk-full", check=False)

    def set_clock(self, offset_seconds: int) -> None:
        """Start every service of the host again with a clock that is wrong by this many seconds; 0 puts it right."""
        drop_in = "/etc/systemd/system/service.d/lab-clock.conf"
        if offset_seconds == 0:
            self.run("rm", "-f", drop_in)
        else:
            text = f"[Service]\\nEnvironment=LD_PRELOAD={self._faketime()} FAKETIME={offset_seconds:+d}s FAKETIME_DONT_FAKE_MONOTONIC=1\\n"
            self.run("sh", "-c", f"mkdir -p $(dirname {drop_in}) && printf '{text}' > {drop_in}")
        self.run("systemctl", "daemon-reload")
        listed = self.run(
            "systemctl", "list-units", "--type=service", "--state=running", "--plain", "--no-legend"
        ).splitlines()
        own = ("systemd-", "dbus", "console-getty", "user@", "container-getty")
        services = [line.split()[0] for line in listed if not line.startswith(own)]
        self.run("systemctl", "restart", *services)

    def _faketime(self) -> str:
        return self.run("sh", "-c", "ls /usr/lib/*/faketime/libfaketime.so.1").strip()

    def _volume_path(self, name: str) -> str:
        for volume in self.host.volumes:
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

    def _answers(self) -> bool:
        """Whether sshd listens at the host's address, seen without a connection: sshd shuts out who connects and does not log in."""
        leader = self.leader()
        if leader is None:
            return False
        try:
            sockets = [
                line.split()
                for kind in ("tcp", "tcp6")
                for line in Path(f"/proc/{leader}/net/{kind}").read_text().splitlines()[1:]
            ]
            addresses = Path(f"/proc/{leader}/net/fib_trie").read_text().split()
        except FileNotFoundError:
            return False
        listening = any(local.endswith(_SSH_PORT) and state == _LISTENING for _, local, _, state, *_ in sockets)
        return listening and self.host.address in addresses

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

    def _prepare_disk(self) -> None:
        for part in ("upper", "work", "root", "volumes"):
            (self.disk / part).mkdir(parents=True, exist_ok=True)
        for volume in self.host.volumes:
            image = self.disk / "volumes" / f"{volume.name}.img"
            if not image.exists():
                draft = image.with_suffix(".new")
                with draft.open("wb") as file:
                    file.truncate(volume.size_mib * 2**20)
                run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", draft)
                draft.rename(image)
        (self.disk / "upper/root/.ssh").mkdir(parents=True, exist_ok=True)
        (self.disk / "upper/root").chmod(0o700)
        (self.disk / "upper/root/.ssh").chmod(0o700)
        for path, (text, mode) in self._identity().items():
            file_path = self.disk / "upper" / path
            file_path.parent.mkdir(parents=True, exist_ok=True)
            if not file_path.exists() or file_path.read_text() != text:
                file_path.write_text(text)
                file_path.chmod(mode)

    def _identity(self) -> dict[str, tuple[str, int]]:
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
