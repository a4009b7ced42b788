# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A planned switchover: who takes over, when nothing is in the way, and the moment in which all clients wait.

The primary waits until the poolers have let go of it, and each pooler waits until its follower leads to the new one. So they need nobody between
them, and clients wait for what the change itself takes.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.escala.ha.plugins.module_utils import _pg_bounded
from ansible_collections.escala.ha.plugins.module_utils._ending import EndedError, put_off
from ansible_collections.escala.ha.plugins.module_utils._pgbouncer import ConsoleError, Database, Row, parse_databases

Node = t.Mapping[str, t.Any]

# In seconds: between looks while clients wait.
LOOK_SECONDS = 0.02
_CHECKPOINT_SECONDS = 120.0
# How often a pooler that does not answer is asked to resume, and how long to wait in between.
_RESUMES = 5
_RESUME_AGAIN_SECONDS = 1.0

# The options of the module postgresql_switchover.
SWITCHOVER_ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "state": {"type": "str", "choices": ["ready", "handed_over"], "required": True},
    "primary": {"type": "str"},
    "reason": {"type": "str", "default": "nobody was asked"},
    "nodes": {"type": "list", "elements": "dict", "default": []},
    "target": {"type": "str", "default": ""},
    "stall_seconds": {"type": "float", "default": 3},
    "lag_bytes": {"type": "int", "default": 1048576},
    "database": {"type": "str", "default": "app"},
    "users": {"type": "list", "elements": "str", "default": ["app", "escala_probe"]},
    "poolers": {"type": "list", "elements": "str", "default": []},
    "begin_seconds": {"type": "float", "default": 30},
    "socket_directory": {"type": "path", "default": "/var/run/postgresql"},
    "port": {"type": "int", "default": 5432},
    "user": {"type": "str", "default": "escala_guard"},
}


class SwitchoverError(Exception):
    """Why there is no switchover, with nothing changed by then unless the message says so."""


class Way(t.NamedTuple):
    """From whom to whom."""

    primary: str
    target: str
    target_address: str


class Session(t.Protocol):
    """A session with the primary, as in _pg_bounded."""

    def execute(self, statement: str, values: t.Sequence[t.Any] = (), *, limit_seconds: float) -> t.Any: ...


class Console(t.Protocol):
    """A session with a pooler's admin console, as in _pgbouncer."""

    def ask(self, command: str, limit_seconds: float = 2.0) -> t.List[Row]: ...
    def begin(self, command: str) -> None: ...
    def end(self, limit_seconds: float) -> t.List[Row]: ...


class Time(t.NamedTuple):
    """The clock, and how to wait."""

    clock: t.Callable[[], float]
    sleep: t.Callable[[float], None]


def choose(primary: t.Optional[str], reason: str, nodes: t.Sequence[Node], wanted: str, lag_bytes: int) -> Way:
    """Who takes over from whom: the node that was asked for, or the standby that is furthest.

    `nodes` is what postgresql_replication_info says of each. Raises SwitchoverError for a node that could not take over at once, or when none could.
    """
    if primary is None:
        raise SwitchoverError(f"there is no primary to switch from: {reason}")
    by_name = {node["name"]: node for node in nodes}
    if wanted and wanted not in by_name:
        raise SwitchoverError(f"{wanted} is no data node; there are {', '.join(sorted(by_name))}")
    if wanted == primary:
        raise SwitchoverError(f"{wanted} is the primary already")
    streams = {row["name"]: row for row in by_name[primary]["standbys"] or []}
    candidates = [by_name[wanted]] if wanted else [node for node in nodes if node["name"] != primary]
    faults = {node["name"]: _fault(node, streams.get(node["name"]), lag_bytes) for node in candidates}
    fit = [node for node in candidates if not faults[node["name"]]]
    if not fit:
        found = "; ".join(f"{name} {fault}" for name, fault in sorted(faults.items()))
        raise SwitchoverError(f"nobody can take over from {primary}: {found or 'there is no other node'}")
    best = max(fit, key=lambda node: t.cast(int, node["lsn"] or 0))
    return Way(primary, best["name"], best["address"])


