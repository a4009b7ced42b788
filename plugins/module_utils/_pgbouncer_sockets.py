# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""End TCP connections of this host to a server that is gone, as `ss -K` does: the program that has one sees it reset at once.

PgBouncer knows no way to let go of one server connection; KILL takes all clients of a database with it, also those that could wait. By itself a
connection to a host that hangs, whose kernel still answers, lasts for ever. Needs CAP_NET_ADMIN and a kernel with INET_DIAG_DESTROY, as Debian's are.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import typing as t

# The kernel's names and numbers (linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h).
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY, _SOCK_DESTROY = 20, 21
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI")
# Ports and addresses are in network order: packed by hand.
_ID_BYTES = 48
_STATE_AND_ID = struct.Struct(f"=BBxx{_ID_BYTES}s")
_UID_OFFSET = _STATE_AND_ID.size + 12
_ANY_COOKIE = b"\xff" * 8
# ESTABLISHED, SYN_SENT, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK: all that a program may still wait for.
_STATES = sum(1 << state for state in (1, 2, 4, 5, 8, 9))
_BUFFER = 1 << 16


class Connection(t.NamedTuple):
    """One TCP connection of this host, and whose program has it."""

    local_address: str
    local_port: int
    address: str
    port: int
    uid: int


def connections(address: str, port: int) -> t.List[Connection]:
    """The connections of this host to a server, also those that are being made; raises OSError."""
    family = _family(address)
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _STATES) + bytes(_ID_BYTES)
    found = [_connection(message) for message in _talk(_SOCK_DIAG_BY_FAMILY, _NLM_F_DUMP, body)]
    return [one for one in found if (one.address, one.port) == (address, port)]


def destroy(connection: Connection) -> bool:
    """End a connection, and return whether it was still there; raises OSError, EOPNOTSUPP where the kernel cannot."""
    identity = (
        struct.pack("!HH", connection.local_port, connection.port)
        + _packed(connection.local_address)
        + _packed(connection.address)
        + bytes(4)
        + _ANY_COOKIE
    )
    body = _REQUEST.pack(_family(connection.address), socket.IPPROTO_TCP, 0, _STATES) + identity
    try:
        _talk(_SOCK_DESTROY, _NLM_F_ACK, body)
    except FileNotFoundError:
        return False
    return True


def _talk(kind: int, flags: int, body: bytes) -> t.List[bytes]:
    """Ask the kernel, and return the bodies of what it lists."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(1)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), kind, _NLM_F_REQUEST | flags, 1, 0) + body)
        listed: t.List[bytes] = []
        while True:
            for of, content in _messages(kernel.recv(_BUFFER)):
                if of == _NLMSG_DONE:
                    return listed
                if of == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", content)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return listed
                listed.append(content)


def _messages(data: bytes) -> t.Iterator[t.Tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, _flags, _sequence, _sender = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            raise OSError(errno.EBADMSG, "the kernel's answer is not understood")
        yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def _connection(message: bytes) -> Connection:
    family, _state, identity = _STATE_AND_ID.unpack_from(message)
    local_port, port = struct.unpack_from("!HH", identity)
    size = 4 if family == socket.AF_INET else 16
    return Connection(
        local_address=str(ipaddress.ip_address(identity[4 : 4 + size])),
        local_port=local_port,
        address=str(ipaddress.ip_address(identity[20 : 20 + size])),
        port=port,
        uid=struct.unpack_from("=I", message, _UID_OFFSET)[0],
    )


def _family(address: str) -> int:
    return socket.AF_INET if ipaddress.ip_address(address).version == 4 else socket.AF_INET6


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed.ljust(16, b"\0")
