# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database as it was, beside the cluster that goes on: a server to look at, and single tables as a script that puts them next to today's.

A backup is of the whole cluster, so the side instance is too; what is taken from it are tables. They come back under a schema of their own, in which
nothing of today's is overwritten.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_base import run_program
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_instance import Instance
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_recover import recovered
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_restore import Target, moment
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import CHUNK_BYTES, BackupError

SIDE = "side"
SCRIPT = "tables.sql"
# What needs no quotes in SQL, and is no word of a shell's either.
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# A partitioned table is its partitions too.
_PARTS = (
    "SELECT json_agg(json_build_array(quote_ident(nspname), quote_ident(relname))) FROM pg_class JOIN pg_namespace ON relnamespace = pg_namespace.oid"
    " WHERE pg_class.oid = '{table}'::regclass OR pg_class.oid IN (SELECT relid FROM pg_partition_tree('{table}'))"
)


class Wanted(t.NamedTuple):
    """Tables of one database, each with its schema, and the schema under which they are to come back."""

    database: str
    tables: t.Tuple[str, ...]
    schema: str


def wanted_of(database: str, tables: t.Sequence[str], schema: str) -> Wanted:
    """What is asked for; raises ValueError for a name that would need quotes, a table without its schema, or one that is told twice."""
    for what, name in (("database", database), ("schema", schema)):
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{what} is {name!r}; it takes small letters, digits and underscores, at most 63, and begins with no digit"
            )
    for table in tables:
        parts = table.split(".")
        if len(parts) != 2 or not all(map(_NAME.fullmatch, parts)):
            raise ValueError(f"{table!r} is no table's name with its schema, such as public.orders")
        if parts[0] == schema:
            raise ValueError(f"{table} is in the schema {schema} already, under which it is to come back; name another")
    names = [table.split(".")[1] for table in tables]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"{', '.join(twice)} is asked for more than once; take one at a time, each under its own schema"
        )
    return Wanted(database, tuple(tables), schema)


def make(config: Config, target: Target, fetch_command: str, wanted: Wanted) -> t.Dict[str, t.Any]:
    """Recover into `side/data`, and write the tables' script; raises BackupError, and leaves nothing there then.

    The server's settings stay, so that it can be started again to be looked at. Its timeline is no part of the archive's history.
    """
    folder = config.work(SIDE)
    if os.path.exists(folder):
        raise BackupError(f"{folder} is there already: an earlier one; run restore_table.yml with restore_state=absent")
    os.makedirs(folder, 0o700)
    begun = time.monotonic()
    with recovered(config, target, fetch_command, folder) as (plan, instance):
        last = instance.ask("postgres", "SELECT extract(epoch FROM pg_last_xact_replay_timestamp())")
        rows = _take(config, instance, wanted)
    return {
        "backup": plan.chain[-1].name,
        "last_commit": moment(float(last)) if last else None,
        "rows": rows,
        "schema": wanted.schema,
        "script_bytes": os.path.getsize(config.work(SIDE, SCRIPT)) if rows else 0,
        "socket_directory": folder,
        "seconds": round(time.monotonic() - begun, 1),
    }


def _take(config: Config, instance: Instance, wanted: Wanted) -> t.Dict[str, int]:
    """Write the script, and return each table's rows. The tables are where they were afterwards."""
    # Names have been checked by wanted_of: none has a quote.
    if instance.ask("postgres", f"SELECT count(*) FROM pg_database WHERE datname = '{wanted.database}'") == "0":  # noqa: S608
        raise BackupError(f"there was no database {wanted.database} then")
    absent = [name for name in wanted.tables if not instance.ask(wanted.database, f"SELECT to_regclass('{name}')")]
    if absent:
        raise BackupError(f"there was no {', '.join(absent)} in {wanted.database} then; take an earlier moment")
    if not wanted.tables:
        return {}
    rows = {name: int(instance.ask(wanted.database, f"SELECT count(*) FROM {name}")) for name in wanted.tables}  # noqa: S608
    there, back = [f"CREATE SCHEMA {wanted.schema}"], []
    for table in wanted.tables:
        for home, name in json.loads(instance.ask(wanted.database, _PARTS.format(table=table))):
            there.append(f"ALTER TABLE {home}.{name} SET SCHEMA {wanted.schema}")
            back.append(f"ALTER TABLE {wanted.schema}.{name} SET SCHEMA {home}")
    instance.ask(wanted.database, "; ".join(there))
    # Rows and what they are kept in. Without keys to other tables, triggers and grants: those are of the cluster as it was.
    kept = ["--section=pre-data", "--section=data", "--no-owner", "--no-privileges"]
    script = config.work(SIDE, SCRIPT)
    run_program(
        config,
        [
            "pg_dump",
            *instance.entry(wanted.database),
            "--no-password",
            f"--schema={wanted.schema}",
            *kept,
            f"--file={script}",
        ],
    )
    instance.ask(wanted.database, "; ".join([*back, f"DROP SCHEMA {wanted.schema}"]))
    return rows


def stream_script(config: Config, out: t.IO[bytes]) -> None:
    """Write the tables' script out; raises BackupError where there is none."""
    try:
        with open(config.work(SIDE, SCRIPT), "rb") as script:
            shutil.copyfileobj(script, out, CHUNK_BYTES)
    except FileNotFoundError:
        raise BackupError(
            "no tables have been restored here; run playbooks/restore_table.yml from its beginning"
        ) from None


def end(config: Config) -> bool:
    """Remove it; whether there was one. Its server must have ended."""
    folder = config.work(SIDE)
    if not os.path.exists(folder):
        return False
    if os.path.exists(os.path.join(folder, "data", "postmaster.pid")):
        raise BackupError(f"a server runs in {folder} still; stop escala-pg-side")
    shutil.rmtree(folder)
    return True
