# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where one PgBouncer sends its clients, from what the data nodes say and where it sent them until now, as pure functions.

Where nobody is known to be the writer, the last one stays: the guards may be away while PostgreSQL is well, and a writer that was replaced
can acknowledge nothing (see docs/postgresql-guard-rules.md), so a route that is too old makes clients fail or wait and never loses a row.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import known
from ansible_collections.escala.ha.plugins.module_utils._pg_migration import HERE
from ansible_collections.escala.ha.plugins.module_utils._pg_quorum import Rules
from ansible_collections.escala.ha.plugins.module_utils._pg_routing import Route, route
from ansible_collections.escala.ha.plugins.module_utils._pg_state import Heard, NodeState, lately

FORMAT = 1
WRITER, READERS = "writer", "readers"

# A folder that nobody makes: PgBouncer fails to connect at once, and its log says what it looked for.
NOWHERE = "/run/escala-pg-follow/nowhere"

Heards = t.Mapping[str, Heard]
_SAFE = re.compile(r"[A-Za-z0-9_.:-]+")


class Node(t.NamedTuple):
    """A data node: where its PostgreSQL and its guard listen."""

    name: str
    address: str
    port: int
    guard_port: int


class Pooled(t.NamedTuple):
    """One of PgBouncer's databases: whom it goes to, and how many connections it may have there, in all and for each user."""

    name: str
    to: str
    database: str
    pool_mode: str
    pool_size: int
    max_connections: int


class Config(t.NamedTuple):
    """The follower's configuration, with times in seconds."""

    nodes: t.Tuple[Node, ...]
    databases: t.Tuple[Pooled, ...]
    ca_file: str
    certificate_file: str
    key_file: str
    databases_file: str
    socket_directory: str
    port: int
    state_file: str
    metrics_file: str
    lag_limit_seconds: float
    poll_seconds: float
    request_timeout_seconds: float
    silent_seconds: float
    # How long clients are held back at most while there is no writer.
    hold_seconds: float
    # How long a standby must be well before it is read from again.
    steady_seconds: float
    # This host's place among those that have a pooler, from 0: they share the standbys by it.
    reader_turn: int = 0
    # The cluster that served before this one, and does until this one says that the data are here.
    previous_nodes: t.Tuple[Node, ...] = ()

    @property
    def all_nodes(self) -> t.Tuple[Node, ...]:
        return self.nodes + self.previous_nodes

    def rules(self, nodes: t.Sequence[Node]) -> Rules:
        return Rules(nodes=tuple(node.name for node in nodes), silent_seconds=self.silent_seconds)

    def node(self, name: str) -> Node:
        return next(node for node in self.all_nodes if node.name == name)


class Course(t.NamedTuple):
    """Where clients are sent, and what is remembered from round to round; `held_since` is when they began to be held back.

    `disputed`: two nodes claim to be the writer, so nobody is. `hold_spent`: they have been held back for as long as allowed.
    `outside`: the writer says that the application's data are on that server still, an address and a port, so all clients go there; or, as HERE, that
    they have come to this cluster. `previous` is the course of the cluster that served before.
    """

    writer: t.Optional[str] = None
    readers: t.Tuple[str, ...] = ()
    disputed: bool = False
    held_since: t.Optional[float] = None
    hold_spent: bool = False
    well_since: t.Mapping[str, float] = {}
    outside: t.Optional[str] = None
    reason: str = "no node was heard yet"
    why: t.Mapping[str, str] = {}
    previous: t.Optional[Course] = None

    @property
    def served(self) -> Course:
        """The course that clients take. The previous cluster's as long as none has said that the data are here: it lets nobody in when they are."""
        return self if self.previous is None or self.outside == HERE else self.previous

    @property
    def elsewhere(self) -> t.Optional[str]:
        """The one server outside of any cluster that clients are sent to."""
        return None if self.outside == HERE else self.outside

    @property
    def held(self) -> bool:
        return self.held_since is not None

    @property
    def target(self) -> t.Tuple[t.Optional[str], t.Tuple[str, ...]]:
        """What PgBouncer's configuration depends on."""
        return (None if self.disputed else self.writer), self.readers


