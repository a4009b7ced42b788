# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether one database can be carried to another server by logical replication, and whether the two may change places, as pure functions.

One of the two ends serves the application, the other follows it and lets nobody in. Both directions are the same: a migration, and its way back.
"""

from __future__ import annotations

import json
import typing as t

# The settings of the cluster's database that hold what is known of a migration, so that every node has them, also after a failover: where the application
# is served, which the guards tell the poolers, and the rest.
OUTSIDE = "escala.outside"
STATE = "escala.migration"
NAME = "escala_migration"
# What poolers that know of a cluster before this one are told instead: that the data have come here, which stays said, or that they are still there.
HERE, PREVIOUS = "here", "previous"

SOURCE, CLUSTER = "source", "cluster"

# What a database takes more of in a copy: indexes that are built, and WAL until each standby has it.
_ROOM = 1.5
_DISK_RESERVE_BYTES = 1 << 30
# One to follow with, and two that copy tables at the same time (max_sync_workers_per_subscription).
SLOTS = 3
# Of what cannot be carried, so many are named.
_NAMED = 5

Json = t.Dict[str, t.Any]


class MigrationError(Exception):
    """Why it does not go on, with the next step."""


class EntryError(MigrationError):
    """An end cannot be entered, which may pass."""


class End(t.NamedTuple):
    """What one server says of the database: positions and sizes in bytes, names as regclass has them.

    `unkeyed` are tables whose rows nothing tells apart. `columns` and `definitions` are digests of each table's columns, and of all that makes it what it
    is. `clients` are all connections of others than superusers, as address:port, with the address and who it is. `slot` is the WAL status of our replication
    slot here, None without one; `subscribed`, whether this end follows the other.
    """

    version: int
    encoding: str
    locale: str
    wal_level: str
    size_bytes: int
    connection_limit: int
    tables: t.Tuple[str, ...]
    unkeyed: t.Tuple[str, ...]
    unlogged: t.Tuple[str, ...]
    foreign: t.Tuple[str, ...]
    large_objects: int
    extensions: t.Tuple[str, ...]
    available: t.Tuple[str, ...]
    columns: t.Mapping[str, str]
    definitions: t.Mapping[str, str]
    slots_free: int
    senders_free: int
    connections_free: int
    superusers: t.Tuple[str, ...]
    clients: t.Tuple[t.Tuple[str, str, str], ...]
    prepared: int
    published: bool
    subscribed: bool
    slot: t.Optional[str]

    @property
    def fenced(self) -> bool:
        """Whether it lets nobody in but administrators."""
        return self.connection_limit == 0


def end_from(value: Json) -> End:
    """From the answer to _pg_migration_sql's question."""
    found: Json = {key: _fixed(one) for key, one in value.items()}
    return End(**found)


def _fixed(value: t.Any) -> t.Any:
    return tuple(map(_fixed, value)) if isinstance(value, list) else value


class State(t.NamedTuple):
    """What is remembered of a migration that has begun.

    `serves` is the end that serves the application, `definitions` the digests of the tables when they were copied, `limit` the old server's connection
    limit before it was fenced the first time. `cluster`: the source is the cluster before this one, and `address` has all its nodes, separated by commas.
    """

    source: str
    address: str
    port: int
    serves: str
    definitions: t.Mapping[str, str]
    limit: int = -1
    cluster: bool = False

    @property
    def outside(self) -> t.Optional[str]:
        """What the poolers are told of where the application is served; nothing where it is served here, and they know no other cluster."""
        if self.cluster:
            return PREVIOUS if self.serves == SOURCE else HERE
        return f"{self.address}:{self.port}" if self.serves == SOURCE else None


def state_text(state: State) -> str:
    return json.dumps(state._asdict(), separators=(",", ":"), sort_keys=True)


