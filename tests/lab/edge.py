"""Plain requests through the virtual address, for a look without a load."""

from __future__ import annotations

import http.client
import socket
import ssl

from tests.lab.target import Target


def get(target: Target, path: str, timeout: float = 5.0) -> http.client.HTTPResponse:
    """One GET on a connection of its own."""
    context = ssl.create_default_context(cafile=target.ca_file)
    connection = http.client.HTTPSConnection(target.server_name, timeout=timeout, context=context)
    plain = socket.create_connection((target.vip, 443), timeout)
    connection.sock = context.wrap_socket(plain, server_hostname=target.server_name)
    connection.request("GET", path, headers={"Connection": "close"})
    return connection.getresponse()


def instances_that_answer(target: Target, requests: int) -> set[str]:
    """The names that successful answers bear."""
    answers = (get(target, "/health/ready") for _ in range(requests))
    return {answer.headers["X-Served-By"] for answer in answers if answer.status == 200}
