"""What the machine must have before anything is touched, and how it gets it."""

import os
import platform
import shutil
from pathlib import Path

from lab.errors import LabError
from lab.paths import CACHE, STATE
from lab.shell import run, say

# Program -> the Debian package that brings it.
_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "unshare": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "apt-cacher-ng": "apt-cacher-ng",
    "git": "git",
    "rsync": "rsync",
    # The load that measures the balancers, and the hop that does nothing, beside which they are measured.
    "h2load": "nghttp2-client",
    "socat": "socat",
}
# Of hosts of kind vm alone.
_VM_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "zstd": "zstd",
    "xz": "xz-utils",
}
_FREE_MIB = 3072


def root() -> None:
    """Raise LabError for anybody else."""
    if os.geteuid() != 0:
        raise LabError("the lab boots hosts and makes a network, which takes root; run the same command as root")


def machine(free_mib: int = _FREE_MIB, virtual: bool = False) -> None:
    """Raise LabError, one line, for the first thing that this machine cannot give; install what Debian packages give.

    A lab with virtual machines needs more than one without.
    """
    root()
    if virtual and platform.machine() != "x86_64":
        raise LabError(
            f"hosts of kind vm are x86_64, and this machine is {platform.machine()}; take a topology without"
        )
    for folder in (STATE, CACHE):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free // 2**20
        if free < free_mib:
            raise LabError(
                f"{folder} has {free} MiB free, and a lab needs {free_mib} MiB; free some, or set ESCALA_LAB_STATE and ESCALA_LAB_CACHE to a larger disk"
            )
    if "overlay" not in Path("/proc/filesystems").read_text():
        raise LabError(
            "this kernel has no overlay file system, which the hosts' disks are made of; try a machine with a stock Debian kernel"
        )
    _install_missing(_PROGRAMS | _VM_PROGRAMS if virtual else _PROGRAMS)


def _install_missing(programs: dict[str, str]) -> None:
    missing = sorted({package for program, package in programs.items() if not shutil.which(program)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise LabError(
            f"this machine lacks {', '.join(missing)} and has no apt-get to install them; the lab runs on Debian"
        )
    say(f"installing {', '.join(missing)}")
    run("apt-get", "update", "-q")
    # RUNLEVEL=1 keeps a package from starting a service of its own here: the lab starts what it needs, where it needs it.
    run(
        "env",
        "RUNLEVEL=1",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
        *missing,
    )
    still = [program for program in programs if not shutil.which(program)]
    if still:
        raise LabError(
            f"apt-get installed {', '.join(missing)}, yet {', '.join(still)} is not to be found; see /var/log/apt/term.log"
        )