def _fault(node: Node, stream: t.Optional[Node], lag_bytes: int) -> str:
    """Why a node could not take over at once, empty when it could."""
    if not node["reachable"]:
        return f"does not answer ({node['problem']})"
    if not node["in_recovery"]:
        return "is out of recovery itself"
    if stream is None or stream["state"] != "streaming":
        return f"does not stream ({stream['state'] if stream else 'not connected'})"
    if stream["sync_state"] not in ("quorum", "sync"):
        return f"is no synchronous standby ({stream['sync_state']})"
    if (node["lag_bytes"] or 0) > lag_bytes:
        return f"is {node['lag_bytes']} bytes behind, and {lag_bytes} are allowed"
    return ""


_OLD = """SELECT pid, coalesce(usename, ''), coalesce(application_name, ''), round(extract(epoch FROM clock_timestamp() - xact_start))::text
    FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
    AND xact_start < clock_timestamp() - make_interval(secs => $1) ORDER BY xact_start"""
_HELD = """SELECT count(*), coalesce(string_agg(DISTINCT host(client_addr), ', '), '') FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND datname = $1 AND usename = ANY ($2::text[]) AND client_addr = ANY ($3::inet[])"""


# How much of the segment is free yet, in bytes, where one is filled up when the server stops.
_FREE = """SELECT size - (pg_current_wal_insert_lsn() - '0/0') % size
    FROM pg_size_bytes(current_setting('wal_segment_size')) AS size WHERE current_setting('archive_mode') <> 'off'"""
_FILL = "SELECT pg_logical_emit_message(false, 'escala_switchover', repeat(' ', $1::int))"
# What stays free for the transactions until clients wait.
_STAYS_FREE_BYTES = 3 << 20
_AT_ONCE_BYTES = 1 << 20


def prepare(session: Session, stall_seconds: float, limit_seconds: float) -> None:
    """Refuse while a transaction is older than clients may wait, and do now what would have to be waited for later.

    That is a checkpoint; and, where WAL is archived, most of what the segment takes that a server fills up with nothing when it stops, and sends to
    its standbys.
    """
    refuse_old(session, stall_seconds, limit_seconds)
    session.execute("CHECKPOINT", limit_seconds=limit_seconds)
    for [free] in session.execute(_FREE, limit_seconds=limit_seconds).rows:
        for size in pieces(int(free) - _STAYS_FREE_BYTES, _AT_ONCE_BYTES):
            session.execute(_FILL, [str(size)], limit_seconds=limit_seconds)


def refuse_old(session: Session, stall_seconds: float, limit_seconds: float) -> None:
    """Raises SwitchoverError while a transaction is older than clients may wait."""
    old = session.execute(_OLD, [stall_seconds], limit_seconds=limit_seconds).rows
    if old:
        found = "; ".join(f"pid {pid} of {user} ({name or 'no name'}) for {age} s" for pid, user, name, age in old[:5])
        raise SwitchoverError(
            f"{len(old)} transactions are older than clients may wait, {stall_seconds:g} s: {found}; let them end, or end them with pg_terminate_backend"
        )


def pieces(total: int, most: int) -> t.List[int]:
    """A size in equal parts and what is left over; none for nothing or less."""
    whole, rest = divmod(max(total, 0), most)
    return [most] * whole + ([rest] if rest else [])


def wait_let_go(
    session: Session,
    database: str,
    users: t.Sequence[str],
    poolers: t.Sequence[str],
    limit_seconds: float,
    time: Time,
) -> None:
    """Return when no pooler has a connection left; raises SwitchoverError when one still has when the time is over."""
    deadline = time.clock() + limit_seconds
    values = [database, _pg_bounded.array(users), _pg_bounded.array(poolers)]
    while True:
        [[count, addresses]] = session.execute(_HELD, values, limit_seconds=limit_seconds).rows
        if count == "0":
            return
        if time.clock() > deadline:
            raise SwitchoverError(
                f"{addresses} still had {count} connections after {limit_seconds:g} s, so nothing was handed over:"
                " the pool there was not paused, or a client goes past it"
            )
        time.sleep(LOOK_SECONDS)


class Held(t.NamedTuple):
    """For how long clients waited at a pooler, and whether it leads to the new primary."""

    seconds: float
    moved: bool
    hosts: t.Tuple[str, ...]


