# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of the module postgresql_migration: its options, and what it returns of each."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_migration import (
    Clients,
    EntryError,
    MigrationError,
    unpooled,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_migration_run import (
    Limits,
    Options,
    begin,
    compared,
    copied,
    end,
    ready,
    seen,
    switch,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_switchover import Time

# The options of the module postgresql_migration.
MIGRATION_ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "state": {
        "type": "str",
        "choices": ["seen", "begun", "copied", "compared", "ready", "switched", "ended"],
        "required": True,
    },
    "to": {"type": "str", "choices": ["cluster", "source"], "default": "cluster"},
    "source": {"type": "str", "required": True},
    "source_address": {"type": "str", "required": True},
    "source_port": {"type": "int", "default": 5432},
    "source_is_cluster": {"type": "bool", "default": False},
    "nodes": {"type": "list", "elements": "str", "required": True},
    "database": {"type": "str", "default": "app"},
    "passfile": {"type": "path", "default": "/etc/escala/migration.pgpass"},
    "ca_file": {"type": "path", "default": "/etc/ssl/escala/ca.pem"},
    "programs": {"type": "path", "required": True},
    "table": {"type": "str"},
    "free_bytes": {"type": "dict", "default": {}},
    "pool_connections": {"type": "int", "default": 0},
    "poolers": {"type": "list", "elements": "str", "default": []},
    "connected": {"type": "list", "elements": "str", "default": []},
    "pooled": {"type": "list", "elements": "str", "default": []},
    "host_ports": {"type": "dict", "default": {}},
    "clients_may_end": {"type": "bool", "default": False},
    "users": {"type": "list", "elements": "str", "default": ["app", "escala_probe"]},
    "wait_seconds": {"type": "float", "default": 20},
    "stall_seconds": {"type": "float", "default": 5},
    "begin_seconds": {"type": "float", "default": 30},
    "lag_bytes": {"type": "int", "default": 1048576},
    "socket_directory": {"type": "path", "default": "/var/run/postgresql"},
    "port": {"type": "int", "default": 5432},
    "user": {"type": "str", "default": "escala_guard"},
}


def carry_out(given: t.Mapping[str, t.Any], check: bool) -> t.Dict[str, t.Any]:
    """One state of the module, and what it returns; raises MigrationError, SwitchoverError and SessionError."""
    options = Options(**{name: given[name] for name in Options._fields if name != "nodes"}, nodes=tuple(given["nodes"]))
    clock = Time(time.monotonic, time.sleep)
    limits = Limits(given["stall_seconds"], given["begin_seconds"], given["lag_bytes"])
    state, to = given["state"], given["to"]
    if state == "seen":
        found = seen(options)
        return {
            "changed": False,
            "serves": found.serves,
            "tables": list(found.tables),
            "connections": list(found.connections),
            "msg": f"{found.serves or 'nobody of a migration'} serves",
        }
    if state == "begun":
        free = {node: int(size) for node, size in given["free_bytes"].items()}
        changed = begin(options, free, given["pool_connections"], check)
        return {
            "changed": changed,
            "msg": f"the cluster {'would follow' if check and changed else 'follows'} {options.source}",
        }
    if state == "copied":
        try:
            so_far = copied(options, given["wait_seconds"], given["lag_bytes"], clock)
        except (EntryError, SessionError) as error:
            return {"changed": False, "done": False, "msg": str(error)}
        return {
            "changed": False,
            "done": so_far.done,
            "msg": f"{so_far.tables} of {so_far.of_tables} tables are copied, {so_far.bytes >> 20} MiB; {so_far.behind} bytes of WAL are to follow",
        }
    if state == "compared":
        rows = compared(options, given["table"], clock)
        if not rows.same:
            raise MigrationError(str(rows))
        return {"changed": False, "msg": str(rows)}
    if state == "ready":
        others = unpooled(given["connected"], given["pooled"], given["host_ports"])
        clients = Clients(tuple(given["poolers"]), given["clients_may_end"], others.past)
        before, already, ended = ready(options, to, limits, clients, others.dead, check)
        said = f"{to} {'serves already' if already else 'can take over'}" if before else "no migration has begun"
        dead = f"; {ended} connections that nobody has any more were ended" if ended else ""
        return {"changed": False, "done": already, "serves": before.serves if before else None, "msg": said + dead}
    if state == "switched":
        if check:
            return {"changed": True, "serves": to, "msg": f"{to} would serve"}
        switched = switch(options, to, limits, given["poolers"], given["users"], clock)
        return {
            "changed": True,
            "serves": switched.serves,
            "seconds": switched.seconds,
            "msg": f"{to} serves, {switched.before} follows it",
        }
    return {"changed": True if check else end(options), "msg": "no migration is under way any more"}
