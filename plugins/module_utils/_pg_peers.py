# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the guards of PostgreSQL's nodes, over HTTPS with certificates on both sides and a connection that is kept."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import socket
import ssl
import time
import typing as t

State = t.Dict[str, t.Any]

# What a guard says is some kilobytes; whoever sends more is none.
_ANSWER_LIMIT = 1 << 20


class Identity(t.NamedTuple):
    """The files of the platform's authority and of our own certificate."""

    ca_file: str
    certificate_file: str
    key_file: str

    def written_at(self) -> t.Tuple[int, ...]:
        """When each was last written, so that a renewed certificate is noticed; raises OSError where one is missing."""
        return tuple(os.stat(path).st_mtime_ns for path in self)


def client_context(identity: Identity) -> ssl.SSLContext:
    """TLS 1.3 with our certificate, the other side's verified; raises OSError where a file cannot be used."""
    context = ssl.create_default_context(cafile=identity.ca_file)
    return _hardened(context, identity)


def server_context(identity: Identity) -> ssl.SSLContext:
    """TLS 1.3 for those who have a certificate of the same authority; raises OSError where a file cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=identity.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    return _hardened(context, identity)


def _hardened(context: ssl.SSLContext, identity: Identity) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Python 3.13 is stricter than 3.12 by default; one certificate must serve on every host.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    return context


class Peer:
    """One node's guard, for one thread.

    A question takes at most timeout_seconds (and as long as it waits, where it asks the guard to wait), and raises OSError when it
    has no good answer, whatever the reason.
    """

    def __init__(self, name: str, address: str, port: int, identity: Identity, timeout_seconds: float) -> None:
        self.name = name
        self.address = address
        self.port = port
        self.identity = identity
        self.timeout_seconds = timeout_seconds
        self._connection: t.Optional[http.client.HTTPConnection] = None
        self._context: t.Optional[ssl.SSLContext] = None
        self._written_at: t.Tuple[int, ...] = ()
        self._version = 0
        # Until when the certificate of who answered last is valid, in seconds since 1970.
        self.certificate_until: t.Optional[float] = None

    def state(self, wait_seconds: float = 0.0) -> State:
        """What the guard says of its node. With wait_seconds it answers when something changes, and at the latest after so long."""
        path = f"/state?after={self._version}&wait={wait_seconds:g}" if wait_seconds else "/state"
        state = self._ask("GET", path, None, self.timeout_seconds + wait_seconds)
        version = state.get("version")
        self._version = version if isinstance(version, int) else 0
        return state

    def post(self, path: str, body: t.Mapping[str, t.Any]) -> State:
        """Ask for something, as JSON both ways."""
        return self._ask("POST", path, json.dumps(body).encode(), self.timeout_seconds)

    def close(self) -> None:
        """Let the connection go; the next question opens another."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, path: str, body: t.Optional[bytes], seconds: float) -> State:
        deadline = time.monotonic() + seconds
        kept = self._connection is not None
        try:
            try:
                return self._once(method, path, body, deadline)
            except (ConnectionError, ssl.SSLEOFError):
                # The guard was started anew since the last question; this says nothing of how it is now.
                self.close()
                if not kept:
                    raise
                return self._once(method, path, body, deadline)
        except OSError:
            self.close()
            raise
        except (http.client.HTTPException, ValueError, RecursionError) as broken:
            self.close()
            raise OSError(f"{self.name} does not answer as a guard does ({type(broken).__name__})") from broken

    def _once(self, method: str, path: str, body: t.Optional[bytes], deadline: float) -> State:
        # A guard that closed after its last answer has left no socket.
        kept = self._connection if self._connection and self._connection.sock else None
        connection = kept or self._connect(deadline)
        self._connection = connection
        connection.sock.settimeout(_left(deadline))
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        content = answer.read(_ANSWER_LIMIT)
        if answer.status != 200:
            raise OSError(f"{self.name} answers {answer.status} {answer.reason}")
        found = json.loads(content)
        if not isinstance(found, dict):
            raise ValueError("no object")
        return found

    def _connect(self, deadline: float) -> http.client.HTTPConnection:
        raw = socket.create_connection((self.address, self.port), _left(deadline))
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.settimeout(_left(deadline))
            connection = http.client.HTTPConnection(self.name, self.port)
            tls = self._current_context().wrap_socket(raw, server_hostname=self.name)
            connection.sock = tls
            self.certificate_until = float(ssl.cert_time_to_seconds(str((tls.getpeercert() or {})["notAfter"])))
        except BaseException:
            raw.close()
            raise
        return connection

    def _current_context(self) -> ssl.SSLContext:
        written_at = self.identity.written_at()
        if self._context is None or written_at != self._written_at:
            self._context, self._written_at = client_context(self.identity), written_at
        return self._context


def read_states(peers: t.Sequence[Peer]) -> t.Dict[str, t.Optional[State]]:
    """Ask all at once, each once, and return what they said by name, None for who did not answer."""

    def ask(peer: Peer) -> t.Optional[State]:
        with contextlib.closing(peer), contextlib.suppress(OSError):
            return peer.state()
        return None

    if not peers:
        return {}
    with concurrent.futures.ThreadPoolExecutor(len(peers)) as pool:
        return dict(zip([peer.name for peer in peers], pool.map(ask, peers)))


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("no answer in time")
    return seconds
