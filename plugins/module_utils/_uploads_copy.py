# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pass over the uploads: list, decide, copy, read back, remember. It can be broken off anywhere and made again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import typing as t

from ansible_collections.escala.ha.plugins.module_utils import _uploads as decide
from ansible_collections.escala.ha.plugins.module_utils._uploads import (
    Limits,
    Listing,
    Rows,
    State,
    Thing,
    UploadsError,
)

CATCH_UP, CLOSE_IN, HELD, AFTER = "catch_up", "close_in", "held", "after"
MODES = (CATCH_UP, CLOSE_IN, HELD, AFTER)

_BATCH_FILES, _BATCH_MIB = 500, 64.0
_LOOK_EVERY_SECONDS = 0.1
_LATE_EVERY_SECONDS = 1.0
_LOCK_SECONDS = 120.0
_CLOSE_IN_TRIES = 10
_CLOSE_IN_SECONDS = 60.0


class End(t.NamedTuple):
    """One of both places, as the filter uploads_pair describes it."""

    name: str
    remote: str
    staging: str
    renamed: str
    sees_unfinished: bool

    @classmethod
    def of(cls, place: t.Mapping[str, t.Any]) -> End:
        return cls(*(place[field] for field in cls._fields))


class Tools(t.NamedTuple):
    """What a pass reaches the world by."""

    rclone: t.Any
    rows: t.Callable[[], t.Optional[Rows]]
    save: t.Callable[[State], None]
    clock: t.Callable[[], float]
    sleep: t.Callable[[float], None]


class Done(t.NamedTuple):
    """What a pass has done."""

    state: State
    copied: int
    bytes: int
    removed: int
    left: int
    left_bytes: int
    unfinished: int
    seconds: float
    found: int
    found_bytes: int
    kept: t.Sequence[str]
    unlisted: t.Sequence[str]

    @property
    def changed(self) -> bool:
        return bool(self.copied or self.removed)


def catch_up(state: State, ends: t.Tuple[End, End], tools: Tools, seconds: float, *, look: bool) -> Done:
    """Copy what the source has and the target lacks, for so long, and take from the target what the source has no more; read back what was copied.

    What the target has is looked at where `look` says so, in the first pass of a run; afterwards it is what the state says.
    """
    source, target = ends
    rows = tools.rows()
    begun = tools.clock()
    there = tools.rclone.listing(source.name, source.remote)
    looked = tools.clock() - begun
    before = tools.rclone.listing(target.name, target.remote) if look else None
    if before is not None:
        state = decide.reconciled(state, there, before, switched=False)
    state = decide.without_vanished(state, there)
    plan = decide.planned(state, there, rows, switched=False, target=before)
    lost = tuple(sorted(key for key in rows or {} if key not in there.sizes))
    state = _remembered(state, there, plan.copy)._replace(unfinished=sorted(there.unfinished), lost=lost)
    tools.save(state)
    started = tools.clock()
    state, copied, size = _copied(state, there, plan.copy, ends, tools, begun + seconds)
    spent = looked + tools.clock() - started
    state = _removed(state, plan.remove, target, tools)
    state = _read_back(state, ends, tools, begun + seconds)
    left = [key for key in plan.copy if not state.things[key].copied]
    full = 0 if look else state.full_passes
    state = state._replace(full_passes=full + (not left))
    tools.save(state)
    return Done(
        state, copied, size, len(plan.remove), len(left), sum(there.sizes[key] for key in left), len(there.unfinished), spent,
        len(plan.copy), plan.bytes(there), plan.kept, plan.unlisted,
    )  # fmt: skip


def close_in(state: State, ends: t.Tuple[End, End], tools: Tools, limits: Limits) -> Done:
    """Pass after pass with nothing between them, each with less to do than the one before, until one is as short as writes may wait for.

    Raises UploadsError when none is.
    """
    copied = size = 0
    begun = tools.clock()
    for _number in range(_CLOSE_IN_TRIES):
        done = held(state, ends, tools, _CLOSE_IN_SECONDS)
        state = done.state
        copied, size = copied + done.copied, size + done.bytes
        short, reason = decide.is_small(done.found, done.found_bytes, done.seconds, limits)
        if short:
            return done._replace(copied=copied, bytes=size, seconds=tools.clock() - begun)
    raise UploadsError(
        f"nothing was switched: of {_CLOSE_IN_TRIES} passes none was as short as writes may wait for. {reason[0].upper()}{reason[1:]}; run again at a"
        " quieter hour, or raise migrate_uploads_last_files, migrate_uploads_last_mib or migrate_uploads_last_seconds"
    )


