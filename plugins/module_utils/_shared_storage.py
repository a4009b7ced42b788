# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a shared storage, and take part in the check of it, with whatever hangs left behind."""

from __future__ import annotations

import os
import pwd
import re
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._shared_storage_child import Outcome, Report, User, in_child
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_files import Directory, observe_directory
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_objects import Objects, asker, storage_from
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_round import (
    Clock,
    Json,
    Plan,
    Round,
    StorageError,
)

DIRECTORY, BUCKET, CONTAINER = "directory", "s3", "azure_blob"
# The options that the documentation fragment escala.ha.shared_storage describes.
ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "backend": {"type": "str", "required": True, "choices": [DIRECTORY, BUCKET, CONTAINER]},
    "path": {"type": "path"},
    "endpoint": {"type": "str", "default": ""},
    "region": {"type": "str", "default": "us-east-1"},
    "bucket": {"type": "str"},
    # A name, and no secret: a message that cannot say which key was refused helps nobody.
    "access_key": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "no_log": True},
    "connection_string": {"type": "str", "no_log": True},
    "expected_owner": {"type": "str", "default": ""},
    "ca_file": {"type": "path", "default": ""},
}
# Which options each kind cannot do without.
REQUIRED_IF = [
    ("backend", DIRECTORY, ["path"]),
    ("backend", BUCKET, ["bucket", "access_key", "secret_key"]),
    ("backend", CONTAINER, ["bucket", "connection_string"]),
]
CLOCK = Clock(time.monotonic, time.sleep)
# Beyond the time of the check itself: to take away what it wrote.
_LEAVING_SECONDS = 5.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")


def misuse(options: t.Mapping[str, t.Any]) -> str:
    """What is wrong with the names of hosts and run, which become names of files; empty for nothing."""
    for name in (options["run"], options["host"], *options["peers"]):
        if not _NAME.fullmatch(str(name)):
            return f"{name!r} cannot be part of a file's name; run, host and peers have letters, digits, dots, hyphens and underscores"
    return ""


def observe(options: t.Mapping[str, t.Any], clock: Clock = CLOCK) -> Outcome:
    """What the storage is, without a change to it."""

    def work(report: Report) -> None:
        _look(options, report, "info")

    return in_child(work, None, options["timeout_seconds"], clock)


def take_part(options: t.Mapping[str, t.Any], check_mode: bool, clock: Clock = CLOCK) -> Outcome:
    """What the storage is and does, as the user that the application runs as; in check mode nothing is written."""
    try:
        user = user_named(options["user"]) if options["user"] else None
    except StorageError as problem:
        return Outcome({}, "look", problem.kind, str(problem))
    plan = Plan(options["host"], options["peers"], options["run"], options["timeout_seconds"])

    def work(report: Report) -> None:
        store = _look(options, report, plan.run)
        if check_mode:
            report.saw(writable=options["backend"] != DIRECTORY or os.access(options["path"], os.W_OK | os.X_OK))
            return
        seen = Round(store, plan, clock, report.step).take_part()
        report.saw(round=seen, owners=getattr(store, "owners", {}), user=[os.geteuid()])

    return in_child(work, user, options["timeout_seconds"] + _LEAVING_SECONDS, clock)


def user_named(name: str) -> User:
    """A user of this host; raises StorageError for one that is not there."""
    try:
        known = pwd.getpwnam(name)
    except KeyError:
        words = f"this host has no user {name}; run the application's playbook first, or set the user that it runs as"
        raise StorageError("user", words) from None
    return User(name, known.pw_uid, known.pw_gid, os.getgrouplist(name, known.pw_gid))


def _look(options: t.Mapping[str, t.Any], report: Report, run: str) -> t.Union[Directory, Objects]:
    """Tell what the storage is; return the place of one run in it."""
    report.step("look")
    if options["backend"] == DIRECTORY:
        report.saw(directory=observe_directory(options["path"]))
        return Directory(options["path"], run)
    try:
        storage = storage_from(options)
        objects = Objects(storage, asker(storage, options), run)
    except ValueError as error:
        raise StorageError("options", str(error)) from error
    try:
        report.saw(bucket=objects.look())
    finally:
        report.saw(clock_ahead_seconds=objects.clock_ahead_seconds)
    return objects


def shown(outcome: Outcome) -> Json:
    """What shared_storage_info returns."""
    return {
        "answers": not outcome.problem,
        "problem": outcome.problem or None,
        "kind": outcome.kind or None,
        **outcome.seen,
    }
