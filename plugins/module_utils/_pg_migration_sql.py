# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration asks and tells the two servers, one statement each."""

# What is put into statements are fixed words, and names as PostgreSQL itself quotes them.
# ruff: noqa: S608

from __future__ import annotations

import json
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Session, array
from ansible_collections.escala.ha.plugins.module_utils._pg_migration import (
    NAME,
    OUTSIDE,
    STATE,
    End,
    State,
    end_from,
    state_from,
    state_text,
)

Json = t.Dict[str, t.Any]

# The accounts of the platform's own that are superusers.
OWN = (NAME, "escala_guard", "repmgr")
_SECONDS = 60.0

# Whose names nothing may shorten; and rows are written the same by both servers.
ALIKE = (
    "SET search_path = ''",
    "SET timezone = 'UTC'",
    "SET datestyle = 'ISO, MDY'",
    "SET intervalstyle = 'postgres'",
    "SET extra_float_digits = 1",
    "SET bytea_output = 'hex'",
)

# The user's relations: neither the server's own, nor an extension's, nor in a schema of the platform's.
_OURS = """
 SELECT c.oid, c.relkind, c.relpersistence, c.relreplident, n.nspname, c.oid::regclass::text AS name FROM pg_catalog.pg_class c
 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^(pg|escala)_' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""
_END = f"""
WITH ours AS ({_OURS}),
tables AS (SELECT * FROM ours WHERE relkind IN ('r', 'p')),
columns AS (
 SELECT t.name, string_agg(format('%s %s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated), ',' ORDER BY a.attnum) AS said
 FROM tables t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped GROUP BY t.name),
parts AS (
 SELECT t.name, format('%s %s %s', a.attname, a.attidentity, pg_get_expr(d.adbin, d.adrelid)) AS said FROM tables t
  JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 UNION ALL SELECT t.name, pg_get_constraintdef(k.oid) FROM tables t JOIN pg_catalog.pg_constraint k ON k.conrelid = t.oid
 UNION ALL SELECT t.name, pg_get_indexdef(i.indexrelid) FROM tables t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid
 UNION ALL SELECT t.name, pg_get_triggerdef(g.oid) FROM tables t JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal)
SELECT json_build_object(
 'version', current_setting('server_version_num')::int / 10000,
 'encoding', pg_encoding_to_char(b.encoding),
 'locale', b.datcollate || CASE WHEN b.datctype <> b.datcollate THEN ' and ' || b.datctype ELSE '' END,
 'wal_level', current_setting('wal_level'),
 'size_bytes', pg_database_size(b.oid),
 'connection_limit', b.datconnlimit,
 'tables', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM tables WHERE relkind = 'r'),
 'unkeyed', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM tables t WHERE relkind = 'r' AND (relreplident = 'n' OR relreplident = 'd'
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid AND i.indisprimary))),
 'unlogged', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM ours WHERE relkind = 'r' AND relpersistence = 'u'),
 'foreign', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM ours WHERE relkind = 'f'),
 'large_objects', (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata),
 'extensions', (SELECT coalesce(json_agg(extname ORDER BY extname), '[]') FROM pg_catalog.pg_extension),
 'available', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_catalog.pg_available_extensions),
 'columns', (SELECT coalesce(json_object_agg(name, md5(said)), '{{}}') FROM columns),
 'definitions', (SELECT coalesce(json_object_agg(name, digest), '{{}}') FROM (SELECT c.name, md5(c.said || string_agg(p.said, ';' ORDER BY p.said)) AS digest
                 FROM columns c JOIN parts p USING (name) GROUP BY c.name, c.said) AS d),
 'slots_free', current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_catalog.pg_replication_slots),
 'senders_free', current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_catalog.pg_stat_replication),
 'connections_free', current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                     - (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'),
 'superusers', (SELECT coalesce(json_agg(DISTINCT format('%s (%s)', usename, application_name)), '[]') FROM pg_catalog.pg_stat_activity a
                JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid AND r.rolsuper
                WHERE backend_type = 'client backend' AND a.datid = b.oid AND usename <> ALL ($1::text[])),
 'clients', (SELECT coalesce(json_agg(jsonb_build_array(format('%s:%s', coalesce(host(client_addr), 'local'), client_port),
             coalesce(host(client_addr), 'local'), format('%s (%s) from %s', usename, coalesce(nullif(application_name, ''), 'no name'),
             coalesce(host(client_addr), 'this host')))), '[]') FROM pg_catalog.pg_stat_activity a
             JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid AND NOT r.rolsuper WHERE backend_type = 'client backend' AND a.datid = b.oid),
 'prepared', (SELECT count(*) FROM pg_catalog.pg_prepared_xacts WHERE database = b.datname),
 'published', EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = '{NAME}'),
 'subscribed', EXISTS (SELECT FROM pg_catalog.pg_subscription WHERE subname = '{NAME}' AND subdbid = b.oid AND subenabled),
 'slot', (SELECT wal_status FROM pg_catalog.pg_replication_slots WHERE slot_name = '{NAME}'))