def hold(
    connect: t.Callable[[], Console],
    database: str,
    target: str,
    stall_seconds: float,
    limit_seconds: float,
    time: Time,
    also: t.Sequence[str] = (),
) -> Held:
    """Pause a pool, wait until it leads to the target's address, and resume it: in any case, after the limit at the latest, and when told to end.

    Those that are held `also` are paused and resumed with it, wherever they lead.

    Raises SwitchoverError when transactions did not end within the stall that is allowed; clients go on as before then.
    """
    console = connect()
    for name in (database, *also):
        if _look(console, name).paused:
            raise SwitchoverError(
                f"{name} is paused already; somebody else is at work here, or `RESUME {name}` was forgotten"
            )
    begun = time.clock()
    with put_off() as ending:
        try:
            with ending.raised():
                for name in (database, *also):
                    _pause(console, name, stall_seconds)
                now = _look(console, database)
                while now.hosts != (target,) and time.clock() - begun < limit_seconds:
                    time.sleep(LOOK_SECONDS)
                    now = _look(console, database)
        except EndedError as ended:
            raise SwitchoverError(f"{database} goes on before it was led to {target}: {ended}") from ended
        finally:
            _resume_all(connect, (database, *also), time)
    return Held(time.clock() - begun, now.hosts == (target,), now.hosts)


def _pause(console: Console, database: str, stall_seconds: float) -> None:
    console.begin(f'PAUSE "{database}"')
    try:
        console.end(stall_seconds)
    except ConsoleError as error:
        raise SwitchoverError(f"{database} was not paused within {stall_seconds:g} s, and goes on: {error}") from error


def _resume_all(connect: t.Callable[[], Console], databases: t.Sequence[str], time: Time) -> None:
    """One that cannot be resumed keeps no other one waiting."""
    with contextlib.ExitStack() as stack:
        for name in reversed(databases):
            stack.callback(_resume, connect, name, time)


def _resume(connect: t.Callable[[], Console], database: str, time: Time) -> None:
    """Have clients go on; a pooler that does not answer is asked again."""
    problem: t.Optional[ConsoleError] = None
    for _try in range(_RESUMES):
        problem = _ask_to_resume(connect, database)
        if problem is None:
            return
        time.sleep(_RESUME_AGAIN_SECONDS)
    raise SwitchoverError(
        f"{database} may be paused still, and its clients wait; `RESUME {database}` on the console ends that: {problem}"
    ) from problem


def _ask_to_resume(connect: t.Callable[[], Console], database: str) -> t.Optional[ConsoleError]:
    """Resume it unless it goes on already, and return why not."""
    try:
        # On a session of its own, since the one that paused may wait for an answer still.
        console = connect()
        if _look(console, database).paused:
            console.ask(f'RESUME "{database}"')
    except ConsoleError as error:
        return error
    return None


def _look(console: Console, database: str) -> Database:
    for found in parse_databases(console.ask("SHOW DATABASES")):
        if found.name == database:
            return found
    raise SwitchoverError(f"PgBouncer has no database {database}")


def _local(options: t.Mapping[str, t.Any]) -> _pg_bounded.Session:
    info = _pg_bounded.conninfo(
        host=options["socket_directory"],
        port=options["port"],
        user=options["user"],
        dbname="postgres",
        application_name="escala_switchover",
    )
    return _pg_bounded.Session(info, options["stall_seconds"])


def get_ready(options: t.Mapping[str, t.Any], check_mode: bool) -> Way:
    """Choose who takes over, and see that nothing is in the way; raises SwitchoverError and SessionError."""
    way = choose(options["primary"], options["reason"], options["nodes"], options["target"], options["lag_bytes"])
    if not check_mode:
        session = _local(options)
        try:
            prepare(session, options["stall_seconds"], _CHECKPOINT_SECONDS)
        finally:
            session.close()
    return way


def release(options: t.Mapping[str, t.Any], time: Time) -> None:
    """Return when the poolers have let go of this primary; raises SwitchoverError and SessionError."""
    session = _local(options)
    try:
        wait_let_go(session, options["database"], options["users"], options["poolers"], options["begin_seconds"], time)
    finally:
        session.close()