def held(state: State, ends: t.Tuple[End, End], tools: Tools, seconds: float) -> Done:
    """While no new upload begins: copy what is new, and nothing else. Raises UploadsError when it would take too long."""
    source = ends[0]
    begun = tools.clock()
    there = _present(state, source, tools, seconds)
    new = [key for key in sorted(there.sizes) if not (key in state.things and state.things[key].copied)]
    state = _remembered(state, there, new)
    if new:
        left = seconds - (tools.clock() - begun)
        if left <= 0:
            raise UploadsError(f"{source.name} took more than {seconds:g} s to be listed while writes were held")
        new = list(_brought(new, ends, tools, lambda: _present(state, source, tools, left), left))
        state = _noted(state, new, copied=True)
    tools.save(state)
    size = sum(there.sizes[key] for key in new)
    return Done(
        state, len(new), size, 0, 0, 0, len(there.unfinished), tools.clock() - begun, len(new), size, (), ()
    )  # fmt: skip


def _present(state: State, source: End, tools: Tools, limit: float) -> Listing:
    """What the source has, as quickly as it can be known. To list thousands of objects takes an object storage many seconds, and its rows do as well.

    A row is written after its object is whole, and what has none yet nobody has been told of: it is what ends late.
    """
    rows = None if source.sees_unfinished else tools.rows()
    if rows is None:
        return t.cast(Listing, tools.rclone.listing(source.name, source.remote, limit))
    lost = set(state.lost)
    return Listing({key: row.size for key, row in rows.items() if key not in lost})


def after(state: State, ends: t.Tuple[End, End], tools: Tools, patience: float, *, under_way: bool) -> Done:
    """After the switch: fetch what ends late, until nothing is under way any more or the time is over; then read back all that was not yet.

    Of a place whose unfinished uploads nobody sees, the whole time is waited for when something was under way. What was unfinished before already,
    and nothing was, is what a crash has left.
    """
    source, target = ends
    begun = tools.clock()
    copied = size = removed = quiet = 0
    left_over = frozenset() if under_way else frozenset(state.unfinished)
    while True:
        rows = tools.rows()
        there = tools.rclone.listing(source.name, source.remote)
        before = tools.rclone.listing(target.name, target.remote)
        state = decide.reconciled(decide.without_vanished(state, there), there, before, switched=True)
        plan = decide.planned(state, there, rows, switched=True, target=before)
        state = _remembered(state, there, plan.copy, late=True)
        state, files, bytes_ = _copied(state, there, plan.copy, ends, tools, None)
        state = _removed(state, plan.remove, target, tools)
        copied, size, removed = copied + files, size + bytes_, removed + len(plan.remove)
        unseen = under_way and not source.sees_unfinished
        busy = unseen or there.unfinished - left_over or plan.copy or plan.unlisted
        quiet = 0 if busy else quiet + 1
        if quiet > 1 or tools.clock() - begun >= patience:
            break
        tools.sleep(_LATE_EVERY_SECONDS)
    state = _read_back(state, ends, tools, None)
    tools.save(state)
    return Done(
        state, copied, size, removed, 0, 0, len(there.unfinished), tools.clock() - begun, copied, size,
        plan.kept, plan.unlisted,
    )  # fmt: skip


def _remembered(state: State, there: Listing, keys: t.Sequence[str], late: bool = False) -> State:
    things = dict(state.things)
    for key in keys:
        things[key] = Thing(there.sizes[key], late=late)
    return state._replace(things=things)


def _noted(state: State, keys: t.Sequence[str], **what: t.Any) -> State:
    things = dict(state.things)
    for key in keys:
        things[key] = things[key]._replace(**what)
    return state._replace(things=things)