def judge(before: Course, heard: Heards, config: Config, now: float) -> Course:
    """The next round's course; `now` is on the clock that `held_since` is on."""
    course = _judge(before, heard, config, config.nodes, now)
    if not config.previous_nodes:
        return course
    return course._replace(
        previous=_judge(before.previous or Course(), heard, config, config.previous_nodes, now)._replace(outside=None)
    )


def _judge(before: Course, all_heard: Heards, config: Config, nodes: t.Sequence[Node], now: float) -> Course:
    """The same of one cluster."""
    heard = {node.name: all_heard[node.name] for node in nodes if node.name in all_heard}
    found = route(heard, config.rules(nodes), config.lag_limit_seconds)
    fresh = lately(heard, config.silent_seconds)
    disputed = found.writer is None and len(_newest_claims(fresh)) > 1
    lost = "" if found.writer else _lost(before.writer, fresh)
    outside = heard[found.writer].state.outside if found.writer else before.outside  # type: ignore[union-attr]
    if config.previous_nodes and not outside:
        outside = _last_said(fresh)
    # Whoever is served elsewhere waits for nobody here.
    served = found.writer is not None or outside not in (None, HERE)
    held_since, spent = _hold(before, bool(disputed or lost), served, config.hold_seconds, now)
    well_since = {name: before.well_since.get(name, now) for name in found.readers}
    return Course(
        writer=found.writer or before.writer,
        readers=_readers(before, found, well_since, config.steady_seconds, now),
        disputed=disputed,
        held_since=held_since,
        hold_spent=spent,
        well_since=well_since,
        outside=outside,
        reason="; ".join(filter(None, [found.reason, lost])),
        why=found.why,
    )


def knows(course: Course, heard: Heards, config: Config) -> bool:
    """Whether the course is better than what PgBouncer was told before: whom clients follow was heard, and who serves is known or cannot be asked."""
    ours = [heard[node.name] for node in config.nodes]
    following = ours if course.served is course else [heard[node.name] for node in config.previous_nodes]
    told = course.outside is not None or any(one.state and one.state.role in ("primary", "standby") for one in ours)
    asked = told or all(one.age_seconds >= config.silent_seconds for one in ours)
    return asked and any(one.state for one in following)


def _last_said(fresh: t.Mapping[str, NodeState]) -> t.Optional[str]:
    """Where the data are by whoever is furthest, also where nobody is the writer: what the writer last said its standbys have too."""
    serving = [state for state in fresh.values() if state.role in ("primary", "standby")]
    return max(serving, key=lambda state: state.rank).outside if serving else None


def _newest_claims(fresh: t.Mapping[str, NodeState]) -> t.List[str]:
    claims = [state for state in fresh.values() if state.is_writer]
    newest = max((state.timeline for state in claims), default=0)
    return [state.node for state in claims if state.timeline == newest]


def _lost(writer: t.Optional[str], fresh: t.Mapping[str, NodeState]) -> str:
    """How it is known that the last writer is none any more, or nothing: silence of its guard alone is no proof, nor is ours."""
    if writer is None:
        return ""
    state = fresh.get(writer)
    others = [other for name, other in fresh.items() if name != writer]
    if state:
        if not state.is_writer:
            return f"{writer} is {state.role} and takes no writes"
        later = [other.node for other in others if other.floor > state.timeline]
        return f"{later[0]} knows a later timeline than {writer}" if later else ""
    if others and not any(other.upstream == writer and other.streaming for other in others):
        return f"{writer} does not answer, and nobody streams from it"
    return ""


def _hold(
    before: Course, wanted: bool, found: bool, limit_seconds: float, now: float
) -> t.Tuple[t.Optional[float], bool]:
    if found:
        return None, False
    if not wanted or before.hold_spent:
        return None, before.hold_spent
    since = now if before.held_since is None else before.held_since
    return (None, True) if now - since >= limit_seconds else (since, False)


def _readers(
    before: Course, found: Route, well_since: t.Mapping[str, float], steady_seconds: float, now: float
) -> t.Tuple[str, ...]:
    """Who is not well goes at once, who comes back must have been well for a while: each change makes connections anew."""
    steady = tuple(name for name in found.readers if name in before.readers or now - well_since[name] >= steady_seconds)
    if steady:
        return steady
    # The writer serves readers while there is no standby, and may do so a moment longer.
    if found.writer and before.readers == (found.writer,):
        return before.readers
    return found.readers or before.readers


