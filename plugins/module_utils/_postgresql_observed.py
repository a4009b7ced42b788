# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one PostgreSQL server says of itself to a member of pg_monitor: one question, and its answer in plain words.

Positions are bytes, ages and lags seconds.
"""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import NodeState, Quorum, Standby, parse_lsn

# What decides whether a commit survives, a node can rejoin, and a client is let in safely.
SETTINGS = (
    "archive_mode",
    "data_checksums",
    "fsync",
    "full_page_writes",
    "hot_standby",
    "hot_standby_feedback",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_wal_senders",
    "max_worker_processes",
    "password_encryption",
    "primary_slot_name",
    "restart_after_crash",
    "ssl",
    "ssl_min_protocol_version",
    "synchronous_commit",
    "synchronous_standby_names",
    "wal_keep_size",
    "wal_level",
    "wal_log_hints",
    "wal_receiver_timeout",
    "wal_sender_timeout",
)
# Whole rows of the views, so that another major version's columns do no harm; of conninfo only sslmode is kept. Some minor versions show it as it was
# written, in quotes, once a stream has gone over to another timeline.
QUERY = """
SELECT json_build_object(
 'in_recovery', r,
 'version', current_setting('server_version_num')::int,
 'started_seconds_ago', extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()),
 'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
 'checkpoint_timeline', (SELECT timeline_id FROM pg_control_checkpoint()),
 'recovery_timeline', (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
 'received', CASE WHEN r THEN pg_last_wal_receive_lsn() END,
 'replayed', CASE WHEN r THEN pg_last_wal_replay_lsn() END,
 'replayed_seconds_ago', CASE WHEN r THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END,
 'replay_paused', CASE WHEN r THEN pg_is_wal_replay_paused() END,
 'written', CASE WHEN NOT r THEN pg_current_wal_flush_lsn() END,
 'segment', CASE WHEN NOT r THEN pg_walfile_name(pg_current_wal_flush_lsn()) END,
 'receiver', (SELECT to_jsonb(w) - 'conninfo' || jsonb_build_object('sslmode', substring(conninfo FROM 'sslmode=''?([a-z-]+)'),
              'last_message_seconds_ago', extract(epoch FROM clock_timestamp() - last_msg_receipt_time)) FROM pg_stat_wal_receiver w),
 'standbys', (SELECT json_agg(to_jsonb(s) || jsonb_build_object('replay_lag_seconds', extract(epoch FROM replay_lag),
              'tls', (SELECT version FROM pg_stat_ssl l WHERE l.pid = s.pid)) ORDER BY application_name) FROM pg_stat_replication s),
 'slots', (SELECT json_agg(to_jsonb(p) ORDER BY slot_name) FROM pg_replication_slots p),
 'settings', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name = ANY ($1::text[])),
 'pending_restart', (SELECT coalesce(json_agg(name), '[]') FROM pg_settings WHERE pending_restart),
 'tls', (SELECT json_build_object('version', version, 'cipher', cipher) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl))
FROM pg_is_in_recovery() AS r
"""
# What $1 stands for.
ASKED_SETTINGS = f"{{{','.join(SETTINGS)}}}"

Json = t.Dict[str, t.Any]
UNKNOWN: Json = {
    "in_recovery": None,
    "version": None,
    "started_seconds_ago": None,
    "system_identifier": None,
    "timeline": None,
    "lsn": None,
    "replay_lsn": None,
    "replayed_seconds_ago": None,
    "replay_paused": None,
    "lag_bytes": None,
    "lag_seconds": None,
    "receiver": None,
    "standbys": [],
    "slots": [],
    "settings": {},
    "pending_restart": [],
    "checksums": None,
    "tls": None,
}


def node_from(answer: t.Mapping[str, t.Any]) -> Json:
    """A server's answer to the question; raises KeyError and ValueError for anything else."""
    settings = dict(answer["settings"] or {})
    receiver = _receiver(answer["receiver"]) if answer["receiver"] else None
    lsn = _position(answer["written"])
    if answer["in_recovery"]:
        known = [_position(answer[name]) for name in ("received", "replayed") if answer[name]]
        lsn = max((one for one in known if one is not None), default=None)
    return {
        **UNKNOWN,
        "in_recovery": answer["in_recovery"],
        "version": answer["version"],
        "started_seconds_ago": _seconds(answer["started_seconds_ago"]),
        "system_identifier": answer["system_identifier"],
        "timeline": _timeline(answer, receiver),
        "lsn": lsn,
        "replay_lsn": _position(answer["replayed"]),
        "replayed_seconds_ago": _seconds(answer["replayed_seconds_ago"]),
        "replay_paused": answer["replay_paused"],
        "receiver": receiver,
        "standbys": [_standby(row) for row in answer["standbys"] or []],
        "slots": [_slot(row, lsn) for row in answer["slots"] or []],
        "settings": settings,
        "pending_restart": sorted(answer["pending_restart"]),
        "checksums": settings.get("data_checksums") == "on",
        "tls": answer["tls"],
    }


