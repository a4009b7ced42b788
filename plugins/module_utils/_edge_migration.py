# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge whether the clients of an old server may be sent to the platform, and who answers them afterwards."""

from __future__ import annotations

import json
import ssl
import typing as t
from urllib.parse import urlsplit

from ansible_collections.escala.ha.plugins.module_utils._application import ANSWERED_BY
from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint, Response, problem, send, unverified
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

SERVED_BY = Check(1, "served_by", "Who answers requests is who should")
TOKEN = Check(1, "token_accepted", "A token from the old server opens the platform")

_NOBODY = "a server that says no name"


class Place(t.NamedTuple):
    """Where a URL leads, and how its server is to be trusted."""

    url: str
    endpoint: Endpoint
    path: str
    tls: t.Optional[ssl.SSLContext]

    def ask(
        self, method: str = "GET", headers: t.Optional[t.Mapping[str, str]] = None, body: t.Optional[bytes] = None
    ) -> Response:
        return send(self.endpoint, method, self.path, self.tls, headers, body)


def place(url: str, address: str, ca_data: str, validate_certs: bool, timeout_seconds: float) -> Place:
    """What a URL means; another address than its name resolves to may be given. Raises ValueError for one that is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url} is no URL of HTTP, such as http://192.0.2.10:8080/health/ready")
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    port = parts.port or (443 if secure else 80)
    endpoint = Endpoint(address or parts.hostname, port, parts.hostname, timeout_seconds)
    return Place(url, endpoint, path, trust(ca_data, validate_certs) if secure else None)


def trust(ca_data: str, validate_certs: bool) -> ssl.SSLContext:
    """TLS that trusts only the given authority, or with none given those of the host."""
    return ssl.create_default_context(cadata=ca_data or None) if validate_certs else unverified()


def fault_of(answer: Response, instances: t.Sequence[str], by_instances: bool) -> str:
    """Why this answer is not from whom it should be, or an empty text."""
    name = answer.headers.get(ANSWERED_BY, "")
    if not answer.good:
        return f"answered {answer.status}"
    if (name in instances) == by_instances:
        return ""
    return f"answered by {name or _NOBODY}"


def check_served_by(asked: Place, instances: t.Sequence[str], by_instances: bool, requests: int) -> Verdict:
    """Ask some times on new connections, and end with the first answer that is not from whom it should be."""
    wanted = "an instance of the platform" if by_instances else "a server that is no instance of the platform"
    names: t.Dict[str, int] = {}
    for _number in range(requests):
        try:
            answer = asked.ask()
            fault = fault_of(answer, instances, by_instances)
        except OSError as error:
            fault = problem(error)
        if fault:
            return SERVED_BY.fails(
                f"{asked.url} at {asked.endpoint.address} {_as_predicate(fault)}; expected a 2xx from {wanted}",
                url=asked.url,
                address=asked.endpoint.address,
                answered_by=names,
                fault=fault,
            )
        name = answer.headers.get(ANSWERED_BY, _NOBODY)
        names[name] = names.get(name, 0) + 1
    said = ", ".join(f"{name} ({count})" for name, count in sorted(names.items()))
    return SERVED_BY.passes(
        f"{asked.url} at {asked.endpoint.address} was answered by {said}",
        url=asked.url,
        address=asked.endpoint.address,
        answered_by=names,
    )


def check_token(login: Place, body: t.Mapping[str, t.Any], token_key: str, checked: Place) -> Verdict:
    """Log in at one server and use what it issued at another. No verdict ever holds the token."""
    evidence = {"login_url": login.url, "check_url": checked.url}
    try:
        answer = login.ask("POST", {"Content-Type": "application/json"}, json.dumps(body).encode())
    except OSError as error:
        return TOKEN.fails(
            f"nobody could log in at the old server, {login.url}: {problem(error)}; see whether it runs", **evidence
        )
    token = token_in(answer, token_key)
    if not token:
        return TOKEN.fails(
            f"the login at the old server, {login.url}, answered {answer.status} without {token_key};"
            " name a login that it accepts, and where its answer has the token",
            **evidence,
        )
    try:
        accepted = checked.ask("GET", {"Authorization": f"Bearer {token}"})
    except OSError as error:
        return TOKEN.fails(f"the platform did not answer, {checked.url}: {problem(error)}", **evidence)
    if not accepted.good:
        refused = accepted.status in (401, 403)
        advice = (
            "both must have the same key for tokens (JWT_SECRET) and the same database, or everybody would have to log in again"
            if refused
            else "name a path that answers 2xx to whoever is logged in"
        )
        return TOKEN.fails(
            f"the platform answered {accepted.status} to a token of the old server, {checked.url}; {advice}",
            status=accepted.status,
            **evidence,
        )
    return TOKEN.passes(
        f"the platform answered {accepted.status} to a token of the old server", status=accepted.status, **evidence
    )


def token_in(answer: Response, key: str) -> str:
    """The token in the answer to a login, or an empty text where there is none."""
    if not answer.good:
        return ""
    try:
        said = json.loads(answer.body.decode("utf-8", "replace"))
    except ValueError:
        return ""
    token = said.get(key) if isinstance(said, dict) else None
    return token if isinstance(token, str) else ""


def _as_predicate(fault: str) -> str:
    """The fault as the end of a sentence that begins with a URL."""
    if fault.startswith("answered by"):
        return f"was {fault}"
    return fault if fault.startswith("answered") else f"failed ({fault})"
