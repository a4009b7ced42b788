# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request to a given address for a given name, as a client behind any resolver would send it."""

from __future__ import annotations

import http.client
import socket
import ssl
import typing as t


class Endpoint(t.NamedTuple):
    """Where to connect, and the name to ask for there."""

    address: str
    port: int
    server_name: str
    timeout_seconds: float

    def connect(self) -> socket.socket:
        return socket.create_connection((self.address, self.port), self.timeout_seconds)

    def connect_tls(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        raw = self.connect()
        try:
            return context.wrap_socket(raw, server_hostname=self.server_name)
        except BaseException:
            raw.close()
            raise


class Response(t.NamedTuple):
    status: int
    headers: t.Mapping[str, str]
    body: bytes

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


def get(endpoint: Endpoint, path: str, tls: t.Optional[ssl.SSLContext] = None) -> Response:
    """Send one GET on a connection of its own; raises OSError whatever the network or the protocol did wrong."""
    return send(endpoint, "GET", path, tls)


def send(
    endpoint: Endpoint,
    method: str,
    path: str,
    tls: t.Optional[ssl.SSLContext] = None,
    headers: t.Optional[t.Mapping[str, str]] = None,
    body: t.Optional[bytes] = None,
) -> Response:
    """Send one request on a connection of its own; raises OSError whatever the network or the protocol did wrong."""
    connection = http.client.HTTPConnection(endpoint.server_name, endpoint.port)
    connection.sock = endpoint.connect_tls(tls) if tls else endpoint.connect()
    try:
        connection.request(method, path, body, {"Host": endpoint.server_name, "Connection": "close", **(headers or {})})
        answer = connection.getresponse()
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    except ConnectionError:
        # http.client's own RemoteDisconnected is one as well, and says it best.
        raise
    except http.client.HTTPException as broken:
        raise OSError(f"the answer is not HTTP ({type(broken).__name__})") from broken
    finally:
        connection.close()


def unverified() -> ssl.SSLContext:
    """TLS for judging what a service answers, where its certificate is judged by a check of its own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def problem(error: OSError) -> str:
    """An error of the network in a few words for a sentence."""
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    return error.strerror or str(error) or type(error).__name__
