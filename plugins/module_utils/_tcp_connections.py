# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which TCP ports anybody on this host uses, also in containers, which have networks of their own, and behind its address translation.

With whom they are connected is not asked: the server may have been reached by another of its addresses, and an address that is translated shows as another.
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

# As the kernel numbers them (include/net/tcp_states.h): ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING. After these
# nobody has the connection any more.
_STATES = {"01", "02", "03", "04", "05", "08", "09", "0B"}
_TABLES = ("tcp", "tcp6")
_TRANSLATED = re.compile(r"\b[sd]port=(\d+)")


def ports_in(table: str) -> t.Set[int]:
    """The local ports of the connections in the text of a /proc/net/tcp or tcp6."""
    found = set()
    for line in table.splitlines()[1:]:
        _number, local, _remote, state, *_more = line.split()
        if state in _STATES:
            found.add(int(local.rpartition(":")[2], 16))
    return found


def ports_translated(table: str) -> t.Set[int]:
    """All ports in the text of a /proc/net/nf_conntrack, of TCP."""
    return {int(port) for line in table.splitlines() if " tcp " in line for port in _TRANSLATED.findall(line)}


def ports_used(processes: str = "/proc") -> t.List[int]:
    """The ports that any program of this host has a connection from; for root, since others see their own network alone."""
    seen: t.Set[str] = set()
    found: t.Set[int] = set()
    for process in sorted(filter(str.isdigit, os.listdir(processes)), key=int):
        # One that ends meanwhile is not asked.
        with contextlib.suppress(OSError):
            network = os.readlink(f"{processes}/{process}/ns/net")
            if network in seen:
                continue
            # A kernel without IPv6 has no second one, and one that translates nothing no third.
            for name in _TABLES:
                with contextlib.suppress(FileNotFoundError), open(f"{processes}/{process}/net/{name}") as table:
                    found |= ports_in(table.read())
            with contextlib.suppress(FileNotFoundError), open(f"{processes}/{process}/net/nf_conntrack") as table:
                found |= ports_translated(table.read())
            seen.add(network)
    return sorted(found)