def host(pooled: Pooled, course: Course, config: Config) -> t.Optional[Node]:
    """The node that one of PgBouncer's databases goes to; none while nothing is known, or two claim it.

    One of the standbys for each pooler: given several, PgBouncer to 1.24 looks for all their names together in a server's certificate, and enters none
    (https://github.com/pgbouncer/pgbouncer/issues/1300).
    """
    course = course.served
    writer, readers = course.target
    if course.elsewhere:
        address, _colon, port = course.elsewhere.rpartition(":")
        return Node("outside", address, int(port), 0) if _SAFE.fullmatch(address) and port.isdecimal() else None
    name = writer if pooled.to == WRITER else _reader(readers, config)
    return config.node(name) if name else None


def _reader(readers: t.Sequence[str], config: Config) -> t.Optional[str]:
    return readers[config.reader_turn % len(readers)] if readers else None


def databases_text(course: Course, config: Config) -> str:
    """The file that PgBouncer includes among its databases."""
    lines = ["; Written by escala-pg-follow, which knows who is primary: what is changed here is overwritten."]
    for pooled in config.databases:
        node = host(pooled, course, config)
        address, port = (node.address, node.port) if node else (NOWHERE, config.nodes[0].port)
        lines.append(
            f"{pooled.name} = host={address} port={port} dbname={pooled.database} pool_mode={pooled.pool_mode}"
            f" pool_size={pooled.pool_size} max_db_connections={pooled.max_connections}"
        )
    return "\n".join(lines) + "\n"


def change_line(before: Course, after: Course) -> str:
    """What a change means for clients, as a line for the journal with its priority as systemd reads it; empty without a change."""
    before, after = before.served, after.served
    news = []
    if after.disputed and not before.disputed:
        return f"<3>writes go nowhere, clients wait: {after.reason}"
    if after.target[0] != before.target[0]:
        news.append(f"writes go to {after.writer} (before: {before.target[0] or 'nowhere'})")
    if after.elsewhere != before.elsewhere:
        news.append(
            f"the application's data are at {after.elsewhere}, so all go there"
            if after.elsewhere
            else "the application's data are here"
        )
    if after.readers != before.readers:
        news.append(f"reads go to one of {', '.join(after.readers)} (before: {', '.join(before.readers) or 'nowhere'})")
    if after.held and not before.held:
        return f"<4>{'; '.join([*news, f'clients of {after.writer} wait'])}: {after.reason}"
    if before.held and not after.held:
        news.append("clients go on" if not after.hold_spent else "clients have waited long enough and get errors")
    left_out = "; ".join(f"{name}: {why}" for name, why in after.why.items())
    level = "<4>" if after.hold_spent else "<6>"
    return f"{level}{'; '.join(news)}: {after.reason}{f' ({left_out})' if left_out else ''}" if news else ""


def document(course: Course, heard: Heards, problem: t.Optional[str], now: float) -> t.Dict[str, t.Any]:
    """What is written for others to read; `now` in seconds since 1970, `problem` is PgBouncer's."""
    return {
        "format": FORMAT,
        "checked_at": round(now, 3),
        **_said(course),
        "previous": _said(course.previous) if course.previous else None,
        "nodes": {
            name: {
                "heard_seconds_ago": round(one.age_seconds, 2),
                "role": one.state.role if one.state else None,
                "timeline": one.state.timeline if one.state else None,
                "replay_lag_seconds": one.state.replay_lag_seconds if one.state else None,
            }
            for name, one in heard.items()
        },
        "pgbouncer_problem": problem,
    }


def _said(course: Course) -> t.Dict[str, t.Any]:
    writer, readers = course.target
    return {
        "writer": writer,
        "last_writer": course.writer,
        "readers": list(readers),
        "outside": course.outside,
        "held": course.held,
        "reason": course.reason,
        "left_out": dict(course.why),
    }


