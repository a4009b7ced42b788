# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes of the database cluster say to each other: states, promises, ballots and votes, and their JSON."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_wal import History, Rank

FORMAT = 1
GUARD, PATRONI = "guard", "patroni"
ROLES = ("primary", "standby", "starting", "stopped", "hung", "empty", "witness")

Json = t.Dict[str, t.Any]


class Promise(t.NamedTuple):
    """A vote that was given: from now on this node follows only a primary of this timeline or a later one."""

    timeline: int
    candidate: str

    def __str__(self) -> str:
        return f"timeline {self.timeline} to {self.candidate}"


class Quorum(t.NamedTuple):
    """Which nodes of the configuration are out of the quorum; of two, the one with the higher version holds.

    The version is the timeline of the primary that decided so and a number that counts its decisions.
    """

    version: t.Tuple[int, int] = (0, 0)
    out: t.Tuple[str, ...] = ()


class Standby(t.NamedTuple):
    """A row of pg_stat_replication on the primary."""

    name: str
    state: str
    sync_state: str
    flush_lsn: int


class NodeState(t.NamedTuple):
    """What a node says of itself: the wire format of GET /state, positions in bytes, durations in seconds."""

    node: str
    role: str
    writable: bool = False
    timeline: int = 0
    lsn: int = 0
    replay_lsn: t.Optional[int] = None
    rank_final: bool = False
    joined: bool = False
    system_identifier: t.Optional[str] = None
    upstream: t.Optional[str] = None
    streaming: bool = False
    promise: t.Optional[Promise] = None
    quorum: Quorum = Quorum()
    history: History = ()
    replay_lag_seconds: t.Optional[float] = None
    sees: t.Mapping[str, t.Optional[float]] = {}
    standbys: t.Tuple[Standby, ...] = ()
    handing_over_to: t.Optional[str] = None
    postgresql_version: t.Optional[int] = None
    disk_free_bytes: t.Optional[int] = None
    reason: str = ""
    since_seconds: float = 0.0
    # Where the application's data are: an address and a port of a server that is none of the cluster's, the word `previous` or, once they came, `here`.
    outside: t.Optional[str] = None
    # Who promotes and fences here: the node's guard, or another manager that the guard only watches.
    decided_by: str = GUARD

    @property
    def rank(self) -> Rank:
        return Rank(self.timeline, self.lsn)

    @property
    def is_writer(self) -> bool:
        """Whether it takes writes as far as it knows: healthy, out of recovery, and verified by its guard."""
        return self.role == "primary" and self.writable

    @property
    def floor(self) -> int:
        """The lowest timeline of a primary that it may follow."""
        return max(self.timeline, self.promise.timeline if self.promise else 0)

    def to_json(self) -> Json:
        return {
            **self._asdict(),
            "format": FORMAT,
            "promise": promise_json(self.promise),
            "quorum": quorum_json(self.quorum),
            "history": [list(entry) for entry in self.history],
            "sees": dict(self.sees),
            "standbys": [standby._asdict() for standby in self.standbys],
        }


class Heard(t.NamedTuple):
    """The last that was heard of a node, and how long ago it was asked for; without a state, how long it has been silent."""

    state: t.Optional[NodeState]
    age_seconds: float


def lately(heard: t.Mapping[str, Heard], within_seconds: float) -> t.Dict[str, NodeState]:
    """The states that were heard so lately that they say something of now."""
    return {name: one.state for name, one in heard.items() if one.state and one.age_seconds < within_seconds}


class Ballot(t.NamedTuple):
    """What a candidate asks a voter: POST /vote. A pre-vote asks without effect."""

    candidate: str
    timeline: int
    rank: Rank
    pre: bool = False
    handover: bool = False
    # The voter stores it with its promise, so that all who elect know by which quorum they did.
    quorum: Quorum = Quorum()
    # Of which cluster the candidate's data is: a voter may not have heard of it otherwise.
    system_identifier: t.Optional[str] = None

    def to_json(self) -> Json:
        return {**self._asdict(), "rank": list(self.rank), "quorum": quorum_json(self.quorum)}


class Vote(t.NamedTuple):
    """A voter's answer: its rank as measured after it stopped receiving, and only a final one counts."""

    granted: bool
    reason: str
    rank: Rank = Rank(0, 0)
    rank_final: bool = False
    joined: bool = False
    promise: t.Optional[Promise] = None
    timeline: int = 0
    quorum: Quorum = Quorum()

    def to_json(self) -> Json:
        return {
            **self._asdict(),
            "rank": list(self.rank),
            "promise": promise_json(self.promise),
            "quorum": quorum_json(self.quorum),
        }


def promise_json(promise: t.Optional[Promise]) -> t.Optional[Json]:
    return promise._asdict() if promise else None


def quorum_json(quorum: Quorum) -> Json:
    return {"version": list(quorum.version), "out": list(quorum.out)}


def promise_from(value: t.Any) -> t.Optional[Promise]:
    """Raises ValueError for what is neither a promise nor null."""
    if value is None:
        return None
    found = _Fields("promise", value)
    return Promise(found.integer("timeline"), found.text("candidate"))


