# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge whether a bucket or a container keeps what the application gives it."""

from __future__ import annotations

import secrets
import time
import typing as t
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from ansible_collections.escala.ha.plugins.module_utils._http import Response
from ansible_collections.escala.ha.plugins.module_utils._object_storage import PROBE_PREFIX, S3, Asker, Azure, Storage
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict


class RefusedError(Exception):
    """What keeps the storage from being used, in a sentence."""


class Limits(t.NamedTuple):
    """What a check may do and find."""

    clock_seconds: float
    bucket_may_be_missing: bool
    write: bool


def storage_check(seen_from: str) -> Check:
    place = f", seen from {seen_from}" if seen_from else ""
    suffix = f"_from_{''.join(c if c.isalnum() else '_' for c in seen_from.lower())}" if seen_from else ""
    return Check(
        2,
        f"object_storage{suffix}",
        f"The object storage takes, returns and deletes an object, for nobody without a key{place}",
    )


def clock_offset(answer: Response, now: datetime) -> float:
    """How many seconds this host's clock is before the storage's; 0 where the storage says no time."""
    try:
        return (now - parsedate_to_datetime(answer.headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError, IndexError):
        return 0.0


def judge(check: Check, storage: Storage, ask: Asker, limits: Limits, now: t.Callable[[], datetime]) -> Verdict:
    """Look at the bucket, and write, read and delete an object, up to the first thing that does not hold."""
    evidence: t.Dict[str, t.Any] = {"endpoint": storage.where}
    try:
        evidence["found"] = _look(storage, ask, limits, now, evidence)
        if not evidence["found"]:
            return check.passes(f"{storage.where} answers, and there is no such bucket yet", **evidence)
        if not limits.write:
            return check.passes(f"the bucket is at {storage.where}; nothing was written to it now", **evidence)
        evidence["milliseconds"] = _write_read_delete(storage, ask)
    except RefusedError as refusal:
        return check.fails(str(refusal), **evidence)
    except OSError as error:
        return check.fails(ask.away(error), **evidence)
    spent = ", ".join(f"{what} in {spent:.0f} ms" for what, spent in evidence["milliseconds"].items())
    return check.passes(f"at {storage.where} an object was {spent}; without a key it was refused", **evidence)


def _look(
    storage: Storage, ask: Asker, limits: Limits, now: t.Callable[[], datetime], evidence: t.Dict[str, t.Any]
) -> bool:
    answer = ask(storage.look())
    offset = evidence["clock_offset_seconds"] = round(clock_offset(answer, now()))
    if abs(offset) > limits.clock_seconds:
        raise RefusedError(
            f"the clock of this host is {abs(offset)} s {'before' if offset > 0 else 'behind'} that of {storage.where}, and at most "
            f"{limits.clock_seconds:.0f} s are allowed, since from 900 s on every request is refused; have both follow a time server"
        )
    if storage.missing(answer) and limits.bucket_may_be_missing:
        return False
    if storage.owned_by_others(answer) and ask(storage.look(by_owner=False)).good:
        raise RefusedError(storage.foreign)
    if not answer.good:
        raise RefusedError(storage.fault("look into", answer))
    return True


def _write_read_delete(storage: Storage, ask: Asker) -> t.Dict[str, float]:
    """How many milliseconds each took. What was written is deleted also where something after that fails."""
    name, body = f"{PROBE_PREFIX}check-{secrets.token_hex(8)}", secrets.token_bytes(32)
    spent: t.Dict[str, float] = {}

    def timed(what: str, doing: str, send: t.Callable[[], Response]) -> Response:
        begin = time.monotonic()
        answer = send()
        spent[what] = round((time.monotonic() - begin) * 1000, 1)
        if not answer.good:
            raise RefusedError(storage.fault(doing, answer))
        return answer

    written = timed("written", "write", lambda: ask(storage.write(name, body)))
    try:
        got = timed("read", "read", lambda: ask(storage.read(name))).body
        if got != body:
            raise RefusedError(
                f"{storage.where} returned {len(got)} other bytes than the {len(body)} that were written; keep no uploads there"
            )
        if ask.unsigned(storage.read(name)).good:
            raise RefusedError(
                f"{storage.where} gives an object to whoever asks without a key; take the public's access away, or have object_storage_manage do so"
            )
    except BaseException:
        # The first fault is the one to tell.
        with suppress(OSError):
            ask(storage.remove(name, written))
        raise
    timed("deleted", "delete", lambda: ask(storage.remove(name, written)))
    return spent


def _now() -> datetime:
    return datetime.now(timezone.utc)


def storage_checks(options: t.Mapping[str, t.Any], check_mode: bool) -> t.List[t.Callable[[], Verdict]]:
    """The check that the module object_storage_check takes, from its options; those that name no storage are a verdict as well."""
    check = storage_check(options["seen_from"])
    limits = Limits(
        options["clock_limit_seconds"], options["bucket_may_be_missing"], options["write"] and not check_mode
    )

    def judged() -> Verdict:
        try:
            storage = Azure(options) if options["provider"] == "azure_blob" else S3(options)
            ask = Asker(storage, options["ca_file"], options["request_timeout_seconds"], _now)
        except ValueError as error:
            return check.fails(str(error))
        return judge(check, storage, ask, limits, _now)

    return [judged]


def close_container(options: t.Mapping[str, t.Any], check_mode: bool) -> bool:
    """Make the container where it is missing, and take the public's access from it; whether that changed something.

    Raises ValueError for options that name no storage, and RefusedError for what keeps it from being done.
    """
    container = Azure({"connection_string": options["connection_string"], "bucket": options["container"]})
    ask = Asker(container, options["ca_file"], options["request_timeout_seconds"], _now)
    if not container.keyed:
        raise ValueError(
            "object_storage_azure_connection_string has a shared access signature, with which no one may see or change whom a container is open to; "
            "give the account's key, or make the container yourself and set object_storage_manage to false"
        )
    try:
        return _closed(container, ask, check_mode)
    except OSError as error:
        raise RefusedError(ask.away(error)) from error


def _closed(container: Azure, ask: Asker, check_mode: bool) -> bool:
    answer = ask(container.rules())
    if container.missing(answer):
        request = container.create()
    elif not answer.good:
        raise RefusedError(container.fault("look into", answer))
    elif container.open_to_all(answer):
        request = container.close(answer)
    else:
        return False
    if not check_mode:
        done = ask(request)
        if not done.good:
            raise RefusedError(container.fault("change", done))
    return True
