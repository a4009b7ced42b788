# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node of the cluster as its guard has it in hand: what it knows, what it may do, and what it tells others."""

from __future__ import annotations

import sys
import threading
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import NodeState
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import MEMORY_DIRECTORY, Config, rules_of
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_control import Control
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import DataDirectory
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_local import Observer
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_promise import Memory
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_sql import Server
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_view import (
    Peers,
    Situation,
    describe,
    describe_watched,
    significant,
)

ERROR, WARNING, INFO = "<3>", "<4>", "<6>"


class Postgres:
    """The PostgreSQL of a data node: its directory, its sessions, its unit and who watches it."""

    def __init__(self, config: Config, seen: t.Callable[[], None]) -> None:
        self.data = DataDirectory(config.here.data_directory)
        self.server = Server(config.here)
        self.control = Control(config, self.data)
        self.observer = Observer(
            self.data, self.server, config.timings.probe_seconds, config.timings.hung_seconds, seen
        )


class Node:
    """What the parts of the guard share. `changed` is called whenever something of weight has changed, here or at another node."""

    def __init__(self, config: Config, changed: t.Callable[[], None], directory: str = MEMORY_DIRECTORY) -> None:
        self.config = config
        self.rules = rules_of(config)
        self.memory = Memory(directory)
        self.postgres = Postgres(config, self.publish) if config.postgresql else None
        self.peers = Peers(config, changed)
        # One ballot, one promotion, one change of the upstream at a time.
        self.hand = threading.Lock()
        self.started_at = time.monotonic()
        self.handing_over_to: t.Optional[str] = None
        self.fenced_pid: t.Optional[int] = None
        self.reason = "the guard has just been started"
        self._changed = changed
        self._told = threading.Condition()
        self._version = int(time.time() * 1000)
        self._published: t.Tuple[t.Any, ...] = ()
        self._role, self._role_since = "", self.started_at
        self._said: t.Dict[str, str] = {}

    @property
    def here(self) -> Postgres:
        """The node's PostgreSQL; raises ValueError on a witness."""
        if self.postgres is None:
            raise ValueError(f"{self.config.node} is a witness and has no PostgreSQL")
        return self.postgres

    def me(self) -> NodeState:
        """What this node is now."""
        sees = self.peers.sees()
        if self.postgres is None:
            state = NodeState(
                self.config.node,
                "witness",
                promise=self.memory.promise,
                quorum=self.memory.quorum,
                sees=sees,
                reason=self.reason,
            )
        else:
            observer = self.postgres.observer
            look = observer.look
            situation = Situation(
                hung=observer.silent_seconds() >= self.config.timings.hung_seconds,
                lives=observer.lives(),
                fenced=look.pid is not None and look.pid == self.fenced_pid,
                handing_over_to=self.handing_over_to,
                reason=self.reason,
            )
            if self.config.port_of_patroni:
                state = describe_watched(look, self.config, situation, sees)
            else:
                state = describe(self.config.node, look, self.memory, situation, sees)
        now = time.monotonic()
        if state.role != self._role:
            self._role, self._role_since = state.role, now
        return state._replace(since_seconds=round(now - self._role_since, 1))

    def publish(self) -> None:
        """Tell those who wait when something of weight has changed."""
        weight = significant(self.me())
        with self._told:
            if weight == self._published:
                return
            self._published = weight
            self._version += 1
            self._told.notify_all()
        self._changed()

    def document(self, after: int = 0, wait_seconds: float = 0.0) -> t.Dict[str, t.Any]:
        """The state in JSON's types; waits for a version other than `after`, and not longer than said."""
        if wait_seconds:
            with self._told:
                self._told.wait_for(lambda: self._version != after, wait_seconds)
        version = self._version
        return {**self.me().to_json(), "version": version}

    def say(self, subject: str, text: str, level: str = INFO) -> None:
        """A line in the journal, unless the same was the last said of this subject."""
        if self._said.get(subject) != text:
            self._said[subject] = text
            sys.stderr.write(f"{level}{text}\n")
            sys.stderr.flush()
