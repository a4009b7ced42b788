# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage as a bucket of S3 or a container of Azure: the objects of one run of the check."""

from __future__ import annotations

import re
import typing as t
from datetime import datetime, timezone

from ansible_collections.escala.ha.plugins.module_utils._http import Response
from ansible_collections.escala.ha.plugins.module_utils._object_storage import (
    PROBE_PREFIX,
    S3,
    Asker,
    Azure,
    Question,
    Storage,
    code_of,
)
from ansible_collections.escala.ha.plugins.module_utils._object_storage_check import clock_offset
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_round import Json, StorageError

# A rule of the bucket's life cycle expires what is below .probe/, should a run be cut off.
FOLDER = f"{PROBE_PREFIX}escala-check/"
# From here on S3 and Azure refuse every request.
CLOCK_LIMIT_SECONDS = 900
_NAMES = re.compile(rb"<(?:Key|Name)>([^<]*)</(?:Key|Name)>")


def now() -> datetime:
    return datetime.now(timezone.utc)


def storage_from(options: t.Mapping[str, t.Any]) -> Storage:
    """A bucket or a container; raises ValueError for options that name none."""
    if options["backend"] == "azure_blob":
        return Azure({name: options[name] or "" for name in ("connection_string", "bucket")})
    names = ("endpoint", "region", "bucket", "access_key", "expected_owner")
    others = {"access_key_secret": options["secret_key"] or "", "session_token": "", "key_of": "application"}
    return S3({**{name: options[name] or "" for name in names}, **others})


class Objects:
    """The objects of one run. Below .probe/, which no application takes for an upload."""

    pause_seconds = 0.2
    is_directory = False

    def __init__(self, storage: Storage, ask: Asker, run: str, clock: t.Callable[[], datetime] = now) -> None:
        self._storage = storage
        self._ask = ask
        self._folder = f"{FOLDER}{run}/"
        self._clock = clock
        # What was answered as each was stored has its version.
        self._stored: t.Dict[str, Response] = {}
        self.clock_ahead_seconds = 0.0

    def look(self) -> Json:
        """Whether the bucket opens to this key; raises StorageError that says why it does not."""
        question = self._storage.look()
        answer = self._answer(question)
        if self._storage.owned_by_others(answer) and self._answer(self._storage.look(by_owner=False)).good:
            raise StorageError("foreign", self._storage.foreign)
        self._good("look into", answer)
        return {"where": self._storage.where, "healthy": self._healthy(), "versioning": self._versioning()}

    def _healthy(self) -> t.Optional[bool]:
        """Whether a MinIO says that enough of its disks take writes; None of a server that is none."""
        if not isinstance(self._storage, S3) or self._storage.where.endswith(".amazonaws.com"):
            return None
        answer = self._unsigned(Question("GET", "/minio/health/cluster"))
        return {200: True, 503: False}.get(answer.status)

    def _versioning(self) -> t.Optional[str]:
        """Enabled, Suspended or off, as far as the key may see it."""
        if not isinstance(self._storage, S3):
            return None
        answer = self._answer(self._storage.look()._replace(query={"versioning": ""}))
        found = re.search(rb"<Status>(\w+)</Status>", answer.body)
        return found[1].decode() if found else "off" if answer.good else None

    def begin(self) -> None:
        """An object needs no folder."""

    def names(self) -> t.Set[str]:
        question = self._storage.look()
        azure = {"comp": "list"} if isinstance(self._storage, Azure) else {}
        query = {**question.query, "prefix": self._folder, **azure}
        query.pop("max-keys", None)
        answer = self._good("list", self._answer(question._replace(query=query)))
        return {name.decode().rpartition("/")[2] for name in _NAMES.findall(answer.body)}

    def put(self, name: str, content: bytes) -> None:
        question = self._storage.write(self._folder + name, content)
        # Without a body http.client says nothing of its length, and S3 wants to hear it.
        question = (
            question._replace(headers={**question.headers, "content-length": str(len(content))})
            if not content
            else question
        )
        self._stored[name] = self._good("write", self._answer(question))

    def appear(self, name: str, content: bytes) -> None:
        self.put(name, content)

    def get(self, name: str) -> bytes:
        question = self._storage.read(self._folder + name)
        content = self._good("read", self._answer(question)).body
        if name in self._stored and self._unsigned(question).good:
            raise StorageError(
                "public",
                f"{self._storage.where} gives an object to whoever asks without a key; take the public's access away from the bucket",
            )
        return content

    def remove(self, name: str) -> None:
        """The very version that was written, where the key may: then nothing is left of it."""
        stored = self._stored.pop(name, None)
        if stored is None:
            return
        answer = self._answer(self._storage.remove(self._folder + name, stored))
        if answer.status == 403 and stored.headers.get("x-amz-version-id"):
            answer = self._answer(self._storage.remove(self._folder + name, stored._replace(headers={})))
        if answer.status != 404:
            self._good("delete", answer)

    def take_lock(self) -> bool:
        raise NotImplementedError("objects have no locks")

    def free_lock(self) -> None:
        raise NotImplementedError("objects have no locks")

    def end(self) -> None:
        """Nothing is left of a folder whose objects are gone."""

    def _answer(self, question: Question) -> Response:
        return self._told(lambda: self._ask(question))

    def _unsigned(self, question: Question) -> Response:
        return self._told(lambda: self._ask.unsigned(question))

    def _told(self, send: t.Callable[[], Response]) -> Response:
        try:
            answer = send()
        except OSError as error:
            raise StorageError("away", self._ask.away(error)) from error
        self.clock_ahead_seconds = round(clock_offset(answer, self._clock()))
        return answer

    def _good(self, doing: str, answer: Response) -> Response:
        if answer.good:
            return answer
        apart = self.clock_ahead_seconds
        if code_of(answer) == "RequestTimeTooSkewed" or (answer.status == 403 and abs(apart) > CLOCK_LIMIT_SECONDS):
            raise StorageError(
                "clock",
                f"this host's clock is {abs(apart):g} s {'ahead of' if apart > 0 else 'behind'} that of {self._storage.where}, which refuses"
                f" everything from {CLOCK_LIMIT_SECONDS} s on; let systemd-timesyncd or chrony keep both clocks",
            )
        missing = self._storage.missing(answer)
        raise StorageError("bucket" if missing else "refused", self._storage.fault(doing, answer))


def asker(storage: Storage, options: t.Mapping[str, t.Any]) -> Asker:
    """What sends the requests; raises ValueError for an address or an authority that cannot be taken."""
    return Asker(storage, options["ca_file"], options["request_timeout_seconds"], now)
