# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guard asks its own server and tells it, over the unix socket, with a limit to each word."""

from __future__ import annotations

import contextlib
import json
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Session, array, conninfo
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import PostgreSQL
from ansible_collections.escala.ha.plugins.module_utils._pg_migration import NAME, OUTSIDE
from ansible_collections.escala.ha.plugins.module_utils._pg_state import Standby
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import parse_lsn

# The startup process waits for WAL that is not there: everything that is on this disk has been replayed.
WAITS_FOR_WAL = frozenset({"RecoveryRetrieveRetryInterval", "RecoveryWalStream"})

# On a primary the message is a commit of its own with a flush of the local disk: what a server that hangs cannot do. It waits for no standby.
_STATUS = f"""
SELECT json_build_object(
 'recovery', r, 'version', current_setting('server_version_num')::int,
 'received', CASE WHEN r THEN pg_last_wal_receive_lsn() END,
 'replayed', CASE WHEN r THEN pg_last_wal_replay_lsn() END,
 'written', CASE WHEN NOT r THEN pg_current_wal_flush_lsn() END,
 'segment', CASE WHEN NOT r THEN pg_walfile_name(pg_current_wal_flush_lsn()) END,
 'lag', CASE WHEN NOT r THEN NULL WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
        ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END,
 'startup', CASE WHEN r THEN (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup') END,
 'receiver', CASE WHEN r THEN (SELECT json_build_object('status', status, 'host', sender_host, 'timeline', received_tli) FROM pg_stat_wal_receiver) END,
 'conninfo', current_setting('primary_conninfo'), 'slot', current_setting('primary_slot_name'),
 'synchronous', current_setting('synchronous_standby_names'),
 'standbys', CASE WHEN NOT r THEN (SELECT json_agg(json_build_array(application_name, state, sync_state, flush_lsn)) FROM pg_stat_replication
             WHERE application_name <> 'pg_basebackup') END,
 'slots', (SELECT json_agg(json_build_array(slot_name, active, wal_status)) FROM pg_replication_slots
            WHERE (slot_type = 'physical' OR slot_name = '{NAME}') AND NOT temporary),
 'outside', (SELECT split_part(c, '=', 2) FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS c
            WHERE setrole = 0 AND c LIKE '{OUTSIDE}=%' ORDER BY setdatabase LIMIT 1),
 'commit', CASE WHEN NOT r THEN pg_logical_emit_message(true, 'escala_guard', '') END)
FROM pg_is_in_recovery() AS r
"""  # noqa: S608  fixed words


# What a promotion and the moves that follow it make of repmgr's records; a node that was never registered stays unknown to it.
_CATALOGUE = """
WITH wanted AS (
 SELECT n.node_id, CASE WHEN n.node_name = $1 THEN 'primary' ELSE 'standby' END AS type,
  CASE WHEN n.node_name <> $1 THEN p.node_id END AS upstream
 FROM repmgr.nodes AS n, repmgr.nodes AS p WHERE p.node_name = $1 AND n.type <> 'witness')
UPDATE repmgr.nodes AS n SET type = w.type, upstream_node_id = w.upstream, active = true
FROM wanted AS w WHERE n.node_id = w.node_id AND (n.type, n.upstream_node_id, n.active) IS DISTINCT FROM (w.type, w.upstream, true)
"""


class Slot(t.NamedTuple):
    """A physical replication slot; `lost` once its WAL is gone."""

    name: str
    active: bool
    lost: bool


class Status(t.NamedTuple):
    """What a server that answers says of itself, positions in bytes."""

    in_recovery: bool
    version: int
    received_lsn: t.Optional[int]
    replayed_lsn: t.Optional[int]
    written_lsn: t.Optional[int]
    written_timeline: t.Optional[int]
    replay_lag_seconds: t.Optional[float]
    waits_for_wal: bool
    receiver_status: t.Optional[str]
    receiver_host: t.Optional[str]
    conninfo: str
    slot: str
    synchronous: str
    standbys: t.Tuple[Standby, ...]
    slots: t.Tuple[Slot, ...]
    # Where the application's data are as long as a migration has not brought them here: an address and a port.
    outside: t.Optional[str] = None

    @property
    def lsn(self) -> t.Optional[int]:
        """The position of the rank: what was written here or, on a standby, received or replayed, whichever is more."""
        if not self.in_recovery:
            return self.written_lsn
        return max((lsn for lsn in (self.received_lsn, self.replayed_lsn) if lsn is not None), default=None)


