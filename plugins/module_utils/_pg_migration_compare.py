# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare every row of a table on two servers of which one follows the other, while clients write.

Rows are compared by digests, in small buckets by their keys, so that little of a large table travels: of the buckets that differ each row, and then only
those rows that did. They are looked at again once the other end has all that was written until then: a row on its way is there at the second look, and
only what differs at every look does differ.
"""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils import _pg_migration_sql as sql
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Session, array
from ansible_collections.escala.ha.plugins.module_utils._pg_migration import MigrationError
from ansible_collections.escala.ha.plugins.module_utils._pg_switchover import Time

ROWS_IN_A_BUCKET = 500
LOOKS = 6
# So many that were found twice are no rows on their way.
_MANY = 10_000
# A sequential read of the whole table, however large.
_READ_SECONDS = 6 * 3600.0
_CATCH_UP_SECONDS = 300.0
_SHOWN = 5

# A row's key and its digest; rows that are the same in all stand as often as there are.
Pair = t.Tuple[str, str]

# The columns that tell rows apart: those of the replica identity's index, or of the primary key, else all.
_KEY = """
SELECT coalesce((SELECT format('ROW(%s)::text', string_agg(format('t.%I', attname), ', ' ORDER BY attnum)) FROM (
 SELECT i.indkey FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
 WHERE c.oid = $1::regclass AND CASE c.relreplident WHEN 'i' THEN i.indisreplident WHEN 'd' THEN i.indisprimary ELSE false END) AS k
 JOIN pg_catalog.pg_attribute a ON a.attrelid = $1::regclass AND a.attnum = ANY (k.indkey)), 't::text')
"""
_BUCKET = "('x' || substr(md5({key}), 1, 7))::bit(28)::int % {buckets}"
_SUMS = """
SELECT {bucket}, count(*), sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint) FROM ONLY {table} t GROUP BY 1
"""
_ROWS = "SELECT {key}, md5(t::text), count(*) FROM ONLY {table} t WHERE {among} GROUP BY 1, 2"


class Compared(t.NamedTuple):
    """A table's rows, and the keys of those that differ for good: `missing` and `extra` on the end that follows; a changed row is in both."""

    table: str
    rows: int
    missing: t.Tuple[str, ...]
    extra: t.Tuple[str, ...]

    @property
    def same(self) -> bool:
        return not self.missing and not self.extra

    def __str__(self) -> str:
        if self.same:
            return f"{self.table}: {self.rows} rows, the same"
        changed = set(self.missing) & set(self.extra)
        parts = [
            ("missing", [key for key in self.missing if key not in changed]),
            ("too many", [key for key in self.extra if key not in changed]),
            ("different", sorted(changed)),
        ]
        said = [f"{len(keys)} {how} ({', '.join(keys[:_SHOWN])})" for how, keys in parts if keys]
        return f"{self.table}: of {self.rows} rows {', '.join(said)}"


def suspects(before: t.Optional[t.Set[Pair]], now: t.Set[Pair]) -> t.Set[Pair]:
    """What was found at every look so far; None before the first."""
    return now if before is None else before & now


def compare(serving: Session, following: Session, table: str, time: Time) -> Compared:
    """Every row; raises MigrationError when the end that follows does not catch up."""
    key = str(sql.ask(serving, _KEY, [table]))
    rows = int(
        float(
            sql.ask(serving, "SELECT greatest(reltuples, 0) FROM pg_catalog.pg_class WHERE oid = $1::regclass", [table])
            or 0
        )
    )
    words = {"key": key, "table": table, "bucket": _BUCKET.format(key=key, buckets=rows // ROWS_IN_A_BUCKET + 1)}
    mine, theirs = _sums(serving, words), _sums_after(serving, following, words, time)
    total = sum(int(count) for count, _sum in mine.values())
    buckets = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
    missing: t.Optional[t.Set[Pair]] = None
    extra: t.Optional[t.Set[Pair]] = None
    among, values = f"{words['bucket']} = ANY ($1::int[])", buckets
    for look in range(LOOKS if buckets else 0):
        here = _pairs(serving, words, among, values)
        _catch_up(serving, time)
        there = _pairs(following, words, among, values)
        missing, extra = suspects(missing, _left(here, there)), suspects(extra, _left(there, here))
        if (not missing and not extra) or (look and len(missing | extra) > _MANY):
            break
        among, values = f"{key} = ANY ($1::text[])", [*_keys(missing), *_keys(extra)]
    return Compared(table, total, _keys(missing), _keys(extra))


def _left(these: t.Mapping[Pair, int], those: t.Mapping[Pair, int]) -> t.Set[Pair]:
    return {pair for pair, count in these.items() if count > those.get(pair, 0)}


def _keys(found: t.Optional[t.Set[Pair]]) -> t.Tuple[str, ...]:
    return tuple(sorted({key for key, _digest in found or ()}))


def _sums(session: Session, words: t.Mapping[str, str]) -> t.Dict[str, t.Tuple[str, str]]:
    rows = session.execute(_SUMS.format(**words), limit_seconds=_READ_SECONDS).rows
    return {str(bucket): (str(count), str(total)) for bucket, count, total in rows}


def _sums_after(
    serving: Session, following: Session, words: t.Mapping[str, str], time: Time
) -> t.Dict[str, t.Tuple[str, str]]:
    _catch_up(serving, time)
    return _sums(following, words)


def _pairs(session: Session, words: t.Mapping[str, str], among: str, values: t.Sequence[str]) -> t.Dict[Pair, int]:
    rows = session.execute(_ROWS.format(**words, among=among), [array(values)], limit_seconds=_READ_SECONDS).rows
    return {(str(key), str(digest)): int(count or 0) for key, digest, count in rows}


def _catch_up(serving: Session, time: Time) -> None:
    """Return when the other end has all that is written now."""
    lsn, deadline = sql.position(serving), time.clock() + _CATCH_UP_SECONDS
    while not sql.confirmed(serving, lsn):
        if time.clock() > deadline:
            raise MigrationError(
                f"the end that follows has not caught up with {lsn} within {_CATCH_UP_SECONDS:g} s; `behind` of the module says how far it is"
            )
        time.sleep(0.1)