def quorum_from(value: t.Any) -> Quorum:
    """Raises ValueError for what is no quorum; null is the whole configuration."""
    if value is None:
        return Quorum()
    found = _Fields("quorum", value)
    out = tuple(sorted(_text("out", name) for name in _list("out", found.value.get("out"))))
    return Quorum(_pair("version", found.value.get("version")), out)


def state_from(value: t.Any) -> NodeState:
    """The state in an answer to GET /state; raises ValueError that names what is wrong with it. Unknown keys are left aside."""
    found = _Fields("state", value)
    if found.value.get("format") != FORMAT:
        raise ValueError(f"this state has format {found.value.get('format')!r}, known is {FORMAT}: update the guards")
    role = found.text("role")
    if role not in ROLES:
        raise ValueError(f"role is {role!r}, known are {', '.join(ROLES)}")
    sees = found.value.get("sees") or {}
    if not isinstance(sees, dict):
        raise ValueError(f"sees is {type(sees).__name__}, expected a dictionary")
    return NodeState(
        node=found.text("node"),
        role=role,
        writable=found.flag("writable"),
        timeline=found.integer("timeline"),
        lsn=found.integer("lsn"),
        replay_lsn=found.optional("replay_lsn", _integer),
        rank_final=found.flag("rank_final"),
        joined=found.flag("joined"),
        system_identifier=found.optional("system_identifier", _text),
        upstream=found.optional("upstream", _text),
        streaming=found.flag("streaming"),
        promise=promise_from(found.value.get("promise")),
        quorum=quorum_from(found.value.get("quorum")),
        history=tuple(_pair("history", entry) for entry in _list("history", found.value.get("history"))),
        replay_lag_seconds=found.optional("replay_lag_seconds", _number),
        sees={_text("sees", name): None if age is None else _number("sees", age) for name, age in sees.items()},
        standbys=tuple(_standby(entry) for entry in _list("standbys", found.value.get("standbys"))),
        handing_over_to=found.optional("handing_over_to", _text),
        postgresql_version=found.optional("postgresql_version", _integer),
        disk_free_bytes=found.optional("disk_free_bytes", _integer),
        reason=found.optional("reason", _text) or "",
        since_seconds=found.optional("since_seconds", _number) or 0.0,
        outside=found.optional("outside", _text),
        decided_by=found.text("decided_by") if "decided_by" in found.value else GUARD,
    )


def ballot_from(value: t.Any) -> Ballot:
    """The ballot in a POST /vote; raises ValueError that names what is wrong with it."""
    found = _Fields("ballot", value)
    timeline = found.integer("timeline")
    if timeline < 2:
        raise ValueError(f"timeline {timeline} cannot be stood for: the first that a promotion takes is 2")
    return Ballot(
        found.text("candidate"),
        timeline,
        Rank(*_pair("rank", found.value.get("rank"))),
        found.flag("pre"),
        found.flag("handover"),
        quorum_from(found.value.get("quorum")),
        found.optional("system_identifier", _text),
    )


def vote_from(value: t.Any) -> Vote:
    """The answer to a POST /vote; raises ValueError that names what is wrong with it."""
    found = _Fields("vote", value)
    return Vote(
        granted=found.flag("granted"),
        reason=found.text("reason"),
        rank=Rank(*_pair("rank", found.value.get("rank"))),
        rank_final=found.flag("rank_final"),
        joined=found.flag("joined"),
        promise=promise_from(found.value.get("promise")),
        timeline=found.integer("timeline"),
        quorum=quorum_from(found.value.get("quorum")),
    )


_Value = t.TypeVar("_Value")


class _Fields:
    """A JSON object whose fields are taken out one by one, each with its type."""

    def __init__(self, label: str, value: t.Any) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"a {label} is a dictionary, not {type(value).__name__}")
        self.value: t.Dict[str, t.Any] = value

    def text(self, name: str) -> str:
        return _text(name, self.value.get(name))

    def integer(self, name: str) -> int:
        return _integer(name, self.value.get(name))

    def flag(self, name: str) -> bool:
        value = self.value.get(name, False)
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}, expected true or false")
        return value

    def optional(self, name: str, take: t.Callable[[str, t.Any], _Value]) -> t.Optional[_Value]:
        value = self.value.get(name)
        return None if value is None else take(name, value)


def _text(name: str, value: t.Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}, expected a text")
    return value


def _integer(name: str, value: t.Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is {value!r}, expected a whole number of 0 or more")
    return value


def _number(name: str, value: t.Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}, expected a number")
    return float(value)


def _list(name: str, value: t.Any) -> t.List[t.Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{name} is {value!r}, expected a list")
    return value


def _pair(name: str, value: t.Any) -> t.Tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{name} is {value!r}, expected two whole numbers")
    return _integer(name, value[0]), _integer(name, value[1])


def _standby(value: t.Any) -> Standby:
    found = _Fields("standby", value)
    return Standby(
        found.text("name"),
        found.text("state"),
        found.text("sync_state"),
        found.optional("flush_lsn", _integer) or 0,
    )