def _timeline(answer: t.Mapping[str, t.Any], receiver: t.Optional[Json]) -> int:
    """A primary's is in the name of the file that it writes to; a standby's is what it receives, or last said on disk how far it got."""
    if answer["segment"]:
        return int(answer["segment"][:8], 16)
    if receiver and receiver["timeline"]:
        return int(receiver["timeline"])
    return max(int(answer["checkpoint_timeline"]), int(answer["recovery_timeline"] or 0))


def _receiver(row: t.Mapping[str, t.Any]) -> Json:
    return {
        "status": row["status"],
        "host": row["sender_host"],
        "port": row["sender_port"],
        "slot": row["slot_name"],
        "timeline": row["received_tli"],
        "sslmode": row["sslmode"],
        "last_message_seconds_ago": _seconds(row["last_message_seconds_ago"]),
    }


def _standby(row: t.Mapping[str, t.Any]) -> Json:
    return {
        "name": row["application_name"],
        "address": row["client_addr"],
        "state": row["state"],
        "sync_state": row["sync_state"],
        "sent_lsn": _position(row["sent_lsn"]),
        "flush_lsn": _position(row["flush_lsn"]),
        "replay_lsn": _position(row["replay_lsn"]),
        "replay_lag_seconds": _seconds(row["replay_lag_seconds"]),
        "tls": row["tls"],
    }


def _slot(row: t.Mapping[str, t.Any], lsn: t.Optional[int]) -> Json:
    kept_from = _position(row["restart_lsn"])
    return {
        "name": row["slot_name"],
        "type": row["slot_type"],
        "active": row["active"],
        "temporary": row["temporary"],
        "wal_status": row["wal_status"],
        "retained_bytes": None if kept_from is None or lsn is None else max(0, lsn - kept_from),
    }


def _position(text: t.Optional[str]) -> t.Optional[int]:
    return parse_lsn(text) if text else None


def _seconds(value: t.Optional[float]) -> t.Optional[float]:
    return None if value is None else round(max(0.0, float(value)), 3)


def state_of(name: str, node: t.Mapping[str, t.Any], upstream: t.Optional[str], quorum: Quorum) -> NodeState:
    """The node as the functions that decide know it, for one that answered; `upstream` is the node from which it streams."""
    receiver = node["receiver"] or {}
    return NodeState(
        node=name,
        role="standby" if node["in_recovery"] else "primary",
        writable=not node["in_recovery"],
        timeline=node["timeline"],
        lsn=node["lsn"] or 0,
        replay_lsn=node["replay_lsn"],
        joined=True,
        system_identifier=node["system_identifier"],
        upstream=upstream,
        streaming=receiver.get("status") == "streaming",
        quorum=quorum,
        replay_lag_seconds=node["lag_seconds"],
        standbys=tuple(
            Standby(one["name"], one["state"], one["sync_state"], one["flush_lsn"] or 0) for one in node["standbys"]
        ),
        postgresql_version=node["version"],
    )


def upstream_of(node: t.Mapping[str, t.Any], addresses: t.Mapping[str, str]) -> t.Optional[str]:
    """The name of the node from which this one receives, by its name or its address; None for nobody, and the host as it is for a stranger."""
    host = (node["receiver"] or {}).get("host")
    if host is None:
        return None
    return next((name for name, address in addresses.items() if host in (name, address)), str(host))
