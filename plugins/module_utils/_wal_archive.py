# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an archive of WAL with its base backups is good for: what is missing, how far each backup can be brought, what may be deleted.

Nothing is read here. Whoever has the names of the files, the timelines' histories and the backups' manifests gets the same answer.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_wal import (
    SEGMENT_BYTES,
    History,
    history_timeline,
    lsn_text,
    on_history,
    parse_lsn,
)

_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_PARTIAL = ".partial"
_LABEL = re.compile(r"[0-9A-F]{24}\.[0-9A-F]{8}\.backup")
_LOG_BYTES = 0x100000000


class Segment(t.NamedTuple):
    """One file of WAL: its timeline, and its number since the beginning of all WAL."""

    timeline: int
    number: int

    def name(self, segment_bytes: int = SEGMENT_BYTES) -> str:
        """As PostgreSQL calls it: 000000010000000000000005."""
        in_one_log = _LOG_BYTES // segment_bytes
        return f"{self.timeline:08X}{self.number // in_one_log:08X}{self.number % in_one_log:08X}"


def segment_of(name: str, segment_bytes: int = SEGMENT_BYTES) -> t.Optional[Segment]:
    """What a file's name says; None for any other file, and for one that is not complete."""
    found = _SEGMENT.fullmatch(name)
    if not found:
        return None
    timeline, log, low = (int(part, 16) for part in found.groups())
    in_one_log = _LOG_BYTES // segment_bytes
    return Segment(timeline, log * in_one_log + low) if low < in_one_log else None


def partial_of(name: str, segment_bytes: int = SEGMENT_BYTES) -> t.Optional[Segment]:
    """The segment that is being received, or was when its primary was left; None for any other file."""
    return segment_of(name[: -len(_PARTIAL)], segment_bytes) if name.endswith(_PARTIAL) else None


def is_archived(name: str) -> bool:
    """Whether PostgreSQL archives a file of that name: a segment, complete or left, a history, a backup's label."""
    complete = name[: -len(_PARTIAL)] if name.endswith(_PARTIAL) else name
    return bool(
        _SEGMENT.fullmatch(complete) or (complete == name and (history_timeline(name) or _LABEL.fullmatch(name)))
    )


class Backup(t.NamedTuple):
    """One base backup, by its manifest and the day's record."""

    name: str
    timeline: int
    # Its WAL from start to stop makes it consistent; it brings that itself.
    start_lsn: int
    stop_lsn: int
    # Seconds since 1970 when its copy had ended: to no earlier time can it be brought.
    stopped_at: float
    # The backup that an incremental one builds on.
    parent: t.Optional[str] = None


def backup_of(name: str, manifest: t.Mapping[str, t.Any], stopped_at: float, parent: t.Optional[str] = None) -> Backup:
    """A backup by PostgreSQL's own backup_manifest; raises ValueError in words for one that says too little."""
    try:
        ranges = [
            (int(one["Timeline"]), parse_lsn(one["Start-LSN"]), parse_lsn(one["End-LSN"]))
            for one in manifest["WAL-Ranges"]
        ]
        timeline, _start, stop = max(ranges)
        start = min(ranges)[1]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the manifest of backup {name} does not say which WAL it needs: {error!r}") from error
    return Backup(name, timeline, start, stop, stopped_at, parent)


class Stretch(t.NamedTuple):
    """What a line of timelines takes from one of them: segments from `first`, up to the next stretch's first, excluded."""

    timeline: int
    first: int


