# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of a migration of uploads do with their arguments."""

from __future__ import annotations

import datetime
import json
import os
import pwd
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils import _uploads as decide
from ansible_collections.escala.ha.plugins.module_utils import _uploads_copy as passes
from ansible_collections.escala.ha.plugins.module_utils import _uploads_manifest as manifest
from ansible_collections.escala.ha.plugins.module_utils._uploads import MIB, Limits, Rows, State, UploadsError
from ansible_collections.escala.ha.plugins.module_utils._uploads_rclone import Account, Rclone, runner_as
from ansible_collections.escala.ha.plugins.module_utils._uploads_rows import read_rows
from ansible_collections.escala.ha.plugins.module_utils._verdict import Verdict, failed

Params = t.Mapping[str, t.Any]

ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "source": {"type": "dict", "required": True},
    "target": {"type": "dict", "required": True},
    "user": {"type": "str", "required": True},
    "run_folder": {"type": "path", "required": True},
    "state_folder": {"type": "path", "required": True},
    "ca_file": {"type": "path", "default": ""},
    "database_url": {"type": "str", "default": "", "no_log": True},
    "query": {"type": "str", "default": ""},
}
_LIMITS = ("limit_files", "limit_mib", "limit_seconds")


class Run:
    """One call of a module: its ends, its tools and the state between calls."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.ends = (passes.End.of(params["source"]), passes.End.of(params["target"]))
        self.file = passes.StateFile(params["state_folder"])
        account = pwd.getpwnam(params["user"])
        config, listed = (os.path.join(params["run_folder"], name) for name in ("rclone.conf", "keys"))
        run = runner_as(Account(account.pw_uid, account.pw_gid), config, params["ca_file"])
        self.rclone = Rclone(run, listed)

    def state(self) -> State:
        return decide.begun(self.file.load(), self.ends[0].name, self.ends[1].name)

    def rows(self) -> t.Optional[Rows]:
        asked = self.params["database_url"] and self.params["query"]
        return read_rows(self.params["database_url"], self.params["query"]) if asked else None

    def tools(self) -> passes.Tools:
        return passes.Tools(self.rclone, self.rows, self.file.save, time.monotonic, time.sleep)


def copied(params: Params) -> t.Dict[str, t.Any]:
    """What the module uploads_copy returns."""
    run = Run(params)
    with run.file.alone(time.monotonic, time.sleep):
        state, tools = run.state(), run.tools()
        if params["look"] or params["mode"] == passes.AFTER:
            for end in run.ends[1:]:
                run.rclone.forget_staged(end.staging)
        limits = Limits(*(params[name] for name in _LIMITS))
        if params["mode"] == passes.CLOSE_IN:
            done = passes.close_in(state, run.ends, tools, limits)
        elif params["mode"] == passes.HELD:
            done = passes.held(state, run.ends, tools, params["seconds"])
        elif params["mode"] == passes.CATCH_UP:
            # A new begin: what was switched is not any more.
            fresh = state._replace(switched={})
            done = passes.catch_up(fresh, run.ends, tools, params["seconds"], look=params["look"])
        else:
            settled = bool(state.switched.get("settled"))
            at = state.switched.get("at") or _now()
            patience = 0 if settled else params["patience_seconds"]
            known = state._replace(switched={"at": at})
            done = passes.after(known, run.ends, tools, patience, under_way=params["under_way"])
            run.file.save(done.state._replace(switched={"at": at, "settled": True}))
    return {
        "changed": done.changed,
        "copied": done.copied,
        "mib": round(done.bytes / MIB, 3),
        "removed": done.removed,
        "left": done.left,
        "left_mib": round(done.left_bytes / MIB, 3),
        "unfinished": done.unfinished,
        "seconds": round(done.seconds, 3),
        "enough": decide.is_enough(
            done.left, len(decide.unread(done.state)), done.found, done.state.full_passes, limits
        ),
        "kept": list(done.kept),
        "without_row": list(done.unlisted),
        "msg": _progress(done),
    }


def _progress(done: passes.Done) -> str:
    rate = done.bytes / MIB / done.seconds if done.seconds > 0 else 0.0
    parts = [f"{done.copied} files, {done.bytes / MIB:.1f} MiB copied in {done.seconds:.1f} s ({rate:.1f} MiB/s)"]
    parts.append(f"{done.left} files, {done.left_bytes / MIB:.1f} MiB left")
    if unread := len(decide.unread(done.state)):
        parts.append(f"{unread} not read back yet")
    if done.removed:
        parts.append(f"{done.removed} removed that were deleted in the meantime")
    if done.unfinished:
        parts.append(f"{done.unfinished} uploads under way")
    if done.kept:
        parts.append(f"{len(done.kept)} kept that only the new place has")
    if done.unlisted:
        parts.append(f"{len(done.unlisted)} left that no row of the database names")
    return "; ".join(parts)


def checked(params: Params) -> t.List[Verdict]:
    """The verdicts of the module uploads_check: whether the migration may begin, or may switch."""
    run = Run(params)
    source, target = run.ends
    before = run.rows()
    there = run.rclone.listing(source.name, source.remote)
    lacking = None if before is None else decide.missing(before, there, run.rows() or {})
    rows = manifest.rows_have_files(lacking, len(before or {}), source.name, params["tolerated"])
    if there.unnameable:
        raise UploadsError(
            f"{source.name} has names with a line break, which no list of rclone's can have: {there.unnameable[0]!r}"
        )
    state = run.state()
    if params["question"] == "switch":
        return [rows, manifest.same(state, there), manifest.as_uploaded(state, before, params["tolerated"])]
    taken = run.rclone.listing(target.name, target.remote)
    seen = decide.reconciled(state, there, taken, switched=False)
    plan = decide.planned(seen, there, before, switched=False, target=taken)
    run.rclone.try_writing(target.name, target.remote)
    free = run.rclone.free_bytes(target.remote)
    return [
        rows,
        manifest.ours(plan, target.name, params["others_in_target"]),
        manifest.room(plan, there, free, target.name),
    ]


def accounted(params: Params) -> t.Dict[str, t.Any]:
    """What the module uploads_manifest returns: the verdicts after the switch; the account is written once, and again when something was moved."""
    run = Run(params)
    _source, target = run.ends
    state = run.state()
    before = run.rows()
    there = run.rclone.listing(target.name, target.remote)
    after = run.rows()
    lacking = None if before is None or after is None else decide.missing(before, there, after)
    verdicts = [
        manifest.rows_have_files(lacking, len(before or {}), target.name, params["tolerated"]),
        manifest.same(state),
        manifest.as_uploaded(state, before, params["tolerated"]),
    ]
    path = os.path.join(params["state_folder"], "manifest.json")
    stale = params["moved"] or not _is_of(path, state)
    if stale:
        found = manifest.account(state, after, there)
        _write(path, json.dumps({**found, "verdicts": verdicts}, indent=1) + "\n")
        _write(os.path.join(params["state_folder"], "manifest.md"), manifest.page(found, verdicts))
    return {"changed": stale, "verdicts": verdicts, "passed": not failed(verdicts), "file": path}


def _is_of(path: str, state: State) -> bool:
    """Whether there is an account of this very switch."""
    try:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
    except (OSError, ValueError):
        return False
    wanted = (state.source, state.target, state.switched.get("at"))
    return (said["from"], said["to"], said["switched"].get("at")) == wanted


def _write(path: str, text: str) -> None:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
