# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge what a balancer tells browsers to be careful about, and whom it refuses."""

from __future__ import annotations

import re
import ssl
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._http import (
    Endpoint,
    Response,
    get,
    problem,
    send,
    unverified,
)
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

HEADERS = Check(1, "security_headers", "Answers carry the security headers, HSTS among them, and name no version")
STRANGERS = Check(1, "unknown_names_refused", "Requests for any other name are refused, with TLS and without")

# A name that can be nobody's.
STRANGER = "unknown-name.invalid"

_HSTS = "strict-transport-security"


def header_faults(answer: Response, required: t.Sequence[str], hsts_seconds: int) -> t.List[str]:
    """What an answer's headers lack."""
    headers = answer.headers
    framed = "frame-ancestors" in headers.get("content-security-policy", "")
    faults = [
        f"no {name}"
        for name in required
        if name.lower() not in headers and not (name.lower() == "x-frame-options" and framed)
    ]
    if hsts_seconds:
        found = re.search(r"max-age=\"?(\d+)", headers.get(_HSTS, ""))
        if not found:
            faults.append("no Strict-Transport-Security")
        elif int(found[1]) < hsts_seconds:
            faults.append(f"Strict-Transport-Security for {found[1]} s, limit is {hsts_seconds} s")
    if re.search(r"\d", headers.get("server", "")):
        faults.append(f"Server says {headers['server']}")
    return faults


def judge_headers(answers: t.Mapping[str, Response], required: t.Sequence[str], hsts_seconds: int) -> Verdict:
    faults = {path: header_faults(answer, required, hsts_seconds) for path, answer in answers.items()}
    evidence = {
        path: {
            name: answer.headers[name] for name in sorted({*map(str.lower, required), _HSTS}) if name in answer.headers
        }
        for path, answer in answers.items()
    }
    bad = [f"{path}: {', '.join(found)}" for path, found in faults.items() if found]
    if bad:
        return HEADERS.fails(
            f"{'; '.join(bad)}. Set load_balancer_response_headers and load_balancer_hsts_seconds", headers=evidence
        )
    hsts = f", HSTS for {hsts_seconds} s at least" if hsts_seconds else ""
    return HEADERS.passes(f"{' and '.join(answers)} carry {', '.join(required)}{hsts}", headers=evidence)


def check_headers(secure: Endpoint, paths: t.Sequence[str], required: t.Sequence[str], hsts_seconds: int) -> Verdict:
    try:
        answers = {path: get(secure, path, unverified()) for path in paths}
    except OSError as error:
        return HEADERS.fails(
            f"no answer from {secure.address}:{secure.port}: {problem(error)}; see whether a balancer serves there"
        )
    return judge_headers(answers, required, hsts_seconds)


def handshake_for_a_stranger(secure: Endpoint) -> str:
    """What becomes of a TLS connection for a name that is nobody's; empty when it is refused."""
    try:
        secure._replace(server_name=STRANGER).connect_tls(unverified()).close()
    except (ssl.SSLError, ConnectionResetError, ConnectionAbortedError):
        return ""
    return "the handshake succeeds"


def request_for_a_stranger(endpoint: Endpoint, path: str, tls: bool) -> str:
    """What becomes of a request that names another host than the one it was sent to; empty when it is refused."""
    try:
        answer = send(endpoint, "GET", path, unverified() if tls else None, {"Host": STRANGER})
    except ConnectionError:
        return ""
    if 400 <= answer.status < 500:
        return ""
    location = answer.headers.get("location")
    return f"answered {answer.status}{f' to {location}' if location else ''}"


def judge_strangers(seen: t.Mapping[str, str]) -> Verdict:
    """`seen` has what became of each kind of request, empty for a refusal."""
    evidence = {kind: said or "refused" for kind, said in seen.items()}
    bad = [f"{kind}: {said}" for kind, said in seen.items() if said]
    if bad:
        return STRANGERS.fails(
            f"{'; '.join(bad)}, expected a refusal; see load_balancer_server_names and load_balancer_snippet",
            requests=evidence,
        )
    return STRANGERS.passes(f"{', '.join(seen)}: refused", requests=evidence)


def check_strangers(secure: Endpoint, plain: Endpoint, path: str) -> Verdict:
    try:
        return judge_strangers(
            {
                "TLS for another name": handshake_for_a_stranger(secure),
                "HTTPS with another Host": request_for_a_stranger(secure, path, tls=True),
                "HTTP with another Host": request_for_a_stranger(plain, path, tls=False),
            }
        )
    except OSError as error:
        return STRANGERS.fails(
            f"no answer from {secure.address}: {problem(error)}; see whether a balancer serves there"
        )
