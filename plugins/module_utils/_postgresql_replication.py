# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All data nodes of a cluster at one moment: each asked directly and by its guard, and who of them is primary."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import HAS_PSYCOPG, Session, SessionError, conninfo
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Heard,
    Quorum,
    Rules,
    quorum_from,
    route,
    synchronous_names,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_peers import Identity, Peer
from ansible_collections.escala.ha.plugins.module_utils._pg_state import PATRONI
from ansible_collections.escala.ha.plugins.module_utils._postgresql_observed import (
    ASKED_SETTINGS,
    QUERY,
    UNKNOWN,
    Json,
    node_from,
    state_of,
    upstream_of,
)

__all__ = ["ARGUMENTS", "HAS_PSYCOPG", "Observation", "Recent", "Servers", "as_result", "combine"]

# The options that the modules postgresql_replication_info and postgresql_replication_check share.
ARGUMENTS: t.Dict[str, t.Dict[str, t.Any]] = {
    "nodes": {"type": "dict", "required": True},
    "witnesses": {"type": "dict", "default": {}},
    "port": {"type": "int", "default": 5432},
    "database": {"type": "str", "default": "app"},
    "user": {"type": "str", "default": "escala_monitor"},
    "password": {"type": "str", "no_log": True},
    "passfile": {"type": "path", "no_log": False},
    "ca_file": {"type": "path", "required": True},
    "guard_port": {"type": "int", "default": 5433},
    "guard_certificate_file": {"type": "path"},
    "guard_key_file": {"type": "path", "no_log": False},
}
# Whom to read from is not asked here, only who is the writer.
_NO_LAG_LIMIT = float("inf")
_DAY_SECONDS = 86400
UNKNOWN_GUARD: Json = {"guard": None, "guard_problem": None, "certificate_days_left": None}


class Observation(t.NamedTuple):
    """What was seen of a cluster: nodes by name (the keys of UNKNOWN and some more), witnesses' guards, and who is primary and why.

    `guards` is false where nobody had a certificate to ask the guards with.
    """

    nodes: t.Dict[str, Json]
    witnesses: t.Dict[str, Json]
    claimants: t.List[str]
    primary: t.Optional[str]
    reason: str
    quorum: Quorum
    rules: Rules
    guards: bool

    @property
    def writer(self) -> t.Optional[Json]:
        """The primary's node."""
        return self.nodes[self.primary] if self.primary else None

    @property
    def by_patroni(self) -> bool:
        """Whether the guards say that it is Patroni who decides."""
        return any((node["guard"] or {}).get("decided_by") == PATRONI for node in self.nodes.values())

    @property
    def standbys(self) -> t.Dict[str, Json]:
        """Every other node than the primary, also one that does not answer."""
        return {name: node for name, node in self.nodes.items() if name != self.primary}


