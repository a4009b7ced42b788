# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From which ports programs of this host are connected to a server, also those in containers, which have networks of their own."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import struct
import typing as t

# As the kernel numbers them (include/net/tcp_states.h): ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING. After these
# nobody has the connection any more.
_STATES = {"01", "02", "03", "04", "05", "08", "09", "0B"}
_TABLES = ("tcp", "tcp6")


def ports_in(table: str, address: str, port: int) -> t.Set[int]:
    """The local ports of the connections to a server, in the text of a /proc/net/tcp or tcp6."""
    wanted = (ipaddress.ip_address(address), port)
    found = set()
    for line in table.splitlines()[1:]:
        _number, local, remote, state, *_more = line.split()
        if state in _STATES and _place(remote) == wanted:
            found.add(int(local.rpartition(":")[2], 16))
    return found


def _place(written: str) -> t.Tuple[t.Any, int]:
    """The address and port that the kernel writes as hexadecimal words, each in the host's own order."""
    words, _colon, port = written.rpartition(":")
    packed = b"".join(struct.pack("=I", int(words[start : start + 8], 16)) for start in range(0, len(words), 8))
    found = ipaddress.ip_address(packed)
    return getattr(found, "ipv4_mapped", None) or found, int(port, 16)


def ports_to(address: str, port: int, processes: str = "/proc") -> t.List[int]:
    """The local ports from which any program of this host is connected to a server; for root, since others see their own network alone."""
    seen: t.Set[str] = set()
    found: t.Set[int] = set()
    for process in sorted(filter(str.isdigit, os.listdir(processes)), key=int):
        # One that ends meanwhile is not asked.
        with contextlib.suppress(OSError):
            network = os.readlink(f"{processes}/{process}/ns/net")
            if network in seen:
                continue
            for name in _TABLES:
                # A kernel without IPv6 has no second one.
                with contextlib.suppress(FileNotFoundError), open(f"{processes}/{process}/net/{name}") as table:
                    found |= ports_in(table.read(), address, port)
            seen.add(network)
    return sorted(found)