def state_from(text: t.Optional[str]) -> t.Optional[State]:
    """None where no migration has begun; raises MigrationError for what is none of ours."""
    if not text:
        return None
    try:
        return State(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise MigrationError(
            f"{STATE} of the cluster's database cannot be read ({error}): another version wrote it"
        ) from error


def cannot_carry(source: End) -> t.List[str]:
    """What logical replication leaves behind, or could not tell apart."""
    said = []
    if source.fenced:
        said.append(
            "the old server's database lets nobody in, as an earlier migration leaves it: if it is what you want to carry,"
            " ALTER DATABASE ... CONNECTION LIMIT -1"
        )
    if source.unkeyed:
        said.append(
            f"{_some(source.unkeyed)} without a primary key or another replica identity: changes of their rows could not be carried; add a key, or"
            " ALTER TABLE ... REPLICA IDENTITY FULL where nothing is one"
        )
    if source.unlogged:
        said.append(f"{_some(source.unlogged)} unlogged: nothing of them is replicated; ALTER TABLE ... SET LOGGED")
    if source.foreign:
        said.append(
            f"{_some(source.foreign)} foreign: their rows are elsewhere; drop them here and make them again in the cluster"
        )
    if source.large_objects:
        said.append(f"{source.large_objects} large objects: they are not replicated; store them as bytea, or as files")
    return said


def _not_alike(source: End, cluster: End) -> t.List[str]:
    """What the two databases have otherwise, so that rows would change or not arrive."""
    said = []
    if source.version > cluster.version:
        said.append(
            f"the old server has PostgreSQL {source.version}, and the cluster {cluster.version}, which cannot read what a newer one has:"
            " begin the cluster anew with postgresql_version as new at least"
        )
    if source.encoding != cluster.encoding:
        said.append(
            f"the old server's database is in {source.encoding}, the cluster's in {cluster.encoding}: text would change"
        )
    if source.locale != cluster.locale:
        said.append(
            f"the old server's database sorts by {source.locale}, the cluster's by {cluster.locale}: make the cluster's anew with the same"
        )
    return said


def cannot_begin(
    source: End, cluster: End, free_bytes: t.Mapping[str, int], pool_connections: int, others: t.Sequence[str]
) -> t.List[str]:
    """Why a migration may not begin, all of it at once; `others` are objects that the cluster's database has already."""
    said = cannot_carry(source)
    if others:
        said.append(
            f"the cluster's database is not empty: it has {_some(others)}; drop them, or have another database made"
        )
    for where, end in (("the old server", source), ("the cluster", cluster)):
        if end.wal_level != "logical":
            said.append(
                f"{where} has wal_level = {end.wal_level}: it must be logical, which takes a restart there at a quiet moment"
            )
        if min(end.slots_free, end.senders_free) < SLOTS:
            said.append(
                f"{where} has {end.slots_free} replication slots and {end.senders_free} senders left, a copy takes {SLOTS}:"
                " raise max_replication_slots and max_wal_senders"
            )
    said += _not_alike(source, cluster)
    missing = sorted(set(source.extensions) - set(cluster.available))
    if missing:
        said.append(f"the cluster's nodes lack the extensions {', '.join(missing)}: install their packages on each")
    wanted = int(source.size_bytes * _ROOM) + _DISK_RESERVE_BYTES
    small = [f"{node} has {_mib(free)} MiB" for node, free in sorted(free_bytes.items()) if free < wanted]
    if small:
        said.append(
            f"the database has {_mib(source.size_bytes)} MiB and needs {_mib(wanted)} MiB free on each node: {', '.join(small)}"
        )
    if source.connections_free < pool_connections:
        said.append(
            f"the poolers may make {pool_connections} connections to the old server, which has {source.connections_free} left: raise max_connections there"
        )
    return said


class Clients(t.NamedTuple):
    """Who goes along: the clients of the poolers at these addresses. Whether others `may_end`, who are shut out then.

    `past_poolers` are connections, as address:port, that no pooler knew of: one from a pooler's address would be waited for in vain.
    """

    poolers: t.Tuple[str, ...]
    may_end: bool
    past_poolers: t.FrozenSet[str]


class Unpooled(t.NamedTuple):
    """Connections to the end that serves, as address:port: those that go `past` the pooler of their host, and those that are `dead`, which nobody has."""

    past: t.FrozenSet[str]
    dead: t.FrozenSet[str]


def unpooled(
    connected: t.Iterable[str], pooled: t.Iterable[str], host_ports: t.Mapping[str, t.Iterable[int]]
) -> Unpooled:
    """Tell apart what the poolers did not know, when they were asked after `connected` was seen.

    `host_ports` are the ports that anybody on a pooler's host used then, by its address. A connection that only the server knows is one whose host has
    lost its power, or its way to the server, and that lasts until the server tries it: for two hours, by default.
    """
    others = set(connected) - set(pooled)
    alive = {f"{address}:{port}" for address, ports in host_ports.items() for port in ports}
    dead = {one for one in others - alive if one.rpartition(":")[0] in host_ports}
    return Unpooled(frozenset(others - dead), frozenset(dead))


def cannot_switch(
    serving: End,
    following: End,
    state: State,
    lag_bytes: int,
    lag_limit_bytes: int,
    clients: Clients,
) -> t.List[str]:
    """Why the end that follows may not take over now."""
    said = []
    if not following.subscribed or serving.slot is None:
        said.append(f"{following_name(state)} does not follow any more; end this migration and begin it again")
    elif serving.slot == "lost":
        said.append(
            f"{following_name(state)} was away for longer than max_slot_wal_keep_size allows, and what it missed is gone: end this migration and begin it again"
        )
    if not following.fenced:
        said.append(
            f"somebody has opened {following_name(state)}'s database since it was left (its connection limit is {following.connection_limit}, and was 0):"
            " what was written there nobody has; it cannot be gone back to"
        )
    said += redefined(serving, state)
    differ = changed_tables(serving.columns, following.columns)
    if differ:
        said.append(f"{_some(differ)} have other columns on the two ends")
    if lag_bytes > lag_limit_bytes:
        said.append(
            f"replication is {lag_bytes} bytes behind, {lag_limit_bytes} are allowed: wait until it has caught up"
        )
    past = sorted(
        {
            who
            for connection, address, who in serving.clients
            if address in clients.poolers and connection in clients.past_poolers
        }
    )
    if past:
        said.append(
            f"{_some(past)} do not come by the pooler of their host, and nothing can be handed over while they are connected:"
            " have the application there use the pooler (deploy_app.yml), or end them"
        )
    strangers = sorted({who for _connection, address, who in serving.clients if address not in clients.poolers})
    if strangers and not clients.may_end:
        said.append(
            f"{_some(strangers)} do not come by a pooler, and would be shut out: have them use it or end them, or set"
            " migrate_database_clients_may_end: true"
        )
    if serving.prepared:
        said.append(
            f"{serving.prepared} prepared transactions are open, and would stay so: COMMIT PREPARED or ROLLBACK PREPARED them"
        )
    if serving.superusers:
        said.append(
            f"{_some(serving.superusers)} are connected as superusers, whom nothing keeps from writing while the ends change places: end them"
        )
    return said


def redefined(serving: End, state: State) -> t.List[str]:
    """What is not what was copied any more: its rows cannot even be compared."""
    changed = changed_tables(state.definitions, serving.definitions)
    if not changed:
        return []
    return [f"{_some(changed)} changed their definition since they were copied: end this migration and begin it again"]


def following_name(state: State) -> str:
    """The end that does not serve, for a person."""
    return "the cluster" if state.serves == SOURCE else state.source


def changed_tables(before: t.Mapping[str, str], now: t.Mapping[str, str]) -> t.List[str]:
    """Tables that are new, gone, or not what they were."""
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _some(names: t.Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _mib(size: int) -> int:
    return size >> 20
