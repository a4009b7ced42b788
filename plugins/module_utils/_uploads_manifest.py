# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account of a migration: may it begin, may it switch, and is everything there afterwards; as verdicts, as data and as a page."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils import _uploads as decide
from ansible_collections.escala.ha.plugins.module_utils._uploads import MIB, Listing, Plan, Rows, State, some
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

ROOM = Check(2, "uploads_target_room", "The new place has room for the uploads")
OURS = Check(2, "uploads_target_ours", "The new place holds nothing but these uploads")
ROWS = Check(2, "uploads_rows_have_files", "Every upload that the database knows of has its file")
SAME = Check(2, "uploads_same_on_both_sides", "Every upload was read back, the same on both sides")
AS_UPLOADED = Check(2, "uploads_as_uploaded", "Every upload is as it was uploaded, by the database's SHA-256")

_SPARE = 1.02
# As many as a report has room for; the page of the account names all.
_SHOWN = 20


def room(plan: Plan, source: Listing, free: t.Optional[int], target: str) -> Verdict:
    """What is left to be copied, and a little more, must fit."""
    needed = plan.bytes(source)
    if free is None:
        return ROOM.passes(
            f"{target} does not say how much room it has; {needed / MIB:.1f} MiB are to come", needed=needed
        )
    if needed * _SPARE > free:
        return ROOM.fails(
            f"{target} has room for {free / MIB:.1f} MiB and {needed / MIB:.1f} MiB are to come; make room there first",
            needed=needed, free=free,
        )  # fmt: skip
    return ROOM.passes(
        f"{needed / MIB:.1f} MiB are to come, and {target} has room for {free / MIB:.1f} MiB", needed=needed, free=free
    )


def ours(plan: Plan, target: str, others_allowed: bool) -> Verdict:
    """Files of somebody else's would be taken for uploads by the next one who looks."""
    if not plan.foreign:
        return OURS.passes(f"{target} has nothing that this migration does not know", foreign=[])
    found = (
        f"{target} has {len(plan.foreign)} files that are neither in the old place nor known here: {some(plan.foreign)}"
    )
    if others_allowed:
        return OURS.passes(
            f"{found}; they stay, as migrate_uploads_others_in_target allows", foreign=plan.foreign[:_SHOWN]
        )
    return OURS.fails(
        f"{found}; move them away, or let them be there with migrate_uploads_others_in_target: true",
        foreign=plan.foreign,
    )


def rows_have_files(lacking: t.Optional[t.Sequence[str]], count: int, place: str, tolerated: int) -> Verdict:
    """Uploads that are lost already are not to be found out about after the move, and taken for its doing."""
    if lacking is None:
        return ROWS.passes("the database was not asked: migrate_uploads_query is empty", missing=None)
    if len(lacking) > tolerated:
        return ROWS.fails(
            f"{place} lacks the files of {len(lacking)} of {count} uploads: {some(lacking)}; find them, or delete those uploads, or take note of them"
            f" with migrate_uploads_tolerated: {len(lacking)} (now {tolerated})",
            missing=list(lacking[:_SHOWN]),
            count=len(lacking),
        )
    known = f", apart from {len(lacking)} that are known to be lost" if lacking else ""
    return ROWS.passes(
        f"{place} has the files of all {count} uploads{known}", missing=list(lacking[:_SHOWN]), count=len(lacking)
    )


def same(state: State, there: t.Optional[Listing] = None) -> Verdict:
    """Both sides were read, byte by byte; of a place that is in use what was deleted just now could not be, and the next pass takes note of that."""
    differing = decide.differing(state)
    unread = [key for key in decide.unread(state) if there is None or key in there.sizes]
    if differing:
        return SAME.fails(
            f"{len(differing)} of {len(state.things)} uploads are not the same in {state.source} and {state.target}: {some(differing)};"
            f" remove them from {state.target} and run again, and see why its storage gives back what it was not given",
            differing=differing[:_SHOWN], unread=unread[:_SHOWN],
        )  # fmt: skip
    if unread:
        return SAME.fails(
            f"{len(unread)} uploads were not read on both sides: {some(unread)}; run again",
            differing=[],
            unread=unread[:_SHOWN],
        )
    count = sum(thing.read_back for thing in state.things.values() if not thing.deleted)
    return SAME.passes(
        f"{count} uploads have one SHA-256 in {state.source} and {state.target}", differing=[], unread=[]
    )


