"""The root tree that all hosts of one operating system share read-only: plain Debian, as a provider's image is."""

import hashlib
import shutil
import time
from pathlib import Path

from lab import mirror
from lab.paths import CACHE
from lab.shell import run, say
from lab.topology import OPERATING_SYSTEMS

# What a hoster's Debian image has and a minimal bootstrap lacks; the last two serve the lab's own faults.
_PACKAGES = (
    "systemd,systemd-sysv,dbus,python3,python3-apt,iproute2,iputils-ping,ca-certificates,sudo,procps,openssh-server,gnupg,curl,nftables,cron,rsync,"
    "logrotate,less,libfaketime,e2fsprogs"
)
_MAXIMUM_AGE_SECONDS = 7 * 86400
_OWN_AUTHORITIES = Path("/usr/local/share/ca-certificates")


def ensure(os_name: str, gateway: str) -> Path:
    """Return the root tree of an operating system, building it where the cache has none younger than a week."""
    suite = OPERATING_SYSTEMS[os_name]
    sources = mirror.sources(suite)
    recipe = hashlib.sha256(f"{suite} {_PACKAGES} {sources} {_hook_script()}".encode()).hexdigest()[:12]
    tree = CACHE / "images" / f"{os_name}-{recipe}"
    stamp = tree.with_suffix(".built")
    if stamp.exists() and time.time() - stamp.stat().st_mtime < _MAXIMUM_AGE_SECONDS:
        return tree
    fresh = tree.with_name(f"{tree.name}-{int(time.time())}") if _in_use(tree) else tree
    _build(suite, sources, fresh, gateway, os_name)
    stamp.touch()
    return fresh


def system_of(tree: Path) -> str:
    """The operating system of a root tree, by its folder's name."""
    return tree.name.partition("-")[0]


def _in_use(tree: Path) -> bool:
    return any(str(tree) in line for path in Path("/proc").glob("[0-9]*/mounts") for line in _lines(path))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _build(suite: str, sources: list[str], tree: Path, gateway: str, os_name: str) -> None:
    say(f"building the {os_name} root tree ({suite}); the cache keeps it for a week")
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
        f"--include={_PACKAGES}",
        # The package lists stay, so that a host installs without fetching them again.
        "--skip=cleanup/apt/lists",
        *([f"--aptopt={proxy}"] if proxy else []),
        f"--customize-hook={_hook_script()}",
        suite,
        draft,
        *sources,
    )
    draft.rename(tree)


def _hook_script() -> str:
    """What makes the tree fit to be many hosts: no identity of its own, and the machine's own certificate authorities."""
    return (
        'rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/machine-id "$1"/var/lib/dbus/machine-id "$1"/etc/hostname; '
        f'if [ -d {_OWN_AUTHORITIES} ]; then cp {_OWN_AUTHORITIES}/*.crt "$1"{_OWN_AUTHORITIES}/ 2>/dev/null || true; fi; '
        'chroot "$1" update-ca-certificates >/dev/null; '
        'chroot "$1" systemctl enable -q systemd-networkd ssh; '
        'mkdir -p "$1"/var/lib/apt/periodic; touch "$1"/var/lib/apt/periodic/update-success-stamp'
    )
