# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read on one host what _storage_pair judges. A program that is not there yet says nothing, and that is an observation too."""

from __future__ import annotations

import mmap
import os
import stat
import typing as t

from ansible_collections.escala.ha.plugins.module_utils import _storage_pair
from ansible_collections.escala.ha.plugins.module_utils._minio_restart import PROPERTIES as SERVICE_PROPERTIES
from ansible_collections.escala.ha.plugins.module_utils._minio_restart import changed_at, decide, started_at

# Runs a command and returns its exit status and output, with status 127 for a program that is not there.
Run = t.Callable[[t.Sequence[str]], t.Tuple[int, str]]

_MIB = 1 << 20
# What each of the cluster's programs reads when it starts.
_READ_AT_START = {
    "corosync": ("/etc/corosync/corosync.conf", "/etc/corosync/authkey"),
    "sbd": ("/etc/default/sbd",),
}
_CIB = "/var/lib/pacemaker/cib/cib.xml"


def observe(params: t.Mapping[str, t.Any], run: Run, now: float, monotonic_now: float) -> t.Dict[str, t.Any]:
    """All that one host says of the pair."""
    live = run(["cibadmin", "--query"])
    return {
        "name": params["name"],
        "hostname": os.uname().nodename,
        "device": device(params["device"], run),
        "replication": _storage_pair.replication(_read("/proc/drbd")),
        "quorum": _storage_pair.quorum(run(["corosync-quorumtool", "-s"])[1]),
        "cluster": _storage_pair.cluster(run(["crm_mon", "--output-as=xml", "--one-shot"])[1]),
        "fencing": run(["systemctl", "is-active", "--quiet", "sbd"])[0] == 0,
        "made": _storage_pair.is_made(live[1] if live[0] == 0 else _read(_CIB), params["resource"]),
        "holds_address": f" {params['address']}/" in run(["ip", "-oneline", "address", "show"])[1],
        "watchdog": _storage_pair.watchdog(watchdogs()),
        "restart_reason": _restart_reason(run, now, monotonic_now),
    }


def device(path: str, run: Run) -> t.Dict[str, t.Any]:
    """What the device holds, without a byte of it changed."""
    seen = {"path": path, "is_block_device": False, "content": None, "holds": "", "just_created": False}
    try:
        if not stat.S_ISBLK(os.stat(path).st_mode):
            return seen
        block, first, last = _ends(path)
    except OSError:
        return seen
    found = _storage_pair.metadata(block)
    signatures = "" if found else run(["blkid", "--probe", "--output", "export", path])[1]
    kind, holds = _storage_pair.content(found is not None, signatures, not any(first) and not any(last))
    just_created = found is not None and found["just_created"]
    return {**seen, "is_block_device": True, "content": kind, "holds": holds, "just_created": just_created}


def watchdogs(folder: str = "/sys/class/watchdog") -> t.Dict[str, str]:
    """Each watchdog's device and what it says that it is."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    return {f"/dev/{name}": _read(os.path.join(folder, name, "identity")) for name in names}


def _ends(path: str) -> t.Tuple[bytes, bytes, bytes]:
    """DRBD's block of a device, and its first and last MiB. Past the page cache, which does not see what the kernel's DRBD writes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if size < 2 * _MIB:
            raise OSError(f"{path} has {size} bytes")
        # What mmap gives is aligned as direct reads want it.
        buffer = mmap.mmap(-1, _MIB)
        os.preadv(descriptor, [buffer], 0)
        first = buffer[:]
        end = size & ~(_storage_pair.METADATA_BYTES - 1)
        os.preadv(descriptor, [buffer], end - _MIB)
        last = buffer[:]
    finally:
        os.close(descriptor)
    return last[-_storage_pair.METADATA_BYTES :], first, last


def _restart_reason(run: Run, now: float, monotonic_now: float) -> str:
    for service, files in _READ_AT_START.items():
        shown = run(["systemctl", "show", f"--property={','.join(SERVICE_PROPERTIES)}", f"{service}.service"])[1]
        restart = decide(started_at(shown, now, monotonic_now), {}, changed_at(files))
        if restart.how != "none":
            return f"{service}: {restart.reason}"
    return ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