def course_from(text: str, config: Config) -> Course:
    """What the follower before this one knew; what cannot be read, or is of other nodes, is forgotten."""
    try:
        said = json.loads(text)
        # A cluster that has become the previous one was the only one until now.
        previous = _remembered(said.get("previous") or said, config.previous_nodes) if config.previous_nodes else None
        course = _remembered(said, config.nodes)
    except (AttributeError, ValueError, KeyError, TypeError):
        return Course()
    return course._replace(previous=previous and previous._replace(outside=None))


def _remembered(said: t.Mapping[str, t.Any], nodes: t.Sequence[Node]) -> Course:
    writer, readers, outside = said["last_writer"], tuple(said["readers"]), said.get("outside")
    names, known_then = {node.name for node in nodes}, {*readers, *([writer] if writer else [])}
    if not known_then <= names:
        # One of them has left; where the data are holds all the same, unless it is another cluster's.
        return Course(outside=outside if known_then & names else None)
    return Course(writer=writer, readers=readers, disputed=bool(writer and not said.get("writer")), outside=outside)


class Counters(t.NamedTuple):
    """What happened since the follower started; the last change in seconds since 1970, 0 for none."""

    changes: int = 0
    cut: int = 0
    changed_at: float = 0.0


def metrics_text(
    course: Course, heard: Heards, problem: t.Optional[str], counters: Counters, names: t.Iterable[str]
) -> str:
    """The same for Prometheus."""
    course = course.served
    writer, readers = course.target
    order = list(names)
    families: t.List[t.Tuple[str, str, str, t.Dict[str, float]]] = [
        ("writer", "gauge", "Whether writes go to the node.", {name: float(name == writer) for name in order}),
        ("reader", "gauge", "Whether the node is one to read from.", {name: float(name in readers) for name in order}),
        (
            "node_silent_seconds",
            "gauge",
            "How long ago the node's guard was heard.",
            {name: round(heard[name].age_seconds, 2) for name in order if name in heard},
        ),
        ("held", "gauge", "Whether clients are held back until there is a writer.", {"": float(course.held)}),
        ("pgbouncer_up", "gauge", "Whether PgBouncer took what it was told.", {"": float(problem is None)}),
        ("changes_total", "counter", "Changes of the route.", {"": float(counters.changes)}),
        ("cut_total", "counter", "Connections to hosts that were gone, ended.", {"": float(counters.cut)}),
        ("changed_timestamp_seconds", "gauge", "When the route changed last.", {"": round(counters.changed_at, 3)}),
    ]
    lines = []
    for name, kind, text, values in families:
        full = f"escala_pg_follow_{name}"
        lines += [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
        lines += [f"{full}{_label(node)} {value:.15g}" for node, value in values.items()]
    return "\n".join(lines) + "\n"


def _label(node: str) -> str:
    return f'{{node="{node}"}}' if node else ""


def config_from(text: str) -> Config:
    """The configuration in JSON; raises ValueError that says what is wrong with it."""
    values = known(Config, "the configuration", json.loads(text))
    nodes, previous = (
        tuple(Node(**known(Node, "a node", node)) for node in values.get(name, ()))
        for name in ("nodes", "previous_nodes")
    )
    databases = tuple(Pooled(**known(Pooled, "a database", one)) for one in values["databases"])
    config = Config(**{**values, "nodes": nodes, "databases": databases, "previous_nodes": previous})
    words = [word for node in config.all_nodes for word in (node.name, node.address)]
    words += [word for one in databases for word in (one.name, one.database, one.pool_mode)]
    for word in words:
        # They become part of PgBouncer's configuration.
        if not isinstance(word, str) or not _SAFE.fullmatch(word):
            raise ValueError(f"{word!r} can be no name, address or mode: letters, digits and _ . : - are allowed")
    if not nodes or len({node.port for node in config.all_nodes}) > 1:
        raise ValueError("there must be data nodes, and PgBouncer knows one port for all hosts of a database")
    if len({node.name for node in config.all_nodes}) < len(config.all_nodes):
        raise ValueError("two data nodes have the same name")
    if any(one.to not in (WRITER, READERS) for one in databases):
        raise ValueError(f"a database goes to {WRITER} or {READERS}")
    if min(config.poll_seconds, config.request_timeout_seconds, config.hold_seconds) <= 0:
        raise ValueError("poll_seconds, request_timeout_seconds and hold_seconds must be more than 0")
    return config
