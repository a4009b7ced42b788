"""Plain requests through the virtual address, for a look without a load."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from tests.lab.target import Target


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
    url = urlsplit(target.base_url)
    secure = url.scheme == "https"
    plain = socket.create_connection((target.vip, url.port or (443 if secure else 80)), timeout)
    connection = http.client.HTTPConnection(url.netloc, timeout=timeout)
    connection.sock = plain
    if secure:
        context = ssl.create_default_context(cafile=target.ca_file)
        connection.sock = context.wrap_socket(plain, server_hostname=target.server_name)
    connection.request(method, path, body, {"Connection": "close", **(headers or {})})
    return connection.getresponse()


def instances_that_answer(target: Target, requests: int) -> set[str]:
    """The names that successful answers bear."""
    answers = (get(target, "/health/ready") for _ in range(requests))
    return {answer.headers["X-Served-By"] for answer in answers if answer.status == 200}
