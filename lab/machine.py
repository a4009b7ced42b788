"""A host of kind `machine`: a systemd-nspawn container with a root of its own over the shared tree, booted as a real host is."""

import os
import shutil
import signal
from pathlib import Path

from lab.driver import Driver, cgroup_root, ssh_listens
from lab.errors import LabError
from lab.shell import background, run

# systemd's own signal for an orderly power-off.
_POWER_OFF = signal.SIGRTMIN + 4

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


class Machine(Driver):
    """One nspawn host."""

    def leader(self) -> int | None:
        """The machine's number for the host's process 1, or None when the host is off."""
        for process in self._processes(self.cgroup / "supervisor"):
            children = Path(f"/proc/{process}/task/{process}/children")
            for child in children.read_text().split() if children.exists() else ():
                status = Path(f"/proc/{child}/status").read_text()
                if any(line.split()[-1] == "1" for line in status.splitlines() if line.startswith("NSpid:")):
                    return int(child)
        return None

    def boot(self, lower: list[Path]) -> None:
        """Start the host over its layers, an overlay."""
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

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the host's namespaces."""
        leader = self.leader()
        if leader is None:
            raise LabError(f"{self.host.name} is off; `python3 -m lab start {self.host.name}` boots it")
        done = run("nsenter", "--target", str(leader), "--all", "--", *command, check=check)
        return done.stdout

    def keep_upper(self, layer: Path) -> None:
        """Make the upper folder a layer; an overlay's working folder belongs to one upper folder alone."""
        super().keep_upper(layer)
        shutil.rmtree(self.disk / "work")

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

    def _answers(self) -> bool:
        leader = self.leader()
        if leader is None:
            return False
        try:
            tcp, tcp6, routes = (Path(f"/proc/{leader}/net/{name}").read_text() for name in ("tcp", "tcp6", "fib_trie"))
        except FileNotFoundError:
            return False
        return ssh_listens(self.host.address, tcp + tcp6, routes)

    def _ask_to_stop(self) -> None:
        if leader := self.leader():
            os.kill(leader, _POWER_OFF)

    def _let_go_of_disks(self) -> None:
        # The volumes are mounted by this machine's kernel, where a hung write survives its writer.
        self.heal_disks()

    def _prepare_disk(self) -> None:
        for part in ("upper", "work", "root"):
            (self.disk / part).mkdir(parents=True, exist_ok=True)
        self._make_volumes()
        (self.disk / "upper/root/.ssh").mkdir(parents=True, exist_ok=True)
        (self.disk / "upper/root").chmod(0o700)
        (self.disk / "upper/root/.ssh").chmod(0o700)
        for path, (text, mode) in self.identity().items():
            file_path = self.disk / "upper" / path
            file_path.parent.mkdir(parents=True, exist_ok=True)
            if not file_path.exists() or file_path.read_text() != text:
                file_path.write_text(text)
                file_path.chmod(mode)
