# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a share cannot be used, in words that say what to do, out of what mount and dd wrote."""

from __future__ import annotations

import re
import typing as t


class Share(t.NamedTuple):
    """A share as its client knows it; `account` is the server's account for SMB, and empty for NFS."""

    kind: str
    address: str
    name: str
    path: str
    user: str
    unit: str
    account: str

    @property
    def server(self) -> str:
        return "the NFS server" if self.kind == "nfs" else "the SMB server"


_WRITING: t.Tuple[t.Tuple[str, str], ...] = (
    (
        r"No space left on device|Disk quota exceeded",
        "{path} is full: {server} at {address} takes no more. Remove files there or make its file system larger",
    ),
    (
        r"Stale file handle",
        (
            "{path} shows an export that {address} no longer has, as after its file system was made anew."
            " Run `systemctl restart {unit}.mount` on this host, and see that the files are there"
        ),
    ),
    (
        r"Read-only file system",
        "{path} takes no writes: {address} has {name} read-only. See why there, a fault of its disk as a rule",
    ),
    (
        r"Permission denied|Operation not permitted",
        (
            "{user} may not write at {path}. On {address} the directory behind {name} belongs to somebody else than the account that the server acts as,"
            " or its mode is not 0770: run the etapa again for that server, which mends both"
        ),
    ),
    (
        r"File exists|Not a directory|No such file or directory|No such device",
        "{path} is not what was mounted a moment ago. Run `systemctl status {unit}.mount {unit}.automount` on this host",
    ),
)
_MOUNTING: t.Tuple[t.Tuple[str, str], ...] = (
    (
        r"Failed to resolve server|could not resolve address|Name or service not known",
        "nothing says which host {address} is. Correct the address or this host's name service",
    ),
    (
        r"access denied by server|Operation not permitted",
        (
            "the NFS server at {address} does not let this host mount {name}. Have the address that it comes from among the server's nfs_server_clients,"
            " and nfs_server_tls equal to shared_mount_tls"
        ),
    ),
    (
        r"error\(13\)|STATUS_LOGON_FAILURE|Permission denied",
        (
            "the SMB server at {address} refuses {account}'s password, which is shared_mount_smb_password here, or this host, whose address must be among"
            " the server's smb_server_clients"
        ),
    ),
    (
        r"error\(2\)|No such file or directory",
        "{server} at {address} has no {name}. Correct the name, or see there whether the file system for it is mounted",
    ),
    (
        r"error\(111\)|Connection refused",
        "nothing at {address} answers as {server}. See there whether it runs",
    ),
    (
        r"error\((?:110|112|113|115|101)\)|timed out|Timeout|No route to host|Network is unreachable|Host is down|mount system call failed",
        "{server} at {address} gives no answer. See that the host runs, and that a firewall lets this host reach its port {port}",
    ),
    (
        r"Protocol not supported|error\(95\)|Operation not supported",
        "{server} at {address} speaks no version that is asked for: NFS 4.2 or SMB 3.1.1",
    ),
)


def share_fault(said: str, share: Share, *, writing: bool) -> str:
    """One sentence or two for what was said; where nobody knows it, what was said itself."""
    words = {**share._asdict(), "server": share.server, "port": "2049" if share.kind == "nfs" else "445"}
    lines = said.strip().splitlines()
    # The journal has what earlier tries failed with as well.
    for line in reversed(lines):
        for pattern, advice in _WRITING if writing else _MOUNTING:
            if re.search(pattern, line):
                return advice.format(**words)
    last = lines[-1:] or ["nothing, so it was ended when its time was over"]
    what = (
        f"{share.user} cannot write at {share.path}"
        if writing
        else f"{share.path} cannot be mounted from {share.address}"
    )
    return f"{what}. It said: {last[0]}"