class Servers:
    """The way to every server of a cluster, from a module's options; every question takes at most `limit_seconds`."""

    def __init__(self, options: t.Mapping[str, t.Any], limit_seconds: float) -> None:
        self.addresses: t.Dict[str, str] = {name: str(address) for name, address in options["nodes"].items()}
        self._witnesses: t.Dict[str, str] = {name: str(one) for name, one in options["witnesses"].items()}
        self._options = options
        self.limit_seconds = limit_seconds
        files = (options["ca_file"], options["guard_certificate_file"], options["guard_key_file"])
        self._identity = Identity(*files) if all(files) else None

    def session(self, name: str) -> contextlib.closing[Session]:
        """A connection to a node whose certificate was verified for its name; raises SessionError."""
        options = self._options
        info = conninfo(
            host=name,
            hostaddr=self.addresses[name],
            port=options["port"],
            dbname=options["database"],
            user=options["user"],
            password=options["password"],
            passfile=options["passfile"],
            sslmode="verify-full",
            sslrootcert=options["ca_file"],
            gssencmode="disable",
            application_name="escala-check",
        )
        return contextlib.closing(Session(info, self.limit_seconds))

    def observe(self) -> Observation:
        """Ask all at once, each once."""
        rules = Rules(nodes=tuple(self.addresses), witnesses=tuple(self._witnesses))
        guarded = {**self.addresses, **self._witnesses}
        with concurrent.futures.ThreadPoolExecutor(2 * len(guarded)) as pool:
            asked = pool.map(self._ask, self.addresses)
            guards = pool.map(self._ask_guard, guarded.items())
        return combine(
            dict(zip(self.addresses, asked)),
            dict(zip(guarded, guards)),
            self.addresses,
            rules,
            self._identity is not None,
        )

    def _ask(self, name: str) -> Json:
        begin = time.monotonic()
        try:
            with self.session(name) as session:
                rows = session.execute(QUERY, [ASKED_SETTINGS], limit_seconds=self.limit_seconds).rows
            found: Json = {**node_from(json.loads(rows[0][0] or "null")), "reachable": True, "problem": None}
        except SessionError as error:
            found = {**UNKNOWN, "reachable": False, "problem": _told(str(error), self._options["password"])}
        except (KeyError, TypeError, ValueError) as error:
            found = {**UNKNOWN, "reachable": False, "problem": f"its answer was not understood: {error!r}"}
        return {**found, "answered_in_seconds": round(time.monotonic() - begin, 3)}

    def _ask_guard(self, place: t.Tuple[str, str]) -> Json:
        name, address = place
        if self._identity is None:
            return {**UNKNOWN_GUARD, "guard_problem": "no certificate was given to ask it with"}
        peer = Peer(name, address, self._options["guard_port"], self._identity, self.limit_seconds)
        with contextlib.closing(peer):
            try:
                guard = peer.state()
            except OSError as error:
                return {**UNKNOWN_GUARD, "guard_problem": str(error) or type(error).__name__}
            seconds_left = (peer.certificate_until or 0) - time.time()
            return {
                "guard": guard,
                "guard_problem": None,
                "certificate_days_left": int(seconds_left // _DAY_SECONDS),
            }


def _told(message: str, password: t.Optional[str]) -> str:
    """A message on one line, without libpq's repetition of where it connected to, and never with the password."""
    line = " ".join(message.split()).rpartition(" failed: ")[2]
    return line.replace(password, "********") if password else line


def combine(
    asked: t.Mapping[str, Json],
    guards: t.Mapping[str, Json],
    addresses: t.Mapping[str, str],
    rules: Rules,
    certified: bool,
) -> Observation:
    """One picture from what every node and every guard said: who is primary, and how far behind it the others are."""
    nodes = {name: {"name": name, "address": addresses[name], **node, **guards[name]} for name, node in asked.items()}
    for node in nodes.values():
        node["upstream"] = upstream_of(node, addresses)
    claimants = [name for name, node in nodes.items() if node["in_recovery"] is False]
    quorum = _quorum(guards, claimants)
    states = {
        name: Heard(state_of(name, node, node["upstream"], quorum), 0.0)
        for name, node in nodes.items()
        if node["reachable"]
    }
    decided = route(states, rules, _NO_LAG_LIMIT)
    for name, node in nodes.items():
        if decided.writer and name != decided.writer:
            node.update(_lag(name, node, nodes[decided.writer]))
    witnesses = {name: {"name": name, **guards[name]} for name in rules.witnesses}
    return Observation(nodes, witnesses, claimants, decided.writer, decided.reason, quorum, rules, certified)


def _quorum(guards: t.Mapping[str, Json], claimants: t.Sequence[str]) -> Quorum:
    """The latest quorum that a claimant's guard knows; the whole configuration where none says."""
    known = []
    for name in claimants:
        with contextlib.suppress(ValueError):
            known.append(quorum_from((guards[name]["guard"] or {}).get("quorum")))
    return max(known, key=lambda quorum: quorum.version, default=Quorum())


def _lag(name: str, node: Json, primary: Json) -> Json:
    """How far behind the primary a node is. Without a transaction on its way the age of the last one says nothing."""
    if node["replay_lsn"] is None or primary["lsn"] is None:
        return {"lag_bytes": None, "lag_seconds": None}
    lag_bytes = max(0, primary["lsn"] - node["replay_lsn"])
    seen = next((row for row in primary["standbys"] if row["name"] == name and row["state"] == "streaming"), None)
    if lag_bytes == 0 or (seen and (seen["replay_lsn"] or 0) >= primary["lsn"]):
        return {"lag_bytes": lag_bytes, "lag_seconds": 0.0}
    by_primary = seen["replay_lag_seconds"] if seen else None
    return {"lag_bytes": lag_bytes, "lag_seconds": node["replayed_seconds_ago"] if by_primary is None else by_primary}


def as_result(seen: Observation) -> Json:
    """What the module that observes returns."""
    return {
        "primary": seen.primary,
        "reason": seen.reason,
        "claimants": seen.claimants,
        "synchronous_standby_names": synchronous_names(seen.rules, seen.quorum),
        "nodes": list(seen.nodes.values()),
        "witnesses": list(seen.witnesses.values()),
    }


class Recent:
    """The last observation, taken anew when it is too old: what several checks look at in one round is one picture."""

    def __init__(
        self, observe: t.Callable[[], Observation], clock: t.Callable[[], float], age_seconds: float = 0.4
    ) -> None:
        self._observe = observe
        self._clock = clock
        self._age_seconds = age_seconds
        self._taken: t.Optional[t.Tuple[float, Observation]] = None

    def __call__(self) -> Observation:
        if self._taken is None or self._clock() - self._taken[0] > self._age_seconds:
            observation = self._observe()
            self._taken = (self._clock(), observation)
        return self._taken[1]