def _copied(
    state: State,
    there: Listing,
    keys: t.Sequence[str],
    ends: t.Tuple[End, End],
    tools: Tools,
    until: t.Optional[float],
) -> t.Tuple[State, int, int]:
    """Batch by batch, each one remembered, so that what is broken off is one batch at most."""
    copied = size = 0
    for batch in decide.batches(keys, there.sizes, _BATCH_FILES, _BATCH_MIB):
        if until is not None and copied and tools.clock() > until:
            break
        brought = _brought(batch, ends, tools, lambda: tools.rclone.listing(ends[0].name, ends[0].remote))
        state = _noted(state, brought, copied=True)
        tools.save(state)
        copied += len(brought)
        size += sum(there.sizes[key] for key in brought)
    return state, copied, size


def _brought(
    keys: t.Sequence[str],
    ends: t.Tuple[End, End],
    tools: Tools,
    look: t.Callable[[], Listing],
    limit: t.Optional[float] = None,
) -> t.Sequence[str]:
    """Copy objects, and return which were; one that is deleted just now fails the copy of the others, which is then made again without it."""
    source, target = ends
    while keys:
        try:
            tools.rclone.copy(keys, source.remote, target._asdict(), limit)
            break
        except UploadsError:
            there = look()
            left = [key for key in keys if key in there.sizes]
            if len(left) == len(keys):
                raise
            keys = left
    return keys


def _removed(state: State, keys: t.Sequence[str], target: End, tools: Tools) -> State:
    if not keys:
        return state
    tools.rclone.remove(target.name, target.remote, keys)
    things = {key: state.things.get(key) or Thing(state.before[key]) for key in keys}
    return state._replace(
        things={**state.things, **{key: thing._replace(deleted=True) for key, thing in things.items()}}
    )


def _read_back(state: State, ends: t.Tuple[End, End], tools: Tools, until: t.Optional[float]) -> State:
    """The sums of what was copied, on both sides; what is gone from one of them in the meantime stays unread, and is copied or removed by the next pass."""
    keys = decide.unread(state)
    sizes = {key: thing.size for key, thing in state.things.items()}
    for number, batch in enumerate(decide.batches(keys, sizes, 4 * _BATCH_FILES, 4 * _BATCH_MIB)):
        if until is not None and number and tools.clock() > until:
            break
        of_source, of_target = (_sums(end, batch, tools) for end in ends)
        things = dict(state.things)
        for key in batch:
            if key in of_source and key in of_target:
                things[key] = things[key]._replace(source_sha256=of_source[key], target_sha256=of_target[key])
        state = state._replace(things=things)
        tools.save(state)
    return state


def _sums(end: End, keys: t.Sequence[str], tools: Tools) -> t.Mapping[str, str]:
    """The sums of what is still there; where all of it was deleted just now there is nothing to read, and that is no fault."""
    found: t.Mapping[str, str] = {}
    try:
        found = tools.rclone.sums(end.name, end.remote, keys)
    except UploadsError:
        if any(key in tools.rclone.listing(end.name, end.remote).sizes for key in keys):
            raise
    return found


class StateFile:
    """Where a migration's state is kept, and who may be at it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = os.path.join(folder, "state.json")

    def load(self) -> t.Optional[t.Dict[str, t.Any]]:
        try:
            with open(self._path, encoding="utf-8") as file:
                found: t.Dict[str, t.Any] = json.load(file)
                return found
        except FileNotFoundError:
            return None
        except ValueError as broken:
            raise UploadsError(f"{self._path} cannot be read ({broken}); move it away and run again") from broken

    def save(self, state: State) -> None:
        """Whole or not at all."""
        temporary = f"{self._path}.new"
        with open(temporary, "w", encoding="utf-8") as file:
            # At once: json.dump writes each word on its own, and writes may be waiting.
            file.write(json.dumps(decide.to_keep(state)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)

    @contextlib.contextmanager
    def alone(self, clock: t.Callable[[], float], sleep: t.Callable[[float], None]) -> t.Iterator[None]:
        """Only one run at a time: one whose controller is gone may still be at its pass."""
        with open(os.path.join(self._folder, "lock"), "w", encoding="utf-8") as file:
            end = clock() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if clock() > end:
                        raise UploadsError(
                            f"another run of migrate_uploads.yml has been at its pass for {_LOCK_SECONDS:g} s; let it end, then run again"
                        ) from None
                    sleep(_LOOK_EVERY_SECONDS)
            yield
