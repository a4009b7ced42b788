# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry the application's database between the old server and the cluster, from the cluster's primary, which reaches both.

Each step looks at what is there first, so that a run that was broken off anywhere can be repeated. Who serves is one fact, kept in the cluster: the
poolers follow it, and what else it takes is brought into line with it before anything is done.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import typing as t
from time import sleep

from ansible_collections.escala.ha.plugins.module_utils import _pg_migration_sql as sql
from ansible_collections.escala.ha.plugins.module_utils._ending import EndedError, put_off
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Session, SessionError, conninfo
from ansible_collections.escala.ha.plugins.module_utils._pg_migration import (
    CLUSTER,
    HERE,
    NAME,
    SOURCE,
    Clients,
    End,
    EntryError,
    MigrationError,
    State,
    cannot_begin,
    cannot_switch,
    following_name,
    redefined,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_migration_compare import Compared, compare
from ansible_collections.escala.ha.plugins.module_utils._pg_switchover import Time, refuse_old, wait_let_go

_CONNECT_SECONDS = 10.0
_LOOK_SECONDS = 0.02
# The number of the advisory lock that whoever exchanges the ends holds: two at once would each undo what the other did.
_LOCK = 7_203_311
# That takes its wait for the poolers and the stall that it was allowed.
_OTHERS_LOOKS, _OTHERS_LOOK_SECONDS = 90, 0.5


class Options(t.NamedTuple):
    """Where both ends are. `nodes` are the cluster's addresses, whose primary the old server finds by itself when it follows; `source_address` is that of
    the old server, or of all nodes of the cluster before this one, separated by commas.
    """

    database: str
    socket_directory: str
    port: int
    user: str
    source: str
    source_address: str
    source_port: int
    source_is_cluster: bool
    nodes: t.Tuple[str, ...]
    passfile: str
    ca_file: str
    programs: str

    @property
    def to_source(self) -> str:
        """How the old server is entered, or whichever node is the primary of a cluster before this one."""
        return self._entry(self.source_address, self.source_port, writer=self.source_is_cluster)

    @property
    def to_each_source(self) -> t.List[str]:
        """The same node by node, for whoever may not wait for one that has no power."""
        addresses = self.source_address.split(",")
        return [self._entry(address, self.source_port, writer=self.source_is_cluster) for address in addresses]

    @property
    def to_cluster(self) -> str:
        """How the old server enters the cluster's primary, whichever node that is."""
        return self._entry(",".join(self.nodes), self.port, writer=True)

    def _entry(self, address: str, port: int, *, writer: bool) -> str:
        """One of a cluster's nodes is the writer."""
        info = conninfo(
            host=address,
            port=port,
            user=NAME,
            dbname=self.database,
            sslmode="verify-full",
            sslrootcert=self.ca_file,
            passfile=self.passfile,
            application_name=NAME,
        )
        return f"{info} target_session_attrs=read-write" if writer else info


class Both(t.NamedTuple):
    """A session with each end."""

    source: Session
    cluster: Session

    def serving(self, state: State) -> Session:
        return self.source if state.serves == SOURCE else self.cluster

    def following(self, state: State) -> Session:
        return self.cluster if state.serves == SOURCE else self.source


@contextlib.contextmanager
def the_cluster(options: Options) -> t.Iterator[Session]:
    """Enter the cluster's primary, which is this host; raises MigrationError where it cannot be entered."""
    info = conninfo(
        host=options.socket_directory,
        port=options.port,
        user=options.user,
        dbname=options.database,
        application_name=NAME,
    )
    with _entered("the cluster's primary", [info]) as session:
        yield session


@contextlib.contextmanager
def both(options: Options) -> t.Iterator[Both]:
    """Enter both ends; raises MigrationError where one cannot be entered."""
    with the_cluster(options) as cluster, _entered(options.source, options.to_each_source) as source:
        yield Both(source, cluster)


@contextlib.contextmanager
def _entered(where: str, infos: t.Sequence[str]) -> t.Iterator[Session]:
    session = _first(where, infos)
    try:
        sql.make_alike(session)
        yield session
    finally:
        session.close()


def _first(where: str, infos: t.Sequence[str]) -> Session:
    problems: t.List[str] = []
    for info in infos:
        found = _tried(info, _CONNECT_SECONDS / len(infos))
        if not isinstance(found, SessionError):
            return found
        problems.append(str(found).strip())
    raise EntryError(f"{where} cannot be entered as {NAME}: {'; '.join(problems)}")


def _tried(info: str, limit_seconds: float) -> t.Union[Session, SessionError]:
    try:
        return Session(info, limit_seconds)
    except SessionError as error:
        return error


def state_of(options: Options, cluster: Session) -> t.Optional[State]:
    """What is remembered; raises MigrationError for a migration from another server."""
    state = sql.read_state(cluster)
    # A node of the cluster before this one may be gone by now.
    same = state and set(state.address.split(",")) & set(options.source_address.split(","))
    if state and (not same or state.port != options.source_port):
        raise MigrationError(
            f"a migration from {state.source} ({state.address}:{state.port}) is under way, and this one would be from {options.source}: end that first"
        )
    return state


class Seen(t.NamedTuple):
    """What there is of a migration: `serves` is None where none has begun, `tables` are those that are carried, `connections` those to whoever serves, as
    address:port.
    """

    serves: t.Optional[str]
    tables: t.Tuple[str, ...]
    connections: t.Tuple[str, ...]


def seen(options: Options) -> Seen:
    """Who serves, what is carried, and who is connected."""
    with both(options) as ends:
        state = state_of(options, ends.cluster)
        if state is None:
            return Seen(None, (), ())
        connections = tuple(connection for connection, *_who in sql.look(ends.serving(state)).clients)
        return Seen(state.serves, tuple(sorted(state.definitions)), connections)


def compared(options: Options, table: str, time: Time) -> Compared:
    """Compare a table's rows on both ends."""
    with both(options) as ends:
        state = _begun(state_of(options, ends.cluster))
        return compare(ends.serving(state), ends.following(state), table, time)


def begin(options: Options, free_bytes: t.Mapping[str, int], pool_connections: int, check: bool) -> bool:
    """Have the poolers go to the old server, and the cluster copy and follow it; whether anything was to do."""
    with both(options) as ends:
        state = state_of(options, ends.cluster)
        source = sql.look(ends.source)
        if state is None:
            others = sql.others(ends.cluster)
            _refuse(cannot_begin(source, sql.look(ends.cluster), free_bytes, pool_connections, others))
            if check:
                return True
            state = State(
                options.source,
                options.source_address,
                options.source_port,
                SOURCE,
                source.definitions,
                source.connection_limit,
                options.source_is_cluster,
            )
            # What a migration to another cluster has left, which is no more: where one serves, the old server is shut, and refused.
            sql.unsubscribe(ends.source)
            sql.drop_slot(ends.source)
            sql.unpublish(ends.source)
            source = sql.look(ends.source)
            sql.write_state(ends.cluster, state, state.outside, sql.limit_statement(ends.cluster, 0))
        elif state.serves == CLUSTER or (source.published and sql.has_subscription(ends.cluster)):
            return False
        elif check:
            return True
        _copy_schema(options, ends, source)
        if not source.published:
            sql.publish(ends.source, source.tables)
        if not sql.look(ends.cluster).published:
            sql.publish(ends.cluster, source.tables)
        if not sql.has_subscription(ends.cluster):
            # One of a run that was broken off is of that moment, and what was written since would be copied twice.
            sql.drop_slot(ends.source)
            sql.subscribe(ends.cluster, options.to_source, copy=True)
        return True


def _copy_schema(options: Options, ends: Both, source: End) -> None:
    """All or nothing of the tables' definitions, by the newer version's programs."""
    if set(source.tables) <= set(sql.look(ends.cluster).tables):
        return
    for extension in source.extensions:
        sql.told(ends.cluster, "CREATE EXTENSION IF NOT EXISTS %I", extension)
    with tempfile.TemporaryDirectory(prefix="escala-migration-") as folder:
        dump, kept = os.path.join(folder, "schema"), os.path.join(folder, "kept")
        # What is the platform's own in the cluster before this one is here already.
        ours = "--exclude-schema=escala_*"
        what = ["--schema-only", "--no-owner", "--no-privileges", "--no-publications", "--no-subscriptions", ours]
        _run(options, "pg_dump", "--format=custom", *what, f"--file={dump}", f"--dbname={options.to_source}")
        listed = _run(options, "pg_restore", "--list", dump)
        with open(kept, "w", encoding="utf-8") as file:
            # Whoever makes the application's objects may not make these, which are there by now.
            file.writelines(line for line in listed.splitlines(True) if " EXTENSION " not in line)
        inside = conninfo(host=options.socket_directory, port=options.port, user=options.user, dbname=options.database)
        owner = sql.ask(
            ends.cluster, "SELECT datdba::regrole FROM pg_catalog.pg_database WHERE datname = current_database()"
        )
        whole = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", f"--role={owner}"]
        _run(options, "pg_restore", *whole, f"--use-list={kept}", f"--dbname={inside}", dump)


def _run(options: Options, program: str, *arguments: str) -> str:
    done = subprocess.run(
        [os.path.join(options.programs, program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    if done.returncode != 0:
        raise MigrationError(f"{program}: {done.stderr.strip()[-2000:]}")
    return done.stdout


class Copied(t.NamedTuple):
    """How far the first copy is; sizes in bytes, `behind` of what was written since."""

    done: bool
    tables: int
    of_tables: int
    bytes: int
    behind: int


def copied(options: Options, wait_seconds: float, behind_bytes: int, time: Time) -> Copied:
    """Wait until every table is copied and little is left to follow, for so long at most."""
    deadline = time.clock() + wait_seconds
    with both(options) as ends:
        while True:
            state = _begun(state_of(options, ends.cluster))
            serving = sql.look(ends.serving(state))
            if serving.slot == "lost":
                raise MigrationError(
                    "the old server has removed WAL that was not copied yet (max_slot_wal_keep_size there): end this migration, raise it, begin again"
                )
            if serving.slot is None and state.serves == SOURCE:
                raise MigrationError(
                    f"{options.source} has no replication slot of ours any more, as after a failover there: end this migration and begin it again"
                )
            _refuse(redefined(serving, state))
            tables = sql.copying(ends.following(state))
            ready = sum(found == "r" for _name, found, _size in tables)
            behind = sql.behind(ends.serving(state))
            # What has just followed in the other direction has nothing to copy.
            done = bool(tables) and ready == len(tables) and behind <= behind_bytes
            if done or time.clock() > deadline:
                return Copied(done, ready, len(tables), sum(size for *_more, size in tables), behind)
            time.sleep(0.5)


def _begun(state: t.Optional[State]) -> State:
    if state is None:
        raise MigrationError("no migration is under way: migrate_database.yml begins one")
    return state


def _refuse(reasons: t.Sequence[str]) -> None:
    if reasons:
        raise MigrationError("; ".join(reasons))


class Switched(t.NamedTuple):
    """Who serves now, who did before, and how long it took from the first client that was let go of."""

    serves: str
    before: str
    seconds: float


class Limits(t.NamedTuple):
    """In seconds: how long clients may wait, and how long the poolers are waited for."""

    stall_seconds: float
    begin_seconds: float
    lag_bytes: int


class Ready(t.NamedTuple):
    """Who serves before an exchange, whether it is done already, and how many dead connections were ended for it."""

    before: t.Optional[State]
    done: bool
    ended: int


def ready(
    options: Options,
    to: str,
    limits: Limits,
    clients: Clients,
    dead: t.Collection[str],
    check: bool,
) -> Ready:
    """See that nothing is in the way of an exchange. Connections that are `dead` are ended then.

    A check has begun no migration, and then there is nothing to see.
    """
    with both(options) as ends, _alone(ends.cluster):
        state = state_of(options, ends.cluster)
        if check and state is None:
            return Ready(None, True, 0)
        state = _begun(state)
        if not check:
            # What a run has left that was broken off in the midst of it.
            if sql.look(ends.serving(state)).fenced:
                _let_in_again(ends.serving(state), state)
            follow(options, ends, state)
        if state.serves == to:
            return Ready(state, True, 0)
        serving, following = sql.look(ends.serving(state)), sql.look(ends.following(state))
        behind = sql.behind(ends.serving(state))
        _refuse(cannot_switch(serving, following, state, behind, limits.lag_bytes, clients))
        refuse_old(ends.serving(state), limits.stall_seconds, _CONNECT_SECONDS)
        return Ready(state, False, 0 if check else sql.end_connections(ends.serving(state), dead))


def follow(options: Options, ends: Both, state: State) -> bool:
    """Have the end that does not serve follow the one that does, from the slot that was made when it handed over; whether it was to do."""
    serving, following = ends.serving(state), ends.following(state)
    if sql.has_subscription(following) or sql.look(serving).slot is None:
        return False
    # The end that serves followed until now, and its slot at the other end would keep WAL for nobody.
    sql.unsubscribe(serving)
    sql.drop_slot(following)
    sql.subscribe(following, options.to_source if state.serves == SOURCE else options.to_cluster, copy=False)
    return True


def switch(
    options: Options, to: str, limits: Limits, poolers: t.Sequence[str], users: t.Sequence[str], time: Time
) -> Switched:
    """Have the ends change places as soon as no pooler is connected to the one that serves; raises MigrationError, and nothing has changed then,
    unless it says otherwise.
    """
    with both(options) as ends, _alone(ends.cluster), put_off() as ending:
        state = _begun(state_of(options, ends.cluster))
        if state.serves == to:
            raise MigrationError(f"{to} serves already")
        serving, following = ends.serving(state), ends.following(state)
        wait_let_go(serving, options.database, users, poolers, limits.begin_seconds, time)
        begun = time.clock()
        decided = False
        try:
            with ending.raised():
                _hand_over(serving, following, limits.stall_seconds, time)
            after = state._replace(serves=to)
            decided = True
            if to == CLUSTER:
                sql.write_state(ends.cluster, after, after.outside, sql.limit_statement(ends.cluster, -1))
            else:
                sql.write_state(ends.cluster, after, after.outside)
                sql.limit(ends.source, state.limit)
        except (MigrationError, SessionError, EndedError) as error:
            if decided:
                raise MigrationError(
                    f"whether {to} serves now is not known, and nobody is let in by either: run it again, which brings it to an end: {error}"
                ) from error
            _let_in_again(serving, state)
            raise
        seconds = time.clock() - begun
        try:
            follow(options, ends, after)
        except SessionError as error:
            raise MigrationError(
                f"{to} serves now, and {following_name(after)} does not follow it yet, so there is no way back: mend this and run it again: {error}"
            ) from error
    return Switched(to, following_name(after), round(seconds, 3))


def _hand_over(serving: Session, following: Session, limit_seconds: float, time: Time) -> None:
    """Let nobody in any more, and have the other end whole."""
    deadline = time.clock() + limit_seconds
    sql.limit(serving, 0)
    while sql.end_clients(serving):
        _in_time(deadline, "clients that are ended have not gone", time)
    lsn = sql.position(serving)
    while not sql.confirmed(serving, lsn):
        _in_time(deadline, f"the other end has not confirmed all up to {lsn}", time)
    sql.set_sequences(following, sql.sequences(serving))
    sql.make_slot(following)
    _in_time(deadline, "the other end was slow to get ready", time)


def _in_time(deadline: float, what: str, time: Time) -> None:
    if time.clock() > deadline:
        raise MigrationError(f"{what} in time, so all is as it was")
    time.sleep(_LOOK_SECONDS)


def _let_in_again(serving: Session, state: State) -> None:
    try:
        sql.limit(serving, -1 if state.serves == CLUSTER else state.limit)
    except SessionError as error:
        raise MigrationError(
            f"nothing was handed over, and the end that serves lets nobody in: run it again: {error}"
        ) from error


@contextlib.contextmanager
def _alone(cluster: Session) -> t.Iterator[None]:
    """Wait while another run is in the midst of it, as one whose controller is gone may be; the lock ends with the session."""
    for _look in range(_OTHERS_LOOKS):
        if sql.ask(cluster, f"SELECT pg_try_advisory_lock({_LOCK})") == "t":
            break
        sleep(_OTHERS_LOOK_SECONDS)
    else:
        raise MigrationError(
            f"another run has been in the midst of it for {_OTHERS_LOOKS * _OTHERS_LOOK_SECONDS:g} s; wait until that has ended"
        )
    try:
        yield
    finally:
        with contextlib.suppress(SessionError):
            sql.ask(cluster, f"SELECT pg_advisory_unlock({_LOCK})")


def end(options: Options) -> bool:
    """End it: whoever serves goes on alone, and the other end is free; whether there was one.

    Where the old server serves, the cluster's copy would be in the way of a new migration: it is dropped. Where the cluster serves, the old server may
    be gone by now.
    """
    with the_cluster(options) as cluster, _alone(cluster):
        state = state_of(options, cluster)
        if state is None:
            return False
        with contextlib.ExitStack() as stack:
            sessions = [cluster]
            try:
                sessions.append(stack.enter_context(_entered(options.source, options.to_each_source)))
            except EntryError:
                if state.serves == SOURCE:
                    raise
            for session in sessions:
                sql.unsubscribe(session)
            for session in sessions:
                sql.drop_slot(session)
                sql.unpublish(session)
        if state.serves == SOURCE:
            _drop_copy(cluster)
        # Where the cluster before this one goes on, this one has no data and lets nobody in. Where this one does, the poolers hear it for good.
        left = state.cluster and state.serves == SOURCE
        here = HERE if state.outside == HERE else None
        sql.write_state(cluster, None, here, sql.limit_statement(cluster, 0 if left else -1))
    return True


def _drop_copy(cluster: Session) -> None:
    for schema in sql.schemas(cluster):
        sql.told(cluster, "DROP SCHEMA %I CASCADE", schema)
    sql.told(cluster, "CREATE SCHEMA IF NOT EXISTS public AUTHORIZATION pg_database_owner")
