# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users and policies of a MinIO, by the interface that its own client uses."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import os
import re
import ssl
import typing as t
from urllib.parse import quote, urlencode

from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint, Response, problem, send

ADMIN = "/minio/admin/v3"
_NOTHING_SUCH = ("XMinioAdminNoSuchUser", "XMinioAdminNoSuchPolicy")
_KEYS_NOT_TAKEN = ("SignatureDoesNotMatch", "InvalidAccessKeyId")

# The one of MinIO's three ways to derive a key that the standard library has, PBKDF2 with AES-256-GCM.
_DERIVATION = b"\x02"
_ITERATIONS = 8192
# What is longer would be several pieces.
_LONGEST = 1 << 14


# The options of the module minio_user.
USER_ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "address": {"type": "str", "required": True},
    "port": {"type": "int", "default": 9000},
    "region": {"type": "str", "default": "us-east-1"},
    "ca_file": {"type": "path", "required": True},
    "root_user": {"type": "str", "required": True},
    "root_password": {"type": "str", "required": True, "no_log": True},
    "access_key": {"type": "str", "required": True, "no_log": False},
    "access_key_secret": {"type": "str", "no_log": True},
    "policy_name": {"type": "str"},
    "policy": {"type": "dict"},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
}


class AdminError(Exception):
    """MinIO did not do it; the message says what it answered."""


class UnansweredError(AdminError):
    """Nobody was there to do it."""


class Keys(t.NamedTuple):
    access_key: str
    secret_key: str


class Server(t.NamedTuple):
    """Where MinIO is; `now` is the clock by which requests are signed."""

    endpoint: Endpoint
    tls: t.Optional[ssl.SSLContext]
    region: str
    now: t.Callable[[], datetime.datetime]


class User(t.NamedTuple):
    """A user as he is or should be; `secret_fits` is false where MinIO takes another secret key, or none, from him."""

    enabled: bool
    secret_fits: bool
    policy_name: str
    policy: t.Optional[t.Mapping[str, t.Any]]


class Done(t.NamedTuple):
    """What was or would be done, and the user before and after."""

    steps: t.List[str]
    before: t.Dict[str, t.Any]
    after: t.Dict[str, t.Any]


def signed(
    server: Server, keys: Keys, method: str, path: str, query: t.Mapping[str, str], body: bytes
) -> t.Dict[str, str]:
    """The headers that make a request the owner's of these keys (AWS Signature Version 4)."""
    stamp = server.now().strftime("%Y%m%dT%H%M%SZ")
    day, digest = stamp[:8], hashlib.sha256(body).hexdigest()
    host = server.endpoint.server_name
    # The protocol's own port is no part of the name.
    if server.endpoint.port != 443:
        host = f"{host}:{server.endpoint.port}"
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            method,
            quote(path),
            _query(query),
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            digest,
        ]
    )
    scope = f"{day}/{server.region}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{keys.secret_key}".encode()
    for part in (day, server.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return {
        "Host": host,
        "X-Amz-Content-Sha256": digest,
        "X-Amz-Date": stamp,
        "Authorization": (
            f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        ),
    }


def _query(query: t.Mapping[str, str]) -> str:
    return urlencode(sorted(query.items()), quote_via=quote, safe="")


def encrypted(password: str, data: bytes, random: t.Callable[[int], bytes] = os.urandom) -> bytes:
    """Data as MinIO wants a user's secret key: sealed with the secret key of whoever asks, beside TLS."""
    # Only here, for nothing else needs the library, which the role pki puts on the host.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(data) > _LONGEST:
        raise ValueError(f"{len(data)} bytes are more than the {_LONGEST} of one piece")
    salt, nonce = random(32), random(8)
    aead = AESGCM(hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS, 32))
    # The seal of nothing, number 0, is part of what the pieces are sealed with; the first one's number is 1, and 0x80 marks the last.
    seal_of_nothing = aead.encrypt(nonce + (0).to_bytes(4, "little"), b"", b"")
    return salt + _DERIVATION + nonce + aead.encrypt(nonce + (1).to_bytes(4, "little"), data, b"\x80" + seal_of_nothing)


def ask(server: Server, keys: Keys, method: str, path: str, query: t.Mapping[str, str], body: bytes = b"") -> Response:
    """Send one signed request; UnansweredError where nobody does."""
    address = quote(path) + (f"?{_query(query)}" if query else "")
    try:
        return send(
            server.endpoint, method, address, server.tls, signed(server, keys, method, path, query, body), body or None
        )
    except OSError as error:
        where = f"https://{server.endpoint.server_name}:{server.endpoint.port}"
        raise UnansweredError(f"{where}: {problem(error)}; see `journalctl -u minio` there") from error


def code_of(answer: Response) -> str:
    """MinIO's name for what is wrong, in JSON from its own interface and in XML from S3's."""
    text = answer.body.decode("utf-8", "replace")
    found = re.search(r'"Code"\s*:\s*"([^"]+)"|<Code>([^<]+)</Code>', text)
    return (found[1] or found[2]) if found else ""