def status_from(value: t.Mapping[str, t.Any]) -> Status:
    """The answer to the question above; raises KeyError and ValueError for anything else."""
    receiver = value["receiver"] or {}
    segment = value["segment"]
    return Status(
        in_recovery=value["recovery"],
        version=value["version"],
        received_lsn=_lsn(value["received"]),
        replayed_lsn=_lsn(value["replayed"]),
        written_lsn=_lsn(value["written"]),
        written_timeline=int(segment[:8], 16) if segment else None,
        replay_lag_seconds=None if value["lag"] is None else max(0.0, float(value["lag"])),
        waits_for_wal=value["startup"] in WAITS_FOR_WAL,
        receiver_status=receiver.get("status"),
        receiver_host=receiver.get("host"),
        conninfo=value["conninfo"],
        slot=value["slot"],
        synchronous=value["synchronous"],
        standbys=tuple(Standby(n, state, sync, _lsn(flush) or 0) for n, state, sync, flush in value["standbys"] or []),
        slots=tuple(Slot(name, active, wal == "lost") for name, active, wal in value["slots"] or []),
        outside=value["outside"],
    )


class Server:
    """The node's own PostgreSQL. Every call makes a session of its own, takes at most its limit, and raises SessionError."""

    def __init__(self, postgresql: PostgreSQL) -> None:
        self._postgresql = postgresql

    def status(self, limit_seconds: float) -> Status:
        """How it is; on a primary it also has to commit, on its own disk only."""
        return status_from(json.loads(self._value(_STATUS, (), limit_seconds) or "{}"))

    def set_upstream(self, upstream: str, slot: str, limit_seconds: float) -> None:
        """Stream from there, or from nowhere; lasting, and at once."""
        self._alter({"primary_slot_name": slot, "primary_conninfo": upstream}, limit_seconds)

    def set_synchronous(self, names: str, limit_seconds: float) -> None:
        """Whom commits wait for, as synchronous_standby_names has it; lasting, and at once."""
        self._alter({"synchronous_standby_names": names}, limit_seconds)

    def promote(self, limit_seconds: float) -> bool:
        """Whether it has left recovery within the limit."""
        return self._value("SELECT pg_promote(true, $1::int)", (int(limit_seconds),), limit_seconds + 1) == "t"

    def catalogue(self, database: str, primary: str, limit_seconds: float) -> bool:
        """Have repmgr's catalogue say who is primary; False where there is none yet."""
        with self._session(limit_seconds) as ask:
            if ask("SELECT count(*) FROM pg_database WHERE datname = $1", (database,)) == "0":
                return False
        with self._session(limit_seconds, database) as ask:
            if ask("SELECT to_regclass('repmgr.nodes') IS NULL") == "t":
                return False
            ask(_CATALOGUE, (primary,))
        return True

    def checkpoint(self, limit_seconds: float) -> None:
        """Write everything dirty now, so that a stop in order has little to write."""
        self._value("CHECKPOINT", (), limit_seconds)

    def dismiss(self, nodes: t.Iterable[str], limit_seconds: float) -> None:
        """End the streams of all that are none of these nodes, such as an archive's: a server that stops waits until each has all."""
        self._value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication WHERE application_name <> ALL ($1::text[])",
            (array(nodes),),
            limit_seconds,
        )

    def create_slot(self, name: str, limit_seconds: float) -> None:
        self._value("SELECT pg_create_physical_replication_slot($1::name, true)", (name,), limit_seconds)

    def drop_slot(self, name: str, limit_seconds: float) -> None:
        """Drop a slot that nobody uses at the moment."""
        self._value("SELECT pg_drop_replication_slot($1::name)", (name,), limit_seconds)

    def _alter(self, settings: t.Mapping[str, str], limit_seconds: float) -> None:
        with self._session(limit_seconds) as ask:
            for name, value in settings.items():
                # ALTER SYSTEM takes no parameters; format() quotes what is not fixed.
                ask(ask("SELECT format('ALTER SYSTEM SET %I = %L', $1::text, $2::text)", (name, value)))
            ask("SELECT pg_reload_conf()")

    def _value(self, statement: str, values: t.Sequence[t.Any], limit_seconds: float) -> str:
        with self._session(limit_seconds) as ask:
            return ask(statement, values)

    @contextlib.contextmanager
    def _session(self, limit_seconds: float, database: str = "postgres") -> t.Iterator[t.Callable[..., str]]:
        deadline = time.monotonic() + limit_seconds
        info = conninfo(
            host=self._postgresql.socket_directory,
            port=self._postgresql.port,
            user=self._postgresql.guard_role,
            dbname=database,
            application_name="escala_guard",
            # Nothing that the guard does may wait for a standby.
            options="-c synchronous_commit=local -c statement_timeout=0 -c client_min_messages=error",
        )
        session = Session(info, limit_seconds)

        def ask(statement: str, values: t.Sequence[t.Any] = ()) -> str:
            rows = session.execute(statement, values, limit_seconds=max(0.01, deadline - time.monotonic())).rows
            return str(rows[0][0]) if rows else ""

        try:
            yield ask
        finally:
            session.close()


def _lsn(text: t.Optional[str]) -> t.Optional[int]:
    return None if text is None else parse_lsn(text)
