# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's two doors: HTTPS for the platform's hosts, and a unix socket for the operator."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import socketserver
import ssl
import threading
import typing as t
import urllib.parse

from ansible_collections.escala.ha.plugins.module_utils._pg_peers import Identity, server_context

_BODY_LIMIT = 1 << 16
_LENGTH_DIGITS = 10
_WAIT_LIMIT_SECONDS = 2.0
_IDLE_SECONDS = 30.0
_HANDSHAKE_SECONDS = 2.0
_CONNECTIONS = 200

Json = t.Dict[str, t.Any]


class Doors(t.NamedTuple):
    """What is asked through the doors, answered by the daemon. `vote` and `command` may raise ValueError and OSError with a reason."""

    state: t.Callable[[int, float], Json]
    metrics: t.Callable[[], str]
    vote: t.Callable[[Json], Json]
    command: t.Callable[[Json], Json]


class HttpsServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """GET /state and /metrics for every certificate of the platform's authority, POST /vote for those of the nodes."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: t.Tuple[str, int], identity: Identity, voters: t.Iterable[str], doors: Doors) -> None:
        self.doors = doors
        self.voters = frozenset(voters)
        self._identity = identity
        self._written_at: t.Tuple[int, ...] = ()
        self._context: t.Optional[ssl.SSLContext] = None
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        self.current_context()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The base class looks its own name up, which may take long where no resolver answers.
        socketserver.TCPServer.server_bind(self)

    def current_context(self) -> ssl.SSLContext:
        """The certificate as it is on the disk now, so that a renewal needs no restart."""
        written_at = self._identity.written_at()
        if self._context is None or written_at != self._written_at:
            self._context, self._written_at = server_context(self._identity), written_at
        return self._context

    def process_request_thread(self, request: t.Any, client_address: t.Any) -> None:
        """The whole life of a connection, handshake included, in a thread of its own."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            request.settimeout(_HANDSHAKE_SECONDS)
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError), self.current_context().wrap_socket(request, server_side=True) as tls:
                tls.settimeout(_IDLE_SECONDS)
                self.finish_request(tls, client_address)
        finally:
            self._room.release()
            with contextlib.suppress(OSError):
                self.shutdown_request(request)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HttpsServer
    wbufsize = -1

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/state":
            self._answer(200, json.dumps(self.server.doors.state(*_waiting(url.query))), "application/json")
        elif url.path == "/metrics":
            self._answer(200, self.server.doors.metrics(), "text/plain; version=0.0.4")
        else:
            self._answer(404, "there are /state and /metrics\n", "text/plain")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < _LENGTH_DIGITS) or int(length) > _BODY_LIMIT:
            self.close_connection = True
            self._answer(413, "a ballot is some hundred bytes\n", "text/plain")
            return
        body = self.rfile.read(int(length))
        if self.path != "/vote":
            self._answer(404, "there is /vote\n", "text/plain")
        elif not _names(self.connection) & self.server.voters:
            self._answer(403, "only nodes ask for votes\n", "text/plain")
        else:
            try:
                self._answer(200, json.dumps(self.server.doors.vote(json.loads(body))), "application/json")
            except ValueError as wrong:
                self._answer(400, f"{wrong}\n", "text/plain")
            except OSError as error:
                self._answer(503, f"{error}\n", "text/plain")

    def _answer(self, status: int, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002  the base class names it so
        """Several requests a second are no news."""


class ControlServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """One JSON object in a line and one back, for root on this host."""

    daemon_threads = True

    def __init__(self, path: str, doors: Doors) -> None:
        self.doors = doors
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        super().__init__(path, _ControlHandler)
        os.chmod(path, 0o600)


class _ControlHandler(socketserver.StreamRequestHandler):
    server: ControlServer
    timeout = 10

    def handle(self) -> None:
        try:
            answer = self.server.doors.command(json.loads(self.rfile.readline(_BODY_LIMIT)))
        except (ValueError, OSError) as error:
            answer = {"ok": False, "reason": str(error)}
        with contextlib.suppress(OSError):
            self.wfile.write(json.dumps(answer).encode() + b"\n")


def ask_daemon(path: str, question: Json, limit_seconds: float) -> Json:
    """The operator's side of the socket; raises OSError where no daemon answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(limit_seconds)
        channel.connect(path)
        channel.sendall(json.dumps(question).encode() + b"\n")
        with channel.makefile("r", encoding="utf-8") as answers:
            answer = json.loads(answers.readline() or "{}")
    return t.cast(Json, answer)


def _names(connection: t.Any) -> t.Set[str]:
    certificate = connection.getpeercert() or {}
    return {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}


def _waiting(query: str) -> t.Tuple[int, float]:
    """The version that the asker knows and how long to wait for another one."""
    asked = urllib.parse.parse_qs(query)
    try:
        after, wait = int(asked.get("after", ["0"])[0]), float(asked.get("wait", ["0"])[0])
    except ValueError:
        return 0, 0.0
    # Written so that what is no number at all is no wait.
    return after, min(wait, _WAIT_LIMIT_SECONDS) if wait > 0 else 0.0
