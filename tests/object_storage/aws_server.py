"""An AWS of its own on loopback: moto's S3 and IAM with its keys and policies enforced, over TLS, with what moto leaves out added in front of it.

    python aws_server.py CERTIFICATE KEY

It prints one line of JSON when it listens: its address, an administrator's key and the number of the account. Besides moto's own
interface it takes PUT /-/clock/SECONDS, by which the clock that it shows and judges by is off from then on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from moto import settings
from moto.core import DEFAULT_ACCOUNT_ID
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.iam.models import iam_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_Start = Callable[..., Any]
_Answer = Iterable[bytes]
_LONGEST_SECONDS = 900
_ALL = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'


class Front:
    """What AWS does before it looks at the bucket, and moto does not."""

    def __init__(self, moto: Callable[[dict[str, Any], _Start], _Answer]) -> None:
        self._moto = moto
        self._off = timedelta()

    def __call__(self, environ: dict[str, Any], start: _Start) -> _Answer:
        now = datetime.now(UTC) + self._off
        path = environ["PATH_INFO"]
        if path.startswith("/-/clock/"):
            self._off = timedelta(seconds=int(path.rpartition("/")[2]))
            return _say(start, "204 No Content", b"")

        def at_that_time(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start(
                status,
                [*((n, v) for n, v in headers if n.lower() != "date"), ("Date", format_datetime(now, usegmt=True))],
                *rest,
            )

        if refused := _refusal(environ, now):
            body = f"<Error><Code>{refused}</Code><Message>{refused}</Message></Error>".encode()
            return _say(at_that_time, "403 Forbidden", body)
        return self._moto(environ, at_that_time)


def _refusal(environ: dict[str, Any], now: datetime) -> str:
    if "HTTP_AUTHORIZATION" not in environ:
        return "AccessDenied"
    sent = datetime.strptime(environ["HTTP_X_AMZ_DATE"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs((now - sent).total_seconds()) > _LONGEST_SECONDS:
        return "RequestTimeTooSkewed"
    owner = environ.get("HTTP_X_AMZ_EXPECTED_BUCKET_OWNER", DEFAULT_ACCOUNT_ID)
    return "" if owner == DEFAULT_ACCOUNT_ID else "AccessDenied"


def _say(start: _Start, status: str, body: bytes) -> _Answer:
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def _judge_conditions() -> None:
    """Moto knows no conditions and would refuse everything; here every request is over TLS."""
    judge = IAMPolicyStatement.is_action_permitted

    def over_tls(statement: Any, *arguments: Any, **named: Any) -> Any:
        plain_only = statement._statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") == "false"
        return PermissionResult.NEUTRAL if plain_only else judge(statement, *arguments, **named)

    IAMPolicyStatement.is_action_permitted = over_tls


def _administrator() -> Any:
    backend = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    backend.create_user("us-east-1", "administrator")
    backend.put_user_policy("administrator", "all", _ALL)
    return backend.create_access_key("administrator")


def main() -> None:
    """Serve until it is ended."""
    _judge_conditions()
    key = _administrator()
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    front = Front(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, front, threaded=True, ssl_context=(sys.argv[1], sys.argv[2]))
    ready = {
        "endpoint": f"https://127.0.0.1:{server.port}",
        "access_key": key.access_key_id,
        "secret_key": key.secret_access_key,
        "account": DEFAULT_ACCOUNT_ID,
    }
    print(json.dumps(ready), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
