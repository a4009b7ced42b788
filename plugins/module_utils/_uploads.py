# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left to move of the uploads, what may go, and whether the switch may be made: decisions about listings, made without a look at any place.

An upload is written once, under a key of its own, and never changed; so what was copied whole stays as it is, and only new keys and deletions are
left to follow. A row of the application's database says that an upload exists, and outweighs what a place lacks.
"""

from __future__ import annotations

import json
import typing as t

MIB = 1024 * 1024
# What the application and this migration write before a file is whole: its own checks, its `.part` files, our staging.
_HIDDEN = "."
_UNFINISHED = ".part"
# Deletions without a row to vouch for them are believed up to this share: more looks like a place that is not what it was.
_BELIEVED_SHARE = 0.05
_BELIEVED_AT_LEAST = 20
_NAMED = 3


class UploadsError(Exception):
    """The migration cannot go on, and why, in an operator's words."""


class Listing(t.NamedTuple):
    """The objects of one place with their sizes, and the keys of what is still being written there."""

    sizes: t.Dict[str, int]
    unfinished: t.FrozenSet[str] = frozenset()
    unnameable: t.Tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(self.sizes.values())


class Row(t.NamedTuple):
    """What the application's database knows of an upload."""

    size: int
    sha256: str


Rows = t.Mapping[str, Row]


class Thing(t.NamedTuple):
    """One object on its way: its size, whether the target has it whole, its SHA-256 as read on either side, and what became of it."""

    size: int
    copied: bool = False
    source_sha256: str = ""
    target_sha256: str = ""
    late: bool = False
    deleted: bool = False

    @property
    def read_back(self) -> bool:
        return bool(self.source_sha256) and self.source_sha256 == self.target_sha256


class State(t.NamedTuple):
    """What a migration knows, kept from one run to the next.

    Under `before` are the sizes of what an earlier one, the other way, has moved; `full_passes` counts those of a run that left nothing; `lost` are the
    rows for which the source was seen to have no object.
    """

    source: str
    target: str
    things: t.Dict[str, Thing]
    before: t.Dict[str, int]
    unfinished: t.List[str]
    switched: t.Dict[str, t.Any]
    full_passes: int
    lost: t.Tuple[str, ...] = ()

    def known(self, key: str) -> bool:
        return key in self.things or key in self.before


class Plan(t.NamedTuple):
    """What one pass has to do."""

    copy: t.List[str]
    remove: t.List[str]
    foreign: t.List[str]
    kept: t.List[str]
    unlisted: t.List[str]

    def bytes(self, source: Listing) -> int:
        return sum(source.sizes[key] for key in self.copy)


class Limits(t.NamedTuple):
    """What may be left for the moment in which writes are held."""

    files: int
    mib: float
    seconds: float


def listing_of(text: str) -> Listing:
    """What `rclone lsjson --recursive` says, without what is hidden. Raises UploadsError for what is no such list."""
    try:
        entries = json.loads(text or "[]")
        found = {entry["Path"]: int(entry["Size"]) for entry in entries if not entry.get("IsDir")}
    except (ValueError, TypeError, KeyError, AttributeError) as broken:
        raise UploadsError(f"rclone's list of objects cannot be read: {broken!r}") from broken
    hidden = {key for key in found if any(part.startswith(_HIDDEN) for part in key.split("/"))}
    # A list for rclone has one key a line.
    unnameable = tuple(sorted(key for key in set(found) - hidden if "\n" in key or "\r" in key))
    return Listing(
        {key: size for key, size in found.items() if key not in hidden and key not in unnameable},
        frozenset(key for key in hidden if key.endswith(_UNFINISHED)),
        unnameable,
    )


def begun(kept: t.Optional[t.Mapping[str, t.Any]], source: str, target: str) -> State:
    """The state of the migration from one place to another: the kept one goes on, unless it went another way; then a new one begins that knows of it."""
    if kept is None:
        return State(source, target, {}, {}, [], {}, 0)
    things = {key: Thing(**thing) for key, thing in kept["things"].items()}
    if (kept["source"], kept["target"]) == (source, target):
        return State(**{**kept, "things": things, "lost": tuple(kept.get("lost", ()))})
    before = dict(kept["before"]) | {key: thing.size for key, thing in things.items()}
    return State(source, target, {}, before, [], {}, 0)


def to_keep(state: State) -> t.Dict[str, t.Any]:
    """The state as JSON takes it; what a thing has by default is left out."""
    plain = Thing(0)._asdict()
    things = {
        key: {name: value for name, value in thing._asdict().items() if name == "size" or value != plain[name]}
        for key, thing in state.things.items()
    }
    return {**state._asdict(), "things": things}


def reconciled(state: State, source: Listing, target: Listing, *, switched: bool) -> State:
    """What the target has in the right size is copied, whatever an interrupted run had come to note.

    Before the switch the target is ours alone: what it lacks, or has half, is to be copied anew and read back anew. Afterwards what was copied once
    stays so, for the target's users may have deleted it.
    """
    things = dict(state.things)
    for key, size in source.sizes.items():
        whole = target.sizes.get(key) == size
        thing = things.get(key)
        if thing is not None and thing.copied and (switched or (whole and thing.size == size)):
            if not switched and thing.deleted:
                things[key] = thing._replace(deleted=False)
        elif whole or not switched:
            things[key] = Thing(size, copied=whole)
    for key, thing in state.things.items():
        # What was deleted before it could be read back is in neither place.
        if thing.copied and key not in source.sizes and key not in target.sizes and not (switched and thing.read_back):
            things[key] = thing._replace(deleted=True)
    return state._replace(things=things)