FROM pg_catalog.pg_database b WHERE datname = current_database()
"""
_OTHERS = f"""
SELECT name FROM ({_OURS}) AS o UNION ALL SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^(pg|escala)_'
 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1
"""
_STATE = f"""
SELECT substr(c, length('{STATE}=') + 1) FROM pg_catalog.pg_db_role_setting s CROSS JOIN unnest(setconfig) AS c
JOIN pg_catalog.pg_database b ON b.oid = s.setdatabase AND b.datname = current_database() WHERE setrole = 0 AND c LIKE '{STATE}=%'
"""
_THESE = """
SELECT count(pg_terminate_backend(a.pid)) FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid AND NOT r.rolsuper
WHERE backend_type = 'client backend' AND datname = current_database() AND format('%s:%s', host(client_addr), client_port) = ANY ($1::text[])
AND backend_start < clock_timestamp() - interval '30 s'
"""
_INSIDE = """
SELECT count(pg_terminate_backend(a.pid)) FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid AND NOT r.rolsuper
WHERE backend_type = 'client backend' AND datname = current_database()
"""
_SEQUENCES = """
SELECT coalesce(json_agg(json_build_array(format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value), last_value IS NOT NULL)), '[]')
FROM pg_catalog.pg_sequences WHERE schemaname !~ '^(pg|escala)_'
"""
_COPYING = f"""
SELECT r.srrelid::regclass::text, r.srsubstate, pg_table_size(r.srrelid) FROM pg_catalog.pg_subscription_rel r
JOIN pg_catalog.pg_subscription s ON s.oid = r.srsubid AND s.subname = '{NAME}' ORDER BY 1
"""


def ask(
    session: Session, statement: str, values: t.Sequence[t.Any] = (), limit_seconds: float = _SECONDS
) -> t.Optional[str]:
    """The first column of the first row; raises SessionError."""
    rows = session.execute(statement, values, limit_seconds=limit_seconds).rows
    return rows[0][0] if rows else None


def make_alike(session: Session) -> None:
    for statement in ALIKE:
        ask(session, statement)


def look(session: Session) -> End:
    return end_from(json.loads(ask(session, _END, [array(OWN)]) or "{}"))


def others(session: Session) -> t.List[str]:
    """What is in the database already."""
    return [str(name) for [name] in session.execute(_OTHERS, limit_seconds=_SECONDS).rows]


def read_state(session: Session) -> t.Optional[State]:
    return state_from(ask(session, _STATE))


def told(session: Session, statement: str, *values: str) -> None:
    """Run what takes no parameters, with its %I and %L filled in by the server."""
    marks = "".join(f", ${number}::text" for number in range(1, len(values) + 1))
    ask(session, ask(session, f"SELECT format({_literal(statement)}{marks})", values) or "")


def write_state(session: Session, state: t.Optional[State], outside: t.Optional[str], *more: t.Tuple[str, ...]) -> None:
    """Remember it in the cluster and have the poolers led, with further statements at once or not at all; on return a standby has it too."""
    ask(session, "BEGIN")
    for name, value in ((STATE, state and state_text(state)), (OUTSIDE, outside)):
        # %I would quote the name as one word, and it is two.
        if value:
            told(session, f"ALTER DATABASE %I SET {name} = %L", *_database(session), value)
        else:
            told(session, f"ALTER DATABASE %I RESET {name}", *_database(session))
    for statement, *values in more:
        told(session, statement, *values)
    ask(session, "COMMIT")


def limit_statement(session: Session, connections: int) -> t.Tuple[str, ...]:
    """How many may be in the database who are no superusers; -1 for as many as the server has room for."""
    return (f"ALTER DATABASE %I CONNECTION LIMIT {connections:d}", *_database(session))


def limit(session: Session, connections: int) -> None:
    told(session, *limit_statement(session, connections))


def end_clients(session: Session) -> int:
    """End everybody who is no superuser, and return how many were there."""
    return int(ask(session, _INSIDE) or 0)


def end_connections(session: Session, connections: t.Collection[str]) -> int:
    """End those, as address:port, of clients who are no superusers, and return how many that were; what has just begun is another with the same port."""
    return int(ask(session, _THESE, ["{" + ",".join(connections) + "}"]) or 0) if connections else 0


def position(session: Session) -> str:
    """How far WAL goes, with something after it that the other end has to confirm."""
    ask(session, "SELECT pg_logical_emit_message(true, 'escala_migration', '')")
    return str(ask(session, "SELECT pg_current_wal_flush_lsn()"))


def confirmed(session: Session, lsn: str) -> bool:
    """Whether the other end has durably all up to there."""
    return (
        ask(
            session,
            f"SELECT confirmed_flush_lsn >= $1::pg_lsn FROM pg_replication_slots WHERE slot_name = '{NAME}'",
            [lsn],
        )
        == "t"
    )


def behind(session: Session) -> int:
    """How many bytes of WAL the other end has not confirmed."""
    found = ask(
        session,
        f"SELECT pg_current_wal_flush_lsn() - confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{NAME}'",
    )
    return int(float(found or 0))


def sequences(session: Session) -> Json:
    return json.loads(ask(session, _SEQUENCES) or "[]")  # type: ignore[no-any-return]


def set_sequences(session: Session, values: t.Any) -> None:
    ask(
        session,
        "SELECT count(setval((x->>0)::regclass, (x->>1)::bigint, (x->>2)::boolean)) FROM json_array_elements($1::json) AS x",
        [json.dumps(values)],
    )


def schemas(session: Session) -> t.List[str]:
    """Where a user's objects may be."""
    statement = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname <> 'information_schema' AND nspname !~ '^(pg|escala)_'"
    return [str(name) for [name] in session.execute(statement, limit_seconds=_SECONDS).rows]