def as_uploaded(state: State, rows: t.Optional[Rows], tolerated: int) -> Verdict:
    """A file that was damaged before is copied as it is, but not in silence."""
    if rows is None:
        return AS_UPLOADED.passes("the database was not asked: migrate_uploads_query is empty", damaged=None)
    damaged = decide.damaged(state, rows)
    count = sum(1 for key, thing in state.things.items() if key in rows and thing.source_sha256 and not thing.deleted)
    if len(damaged) > tolerated:
        return AS_UPLOADED.fails(
            f"{len(damaged)} of {count} uploads are not in {state.source} as they were uploaded: {some(damaged)};"
            f" put them right there, or take note of them with migrate_uploads_tolerated: {len(damaged)} (now {tolerated})",
            damaged=damaged[:_SHOWN],
        )
    known = f", apart from {len(damaged)} that are known to be damaged" if damaged else ""
    return AS_UPLOADED.passes(
        f"{count} uploads have the SHA-256 that the database has for them{known}", damaged=damaged
    )


def account(state: State, rows: t.Optional[Rows], target: Listing) -> t.Dict[str, t.Any]:
    """Every object of the migration and what became of it, and the sums of that."""
    objects = [_object(key, thing, rows, target) for key, thing in sorted(state.things.items())]
    became = [entry["became"] for entry in objects]
    return {
        "from": state.source,
        "to": state.target,
        "switched": state.switched,
        "objects": len(objects),
        "mib": round(sum(entry["size"] for entry in objects) / MIB, 3),
        "became": {what: became.count(what) for what in sorted(set(became))},
        "database_asked": rows is not None,
        "without_row": sum(
            1 for key, thing in state.things.items() if rows is not None and key not in rows and not thing.deleted
        ),
        "each": objects,
    }


def _object(key: str, thing: decide.Thing, rows: t.Optional[Rows], target: Listing) -> t.Dict[str, t.Any]:
    row = (rows or {}).get(key)
    if thing.deleted:
        became = "deleted before the switch"
    elif key not in target.sizes:
        became = "lost" if row or rows is None else "deleted after the switch"
    elif not thing.read_back:
        became = "differs" if thing.source_sha256 and thing.target_sha256 else "not read"
    elif row and row.sha256 != thing.source_sha256:
        became = "moved, damaged before"
    else:
        became = "moved late" if thing.late else "moved"
    return {
        "key": key,
        "size": thing.size,
        "source_sha256": thing.source_sha256,
        "target_sha256": thing.target_sha256,
        "database_sha256": row.sha256 if row else "",
        "became": became,
    }


def page(found: t.Mapping[str, t.Any], verdicts: t.Sequence[Verdict]) -> str:
    """The account on one page."""
    notable = [entry for entry in found["each"] if entry["became"] != "moved"]
    lines = [
        f"# Uploads moved from {found['from']} to {found['to']}",
        "",
        f"Switched at {found['switched'].get('at', 'no time yet')}. {found['objects']} objects, {found['mib']} MiB.",
        "",
        "| what became of them | objects |",
        "| --- | --: |",
        *(f"| {what} | {count} |" for what, count in found["became"].items()),
        "",
        *(
            f"- {'yes' if verdict['passed'] else '**NO**'}: {verdict['title']}: {verdict['reason']}"
            for verdict in verdicts
        ),
        "",
    ]
    if found["without_row"]:
        lines += [
            f"{found['without_row']} of them have no row in the database: files that nobody lists, left by uploads that broke off.",
            "",
        ]
    if notable:
        lines += ["| object | bytes | became |", "| --- | --: | --- |"]
        lines += [f"| {entry['key']} | {entry['size']} | {entry['became']} |" for entry in notable]
        lines.append("")
    return "\n".join(lines)