def admin(server: Server, keys: Keys, method: str, call: str, query: t.Mapping[str, str], body: bytes = b"") -> t.Any:
    """What MinIO answers to a call of its own interface, None where there is no such user or policy."""
    answer = ask(server, keys, method, f"{ADMIN}/{call}", query, body)
    if answer.good:
        return json.loads(answer.body) if answer.body.strip() else {}
    code = code_of(answer)
    if code in _NOTHING_SUCH:
        return None
    if code in _KEYS_NOT_TAKEN:
        raise AdminError(
            f"MinIO does not take root's keys ({code}): minio_root_user or minio_root_password is not what it runs with; restart it with them"
        )
    if code == "RequestTimeTooSkewed":
        raise AdminError(f"this host's clock and MinIO's are more than 15 minutes apart ({code}); set them right")
    said = " ".join(answer.body[:300].decode("utf-8", "replace").split())
    raise AdminError(f"{call} was answered {answer.status} {said}".strip())


def observe(server: Server, root: Keys, user: Keys, policy_name: str) -> t.Optional[User]:
    """The user as he is, None where there is none; the policy is the one of that name."""
    found = admin(server, root, "GET", "user-info", {"accessKey": user.access_key})
    policy = admin(server, root, "GET", "info-canned-policy", {"name": policy_name}) if policy_name else None
    if found is None:
        return None if policy is None else User(False, False, "", policy)
    return User(
        enabled=found.get("status") == "enabled",
        # His own request for the list of buckets may be denied him, and yet his keys fit.
        secret_fits=code_of(ask(server, user, "GET", "/", {})) not in _KEYS_NOT_TAKEN,
        policy_name=found.get("policyName") or "",
        policy=policy,
    )


def normalized(policy: t.Optional[t.Mapping[str, t.Any]]) -> t.Any:
    """A policy such that two that mean the same are the same: MinIO orders, and makes lists of, what it was given."""
    if policy is None:
        return None
    return sorted(
        (
            [
                statement.get("Effect"),
                _list(statement.get("Action")),
                _list(statement.get("Resource")),
                statement.get("Condition") or {},
            ]
            for statement in policy.get("Statement", [])
        ),
        key=lambda statement: json.dumps(statement, sort_keys=True),
    )


def _list(value: t.Any) -> t.List[str]:
    return sorted([value] if isinstance(value, str) else value or [])


def steps(found: t.Optional[User], wanted: User) -> t.List[str]:
    """What is to be done, in order: the user gets his policy last, so that he never has another's rights."""
    todo = []
    if found is None or normalized(found.policy) != normalized(wanted.policy):
        todo.append("policy")
    if found is None or not (found.enabled and found.secret_fits):
        todo.append("keys")
    if found is None or found.policy_name != wanted.policy_name:
        todo.append("attach")
    return todo


def make(server: Server, root: Keys, user: Keys, wanted: User, todo: t.Sequence[str]) -> None:
    """Carry the steps out."""
    policy = json.dumps(wanted.policy).encode()
    sealed = b""
    if "keys" in todo:
        secret = json.dumps({"secretKey": user.secret_key, "status": "enabled"}).encode()
        sealed = encrypted(root.secret_key, secret)
    attached = {"policyName": wanted.policy_name, "userOrGroup": user.access_key, "isGroup": "false"}
    calls: t.Dict[str, t.Tuple[str, t.Dict[str, str], bytes]] = {
        "policy": ("add-canned-policy", {"name": wanted.policy_name}, policy),
        "keys": ("add-user", {"accessKey": user.access_key}, sealed),
        "attach": ("set-user-or-group-policy", attached, b""),
    }
    for step in todo:
        call, query, body = calls[step]
        admin(server, root, "PUT", call, query, body)


def bring_about(server: Server, root: Keys, user: Keys, wanted: t.Optional[User], only_say: bool) -> Done:
    """Have the user as wanted, or not at all where that is None."""
    try:
        found = observe(server, root, user, wanted.policy_name if wanted else "")
    except UnansweredError:
        if not only_say:
            raise
        found = None
    if wanted:
        todo = steps(found, wanted)
        if not only_say:
            make(server, root, user, wanted, todo)
        return Done(todo, shown(found), shown(wanted))
    todo = ["remove"] if found else []
    if todo and not only_say:
        admin(server, root, "DELETE", "remove-user", {"accessKey": user.access_key})
    return Done(todo, shown(found), {})


def shown(user: t.Optional[User]) -> t.Dict[str, t.Any]:
    """A user for a diff: whether the secret key is the one that is asked for, and never which."""
    if user is None:
        return {}
    secret = "as given" if user.secret_fits else "another"
    return {
        "enabled": user.enabled,
        "secret_key": secret,
        "policy_name": user.policy_name,
        "policy": normalized(user.policy),
    }