def copying(session: Session) -> t.List[t.Tuple[str, str, int]]:
    """Each table's state of the first copy (r: done) and its size."""
    return [
        (str(name), str(state), int(size or 0))
        for name, state, size in session.execute(_COPYING, limit_seconds=_SECONDS).rows
    ]


def publish(session: Session, tables: t.Sequence[str]) -> None:
    """Names come from regclass, which quotes what needs it."""
    ask(session, f"CREATE PUBLICATION {NAME} FOR TABLE {', '.join(tables)}")


def unpublish(session: Session) -> None:
    ask(session, f"DROP PUBLICATION IF EXISTS {NAME}")


def subscribe(session: Session, info: str, *, copy: bool) -> None:
    """Follow the other end; a commit waits for the standbys, since what was confirmed is not sent again after a failover."""
    slot = "copy_data = true" if copy else "copy_data = false, create_slot = false"
    told(
        session,
        f"CREATE SUBSCRIPTION {NAME} CONNECTION %L PUBLICATION {NAME} WITH ({slot}, slot_name = '{NAME}', synchronous_commit = 'on')",
        info,
    )


def has_subscription(session: Session) -> bool:
    return ask(session, f"SELECT count(*) FROM pg_subscription WHERE subname = '{NAME}'") == "1"


def unsubscribe(session: Session) -> None:
    """Follow no more, and leave the slot at the other end alone."""
    if has_subscription(session):
        ask(session, f"ALTER SUBSCRIPTION {NAME} DISABLE")
        ask(session, f"ALTER SUBSCRIPTION {NAME} SET (slot_name = NONE)")
        ask(session, f"DROP SUBSCRIPTION {NAME}")


def make_slot(session: Session) -> None:
    """From here on the other end could follow. Where one is left from a run that was broken off it is of then, and made anew."""
    drop_slot(session)
    ask(session, f"SELECT pg_create_logical_replication_slot('{NAME}', 'pgoutput')")


def drop_slot(session: Session) -> None:
    """Drop our slot, from whoever uses it; nothing without one."""
    ask(
        session,
        f"SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = '{NAME}' AND active",
    )
    ask(session, f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{NAME}'")


def _database(session: Session) -> t.Tuple[str]:
    return (str(ask(session, "SELECT current_database()")),)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
