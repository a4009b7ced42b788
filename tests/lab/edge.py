"""Plain requests through the virtual address, for a look without a load."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from tests.lab.target import Target


class Connection(http.client.HTTPConnection):
    """A connection to the virtual address, whatever the name resolves to; one that has ended is made anew by the next request."""

    def __init__(self, target: Target, timeout: float = 5.0) -> None:
        self._target, self._url = target, urlsplit(target.base_url)
        super().__init__(self._url.netloc, timeout=timeout)

    def connect(self) -> None:
        secure = self._url.scheme == "https"
        plain = socket.create_connection((self._target.vip, self._url.port or (443 if secure else 80)), self.timeout)
        self.sock = plain
        if secure:
            context = ssl.create_default_context(cafile=self._target.ca_file)
            self.sock = context.wrap_socket(plain, server_hostname=self._target.server_name)


def get(
    target: Target,
    path: str,
    timeout: float = 5.0,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> http.client.HTTPResponse:
    """One request, a GET unless another method is given, on a connection of its own."""
    connection = Connection(target, timeout)
    connection.request(method, path, body, {"Connection": "close", **(headers or {})})
    return connection.getresponse()


def instances_that_answer(target: Target, requests: int) -> set[str]:
    """The names that successful answers bear."""
    answers = (get(target, "/health/ready") for _ in range(requests))
    return {answer.headers["X-Served-By"] for answer in answers if answer.status == 200}
