# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL's files and texts say of timelines and positions: LSNs, WAL file names, timeline histories."""

from __future__ import annotations

import re
import typing as t

SEGMENT_BYTES = 16 * 1024 * 1024

_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")

# [timeline, position where the next one begins], oldest first, as PostgreSQL writes them in a .history file.
History = t.Tuple[t.Tuple[int, int], ...]


class Rank(t.NamedTuple):
    """How much a node has, compared as a tuple: a later timeline outweighs any position on an earlier one."""

    timeline: int
    lsn: int

    def __str__(self) -> str:
        return f"{lsn_text(self.lsn)} of timeline {self.timeline}"


def lsn_text(lsn: int) -> str:
    """A position as PostgreSQL writes it: 83886080 is 0/5000000."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """A position in bytes; raises ValueError for anything but 0/5000000."""
    found = _LSN.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not an LSN like 0/5000000")
    return int(found[1], 16) << 32 | int(found[2], 16)


def history_name(timeline: int) -> str:
    """The name of a timeline's history file."""
    return f"{timeline:08X}.history"


def history_timeline(name: str) -> t.Optional[int]:
    """The timeline whose history a file of pg_wal is, None for any other file."""
    found = _HISTORY.fullmatch(name)
    return int(found[1], 16) if found else None


def parse_history(text: str) -> History:
    """What a .history file says: parents and where each was left, oldest first; a stub says nothing.

    Raises ValueError with the line that PostgreSQL would not have written.
    """
    parents: t.List[t.Tuple[int, int]] = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2 or not words[0].isdigit():
            raise ValueError(f"{line!r} is no line of a timeline history")
        parents.append((int(words[0]), parse_lsn(words[1])))
    if [timeline for timeline, _lsn in parents] != sorted({timeline for timeline, _lsn in parents}):
        raise ValueError(f"the timelines of a history must rise, these do not: {text!r}")
    return tuple(parents)


def rank_of(
    names: t.Iterable[str], lsn: int, histories: t.Mapping[int, History], segment_bytes: int = SEGMENT_BYTES
) -> Rank:
    """A node's rank: the names in its pg_wal, its position (the larger of received and replayed), and what its history files say.

    A file alone proves nothing: PostgreSQL streams a new timeline from the start of a segment, so that its file is there before
    anything past the point where the timeline begins, and files beyond the position are recycled ones under any name. A timeline counts
    once the position has reached its beginning. Raises ValueError where no file is left.
    """
    # A position on a boundary is the end of the segment before, and the next one need not exist yet.
    last = max(lsn - 1, 0) // segment_bytes
    in_one_log = 0x100000000 // segment_bytes
    present = {
        int(found[1], 16)
        for found in map(_SEGMENT.fullmatch, names)
        if found and int(found[2], 16) * in_one_log + int(found[3], 16) <= last
    }
    reached = [timeline for timeline in present if timeline == 1 or _reached(lsn, histories.get(timeline, ()))]
    if not reached:
        raise ValueError(
            f"no WAL file with a known history at or before {lsn_text(lsn)}, so nothing says which timeline this is"
        )
    return Rank(max(reached), lsn)


def _reached(lsn: int, history: History) -> bool:
    # Without its history PostgreSQL cannot have used a timeline: standbys fetch it first, a promotion writes it first.
    return bool(history) and lsn >= history[-1][1]


def on_history(timeline: int, lsn: int, history: History, of_timeline: int) -> bool:
    """Whether a position lies on the history of a primary of `of_timeline`, so that it can be followed without a rewind."""
    if timeline == of_timeline:
        return True
    return any(timeline == parent and lsn <= left_at for parent, left_at in history)


def stubs_needed(newest: int, timeline: int, existing: t.Iterable[int]) -> t.List[int]:
    """The timelines that need a stub history so that a promotion takes `timeline`: PostgreSQL takes the first without one.

    `newest` is the timeline that the node recovers towards, `existing` those with a history file. Raises ValueError when the timeline
    is taken or behind, since then the promotion would take another one.
    """
    known = set(existing)
    if timeline <= newest or any(other >= timeline for other in known):
        raise ValueError(
            f"timeline {timeline} cannot be taken: this node is on {newest} and knows histories up to"
            f" {max(known, default=newest)}; stand for a higher one"
        )
    return [other for other in range(newest + 1, timeline) if other not in known]


def stubs_left(sizes: t.Mapping[str, int]) -> t.List[str]:
    """Stub histories above the newest real one, from the sizes of the files in pg_wal: PostgreSQL would not start with them."""
    histories = {name: timeline for name, timeline in ((n, history_timeline(n)) for n in sizes) if timeline is not None}
    newest = max((timeline for name, timeline in histories.items() if sizes[name] > 0), default=1)
    return sorted(name for name, timeline in histories.items() if timeline > newest and sizes[name] == 0)
