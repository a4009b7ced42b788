"""What all hosts of one operating system and kind share read-only: plain Debian, as a provider's image is."""

import hashlib
import shutil
import time
from pathlib import Path

from lab import mirror, vm_image
from lab.paths import CACHE
from lab.shell import run, say
from lab.topology import OPERATING_SYSTEMS

# What a hoster's Debian image has and a minimal bootstrap lacks; the last two serve the lab's own faults.
_PACKAGES = (
    "systemd,systemd-sysv,dbus,python3,python3-apt,iproute2,iputils-ping,ca-certificates,sudo,procps,openssh-server,gnupg,curl,nftables,cron,rsync,"
    "logrotate,less,libfaketime,e2fsprogs"
)
_MAXIMUM_AGE_SECONDS = 7 * 86400
# What stands before the recipe in a folder's name.
_MARK = {"machine": "", "vm": "vm-"}
_OWN_AUTHORITIES = Path("/usr/local/share/ca-certificates")


def ensure(os_name: str, kind: str, gateway: str) -> Path:
    """Return what hosts of a kind and an operating system stand on, building it where the cache has none younger than a week.

    For a machine that is the root tree, for a vm a folder with its disk, kernel and initrd.
    """
    suite = OPERATING_SYSTEMS[os_name]
    sources = mirror.sources(suite)
    made_of = f"{suite} {_packages(kind)} {sources} {_hook_script(kind)}" + (vm_image.INIT if kind == "vm" else "")
    recipe = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    tree = CACHE / "images" / f"{os_name}-{_MARK[kind]}{recipe}"
    stamp = tree.with_suffix(".built")
    if stamp.exists() and time.time() - stamp.stat().st_mtime < _MAXIMUM_AGE_SECONDS:
        return tree
    fresh = tree.with_name(f"{tree.name}-{int(time.time())}") if _in_use(tree) else tree
    _build(suite, sources, fresh, gateway, os_name, kind)
    stamp.touch()
    return fresh


def system_of(tree: Path) -> str:
    """The operating system of an image, by its folder's name."""
    return tree.name.partition("-")[0]


def kind_of(tree: Path) -> str:
    """The kind of host that an image is for, by its folder's name."""
    rest = tree.name.partition("-")[2]
    return "vm" if rest.startswith(_MARK["vm"]) else "machine"


def _packages(kind: str) -> str:
    return f"{_PACKAGES},{vm_image.PACKAGES}" if kind == "vm" else _PACKAGES


def _in_use(tree: Path) -> bool:
    return any(str(tree) in line for path in Path("/proc").glob("[0-9]*/mounts") for line in _lines(path))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _build(suite: str, sources: list[str], tree: Path, gateway: str, os_name: str, kind: str) -> None:
    what = "disk of virtual machines" if kind == "vm" else "root tree"
    say(f"building the {os_name} {what} ({suite}); the cache keeps it for a week")
    if tree.exists():
        shutil.rmtree(tree)
    draft = tree.with_name(f"{tree.name}.draft")
    if draft.exists():
        shutil.rmtree(draft)
    draft.parent.mkdir(parents=True, exist_ok=True)
    proxy = mirror.proxy_setting(gateway).strip()
    run(
        "mmdebstrap",
        "--variant=minbase",
        f"--include={_packages(kind)}",
        # The package lists stay, so that a host installs without fetching them again.
        "--skip=cleanup/apt/lists",
        *([f"--aptopt={proxy}"] if proxy else []),
        f"--customize-hook={_hook_script(kind)}",
        suite,
        draft,
        *sources,
    )
    if kind == "vm":
        packed = tree.with_name(f"{tree.name}.packed")
        shutil.rmtree(packed, ignore_errors=True)
        packed.mkdir()
        vm_image.pack(draft, packed)
        shutil.rmtree(draft)
        draft = packed
    draft.rename(tree)


def _hook_script(kind: str) -> str:
    """What makes the tree fit to be many hosts: no identity of its own, and the machine's own certificate authorities."""
    return (
        'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/machine-id "$1"/var/lib/dbus/machine-id "$1"/etc/hostname; '
        f'if [ -d {_OWN_AUTHORITIES} ]; then cp {_OWN_AUTHORITIES}/*.crt "$1"{_OWN_AUTHORITIES}/ 2>/dev/null || true; fi; '
        'chroot "$1" update-ca-certificates >/dev/null; '
        'chroot "$1" systemctl enable -q systemd-networkd ssh; '
        'mkdir -p "$1"/var/lib/apt/periodic; touch "$1"/var/lib/apt/periodic/update-success-stamp'
    ) + (f"; {vm_image.HOOK}" if kind == "vm" else "")
