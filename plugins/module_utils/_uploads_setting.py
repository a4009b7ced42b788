# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each server of the application says that its uploads are, and having all of them use another place."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._edge_migration import Place, place, token_in
from ansible_collections.escala.ha.plugins.module_utils._http import Response, problem
from ansible_collections.escala.ha.plugins.module_utils._uploads import UploadsError
from ansible_collections.escala.ha.plugins.module_utils._uploads_places import is_at

_PATH = "/api/settings/storage"
_ASK_EVERY_SECONDS = 0.1


class Said(t.NamedTuple):
    """What one server says of its storage."""

    driver: str
    path: str
    choices: t.Tuple[str, ...]
    fault: str


class Wanted(t.NamedTuple):
    """A place as the application is told of it, and as it then says that it uses it."""

    setting: t.Mapping[str, str]
    location: str

    def is_used(self, said: Said) -> bool:
        return is_at(said.driver, said.path, self.setting, self.location)


class Asker:
    """The application's servers, one by one and past the balancers, with one login for all."""

    def __init__(
        self,
        servers: t.Mapping[str, str],
        login_body: t.Mapping[str, t.Any],
        login_path: str,
        token_key: str,
        limit: float,
    ) -> None:
        self._servers = servers
        self._login_body = login_body
        self._login_path = login_path
        self._token_key = token_key
        self._limit = limit
        self._token = ""

    def said(self) -> t.Dict[str, Said]:
        return {name: said_in(name, self._ask(name, "GET")) for name in self._servers}

    def put(self, name: str, wanted: Wanted) -> None:
        answer = self._ask(name, "PUT", json.dumps(dict(wanted.setting)).encode())
        if not answer.good:
            raise UploadsError(f"{name} does not take the storage {wanted.location}: {_error_in(answer)}")

    def _at(self, name: str, path: str) -> Place:
        return place(f"{self._servers[name].rstrip('/')}{path}", "", "", False, self._limit)

    def _ask(self, name: str, method: str, body: t.Optional[bytes] = None) -> Response:
        headers = {"Authorization": f"Bearer {self._token or self._login(name)}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            return self._at(name, _PATH).ask(method, headers, body)
        except OSError as error:
            raise UploadsError(f"{name} does not answer at {self._servers[name]}: {problem(error)}") from error

    def _login(self, name: str) -> str:
        try:
            answer = self._at(name, self._login_path).ask(
                "POST", {"Content-Type": "application/json"}, json.dumps(dict(self._login_body)).encode()
            )
        except OSError as error:
            raise UploadsError(f"{name} does not answer at {self._servers[name]}: {problem(error)}") from error
        self._token = token_in(answer, self._token_key)
        if not self._token:
            raise UploadsError(
                f"the login at {name} answered {answer.status} without {self._token_key}; set migrate_uploads_login_body to a login that"
                " may manage the storage, such as an owner's"
            )
        return self._token


def said_in(name: str, answer: Response) -> Said:
    """The answer to GET /api/settings/storage. Raises UploadsError for another."""
    if not answer.good:
        raise UploadsError(f"{name} does not say where its uploads are: {_error_in(answer)}")
    try:
        found = json.loads(answer.body)
        test = found["writeTest"]
        fault = "" if test["ok"] else str(test.get("reason"))
        return Said(str(found["driver"]), str(found["path"]), tuple(found["choices"]), fault)
    except (ValueError, KeyError, TypeError) as broken:
        raise UploadsError(f"{name} answers {_PATH} with something else than a storage: {broken!r}") from broken


def elsewhere(said: t.Mapping[str, Said], wanted: Wanted) -> t.List[str]:
    """Who uses another place, in words."""
    return [f"{name} uses {one.driver} {one.path}" for name, one in said.items() if not wanted.is_used(one)]


def unable(said: t.Mapping[str, Said], wanted: Wanted) -> t.List[str]:
    """Who could not use the place if it were told to, and why; whether a path works is seen by whoever uses it."""
    return [
        f"{name} has no configuration for {wanted.setting['driver']}; give all instances its STORAGE_ variables first"
        for name, one in said.items()
        if wanted.setting["driver"] not in one.choices
    ] + [
        f"{name} uses {one.driver} {one.path}, and it does not work: {one.fault}"
        for name, one in said.items()
        if wanted.is_used(one) and one.fault
    ]


class Time(t.Protocol):
    """The module `time`, or a test's."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


def settled(
    asker: Asker, wanted: Wanted, use: bool, only_looks: bool, time: Time, limit: float
) -> t.Tuple[bool, t.Dict[str, Said]]:
    """What all servers say; before that they are had to use the place, if they are to. Also returns whether that changes something."""
    said = asker.said()
    if not use or not elsewhere(said, wanted):
        return False, said
    if only_looks:
        return True, said
    asker.put(next(iter(said)), wanted)
    end = time.monotonic() + limit
    while others := elsewhere(said := asker.said(), wanted):
        if time.monotonic() > end:
            raise UploadsError(f"not all follow within {limit:g} s to {wanted.location}: {'; '.join(others)}")
        time.sleep(_ASK_EVERY_SECONDS)
    return True, said


def _error_in(answer: Response) -> str:
    try:
        return f"{answer.status}, {json.loads(answer.body)['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status}"