def line_of(timeline: int, history: History, segment_bytes: int = SEGMENT_BYTES) -> t.Tuple[Stretch, ...]:
    """The way that recovery takes to a timeline, oldest first.

    A timeline begins in the midst of a segment, and the new one has a copy of what came before: so that segment is the new one's.
    """
    begins = [0] + [left_at // segment_bytes for _parent, left_at in history]
    timelines = [parent for parent, _left_at in history] + [timeline]
    return tuple(Stretch(each, first) for each, first in zip(timelines, begins))


def on_line(number: int, line: t.Sequence[Stretch]) -> Segment:
    """Which timeline's segment of that number recovery takes."""
    return Segment(max(stretch for stretch in line if stretch.first <= number).timeline, number)


class Reach(t.NamedTuple):
    """How far a backup can be brought on a timeline."""

    # Whether it lies on the way to that timeline.
    possible: bool
    # All WAL before this position is there.
    until_lsn: int
    # The segment that is missing while later ones are there; None where the archive just ends.
    gap: t.Optional[Segment]
    why: str


class Archive:
    """What there is: complete segments, what is known of the timelines, and the backups."""

    def __init__(
        self,
        segments: t.Iterable[Segment],
        histories: t.Mapping[int, History],
        backups: t.Iterable[Backup] = (),
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.segments = frozenset(segments)
        self.histories = dict(histories)
        self.backups = {backup.name: backup for backup in backups}
        self.segment_bytes = segment_bytes

    @property
    def newest_timeline(self) -> int:
        """The latest timeline of which anything is there; 1 in an empty archive."""
        return max([1, *self.histories, *(segment.timeline for segment in self.segments)])

    def line(self, timeline: int) -> t.Tuple[Stretch, ...]:
        """The way to a timeline; raises ValueError where its history is missing."""
        if timeline > 1 and timeline not in self.histories:
            raise ValueError(
                f"the history of timeline {timeline} is not in the archive, so nothing says where it begins;"
                f" copy {timeline:08X}.history there from a node's pg_wal"
            )
        return line_of(timeline, self.histories.get(timeline, ()), self.segment_bytes)

    def reach(self, backup: Backup, timeline: t.Optional[int] = None) -> Reach:
        """How far that backup can be brought on a timeline, the newest one unless said; raises ValueError for an unknown one."""
        timeline = self.newest_timeline if timeline is None else timeline
        line = self.line(timeline)
        if not on_history(backup.timeline, backup.stop_lsn, self.histories.get(timeline, ()), timeline):
            return Reach(
                False,
                backup.start_lsn,
                None,
                f"backup {backup.name} ends at {lsn_text(backup.stop_lsn)} of timeline {backup.timeline},"
                f" which timeline {timeline} had left before that",
            )
        number = max(backup.stop_lsn - 1, 0) // self.segment_bytes
        while on_line(number, line) in self.segments:
            number += 1
        missing = on_line(number, line)
        # Without the segment in which it stopped it ends where its own copy of that does.
        until = max(backup.stop_lsn, number * self.segment_bytes)
        later = any(other.number > number and on_line(other.number, line) == other for other in self.segments)
        name = missing.name(self.segment_bytes)
        why = f"segment {name} is missing, and later ones are there" if later else f"the archive ends before {name}"
        return Reach(True, until, missing if later else None, why)

    def gaps(self) -> t.List[Segment]:
        """The segments that are missing on the way to the newest timeline, from the first that is there to the last."""
        line = self.line(self.newest_timeline)
        there = {one.number for one in self.segments if on_line(one.number, line) == one}
        if not there:
            return []
        return [on_line(number, line) for number in range(min(there), max(there)) if number not in there]

    def stale(self) -> t.List[Segment]:
        """What a primary wrote after the others had left it: on no way to the newest timeline, and restored by nobody."""
        line = self.line(self.newest_timeline)
        first = {stretch.timeline: stretch.first for stretch in line}
        ends = {before.timeline: after.first for before, after in zip(line, line[1:])}
        return sorted(
            one
            for one in self.segments
            # The segment in which a timeline was left may be there in the old one as well.
            if one.timeline not in first or one.number > ends.get(one.timeline, one.number)
        )

    def chain(self, backup: Backup) -> t.List[Backup]:
        """A backup and all that it builds on, the full one first; raises ValueError where one of them is missing."""
        chain = [backup]
        while chain[0].parent is not None:
            parent = self.backups.get(chain[0].parent)
            if parent is None or parent in chain:
                raise ValueError(
                    f"backup {backup.name} builds on {chain[0].parent}, which is not there;"
                    " it cannot be restored, make a full one"
                )
            chain.insert(0, parent)
        return chain

    def best(self, timeline: t.Optional[int] = None, before: t.Optional[float] = None) -> t.Tuple[Backup, Reach]:
        """The newest backup from which a time, or the archive's end, is reached with the least WAL.

        `before` is in seconds since 1970. Raises ValueError that says of every backup why it is not the one.
        """
        refused = []
        for backup in sorted(self.backups.values(), key=lambda one: one.stopped_at, reverse=True):
            if before is not None and backup.stopped_at > before:
                refused.append(f"{backup.name} ended {backup.stopped_at - before:.0f} s after that time")
                continue
            try:
                self.chain(backup)
                reach = self.reach(backup, timeline)
            except ValueError as error:
                refused.append(str(error))
                continue
            if reach.possible:
                return backup, reach
            refused.append(f"{backup.name}: {reach.why}")
        raise ValueError("no backup can be restored: " + ("; ".join(refused) or "there is none"))


class Kept(t.NamedTuple):
    """What stays and what goes. WAL before `first_segment` goes, of whatever timeline."""

    backups: t.List[str]
    expired: t.List[str]
    first_segment: t.Optional[int]


def retention(archive: Archive, good: t.Container[str], now: float, keep_full: int, keep_seconds: float) -> Kept:
    """Which backups may go: those beyond so many full ones and older than so long, both. What a kept one builds on is kept.

    A backup that is not `good` counts for nothing, and goes once a good one is newer. Without a good one all stay.
    """
    if keep_full < 1 or keep_seconds < 0:
        raise ValueError(
            f"at least one full backup is kept, not {keep_full}, for a time of 0 s or more, not {keep_seconds:g}"
        )
    newest_first = sorted(archive.backups.values(), key=lambda one: one.stopped_at, reverse=True)
    proven = [one for one in newest_first if one.name in good]
    roots = [one.name for one in proven if one.parent is None][:keep_full]
    recent = [one for one in proven if now - one.stopped_at <= keep_seconds]
    older = [one for one in proven if now - one.stopped_at > keep_seconds]
    kept: t.Set[str] = set()
    # By time: the last that ended before the period reaches the times at its beginning.
    for backup in recent + (older[:1] if keep_seconds > 0 else []) + proven[:1]:
        kept |= _names(archive, backup)
    # By count: so many full ones, and what builds on them.
    kept |= {one.name for one in proven if _names(archive, one) & set(roots)}
    newest_good = proven[0].stopped_at if proven else float("-inf")
    for backup in newest_first:
        if backup.name not in good and backup.stopped_at > newest_good:
            kept |= _names(archive, backup)
    remaining = [one for one in newest_first if one.name in kept]
    return Kept(
        [one.name for one in remaining],
        [one.name for one in newest_first if one.name not in kept],
        min((one.start_lsn for one in remaining), default=0) // archive.segment_bytes if remaining else None,
    )


def _names(archive: Archive, backup: Backup) -> t.Set[str]:
    try:
        return {one.name for one in archive.chain(backup)}
    except ValueError:
        return {backup.name}