def without_vanished(state: State, source: Listing) -> State:
    """What was deleted before it was copied is no part of the migration; a run that was broken off may yet have brought it to the target."""
    vanished = {key: thing.size for key, thing in state.things.items() if not thing.copied and key not in source.sizes}
    things = {key: thing for key, thing in state.things.items() if key not in vanished}
    return state._replace(things=things, before={**state.before, **vanished})


def planned(
    state: State, source: Listing, rows: t.Optional[Rows], *, switched: bool, target: t.Optional[Listing] = None
) -> Plan:
    """What is to be copied and what is to be removed from the target.

    Before the switch the target follows the source. Afterwards it has a life of its own: what was copied once is never copied again, or a file that
    its user has deleted would come back; and where rows can be read only what has one comes late.
    """
    pending = [key for key, size in source.sizes.items() if not _has(state, key, size)]
    unlisted = [key for key in pending if switched and rows is not None and key not in rows]
    gone = [
        key
        for key in (*state.things, *state.before)
        if key not in source.sizes and not (key in state.things and state.things[key].deleted)
    ]
    # Of a target that was not looked at, the state says what it has.
    has = {key for key, thing in state.things.items() if thing.copied} if target is None else set(target.sizes)
    gone = [key for key in gone if key in has]
    kept = [key for key in gone if rows is not None and key in rows]
    remove = [key for key in gone if key not in set(kept)]
    if rows is None and (switched or len(remove) > max(_BELIEVED_AT_LEAST, _BELIEVED_SHARE * len(state.things))):
        kept, remove = kept + remove, []
    foreign: t.List[str] = []
    if target is not None and not switched:
        known = rows or {}
        foreign = [key for key in target.sizes if key not in source.sizes and not state.known(key) and key not in known]
    left = set(unlisted)
    # Oldest first, since keys begin with the tenant: a batch is one tenant's as far as may be.
    copy = sorted(key for key in pending if key not in left)
    return Plan(copy, sorted(set(remove)), sorted(foreign), sorted(set(kept)), sorted(unlisted))


def _has(state: State, key: str, size: int) -> bool:
    thing = state.things.get(key)
    return thing is not None and thing.copied and thing.size == size


def batches(keys: t.Sequence[str], sizes: t.Mapping[str, int], files: int, mib: float) -> t.Iterator[t.List[str]]:
    """The keys in lists of so many files and so many MiB at most; a larger file is a list of its own."""
    batch: t.List[str] = []
    filled = 0
    for key in keys:
        if batch and (len(batch) >= files or filled + sizes[key] > mib * MIB):
            yield batch
            batch, filled = [], 0
        batch.append(key)
        filled += sizes[key]
    if batch:
        yield batch


def is_small(files: int, size: int, seconds: float, limits: Limits) -> t.Tuple[bool, str]:
    """Whether what a pass found new is little enough for the next one to be made while writes are held, and why."""
    said = f"the last pass found {files} new files, {size / MIB:.1f} MiB, and took {seconds:.1f} s"
    over = [
        name
        for name, much in (
            (f"{limits.files} files", files > limits.files),
            (f"{limits.mib:g} MiB", size > limits.mib * MIB),
            (f"{limits.seconds:g} s", seconds > limits.seconds),
        )
        if much
    ]
    if over:
        return False, f"{said}: more than the limit of {' and of '.join(over)}"
    return True, f"{said}: within {limits.files} files, {limits.mib:g} MiB and {limits.seconds:g} s"


def is_enough(left: int, unread: int, found: int, full_passes: int, limits: Limits) -> bool:
    """Whether to close in now: nothing is left to copy or to read back, and little came, or a second pass had nothing left; a third would bring no less."""
    return not left and not unread and (found <= limits.files or full_passes > 1)


def missing(before: Rows, listing: Listing, after: Rows) -> t.List[str]:
    """Rows without a file. A row is written after its file and removed before it, so rows of before the list count that are there after it too."""
    return sorted(key for key in before if key not in listing.sizes and key in after)


def differing(state: State) -> t.List[str]:
    """What was read back and is not the same on both sides."""
    return sorted(
        key
        for key, thing in state.things.items()
        if thing.source_sha256 and thing.target_sha256 and thing.source_sha256 != thing.target_sha256
    )


def damaged(state: State, rows: Rows) -> t.List[str]:
    """What the source does not have as it was once uploaded."""
    return sorted(
        key
        for key, thing in state.things.items()
        if key in rows and thing.source_sha256 and thing.source_sha256 != rows[key].sha256 and not thing.deleted
    )


def unread(state: State) -> t.List[str]:
    """What was copied and has not been read on both sides."""
    return sorted(
        key
        for key, thing in state.things.items()
        if thing.copied and not thing.deleted and not (thing.source_sha256 and thing.target_sha256)
    )


def some(keys: t.Sequence[str]) -> str:
    """The first few of a list, for a message."""
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more
