# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guard beside Patroni: it looks and tells, for the poolers, the checks and the drills, and leaves every act to Patroni."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_node import Node
from ansible_collections.escala.ha.plugins.module_utils._pg_peers import client_context

Json = t.Dict[str, t.Any]

# Patroni answers when the other node is primary, or when it gives up.
_SWITCHOVER_SECONDS = 60.0
_SEEN_SECONDS = 10.0
_LOOK_SECONDS = 0.02


class Watch:
    """In the place of a Guard: `run` never returns; everything else may be called from any thread."""

    def __init__(self, config: Config, directory: str) -> None:
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.node = Node(config, self.wake, directory)

    def wake(self) -> None:
        """Have the next round at once."""
        os.eventfd_write(self._woken, 1)

    def run(self, alive: t.Callable[[str], None]) -> None:
        """Look for ever; `alive` is told the reason of the moment in each round."""
        node = self.node
        observer = node.here.observer
        node.peers.start()
        threading.Thread(target=observer.run, name="observer", daemon=True).start()
        while True:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._woken)
            node.reason = "Patroni decides here, and the guard watches"
            node.publish()
            alive(node.reason)
            observer.process.wait_end(self._woken, node.config.timings.tick_seconds)


class WatchVerbs:
    """The doors' side of a guard that watches. Refusals are answers; what could not be done raises OSError or ValueError with the reason."""

    def __init__(self, watch: Watch) -> None:
        self._node = watch.node

    def vote(self, _body: Json) -> Json:
        """There are no ballots beside Patroni."""
        raise ValueError(f"{self._node.config.node} does not vote: Patroni decides here")

    def command(self, question: t.Any) -> Json:
        """One verb of the operator's: whether it was done, why, and the state."""
        verb = question.get("verb") if isinstance(question, dict) else None
        if verb == "status":
            answer = self._status()
        elif verb == "handover":
            answer = self._hand_over(str(question.get("to")))
        else:
            raise ValueError(f"Patroni decides here, so the guard does not {verb}; see patronictl")
        return {**answer, "state": {**self._node.document(), "primary": self._primary()[0]}}

    def _status(self) -> Json:
        me = self._node.me()
        writes = ", takes writes" if me.writable else ""
        return {"ok": True, "reason": f"{me.node} is {me.role}{writes} at {me.rank}; {me.reason}"}

    def _hand_over(self, target: str) -> Json:
        config, me = self._node.config, self._node.me()
        if not me.is_writer:
            raise ValueError(f"{me.node} is no primary that takes writes, ask on {me.upstream or 'another node'}")
        status, said = switch_over(config, target)
        if status not in (http.client.OK, http.client.ACCEPTED):
            return {"ok": False, "reason": f"Patroni answers {status}: {said}"}
        deadline = time.monotonic() + _SEEN_SECONDS
        while time.monotonic() < deadline:
            name, timeline = self._primary()
            if name and timeline > me.timeline:
                return {"ok": name == target, "reason": f"{name} is primary of timeline {timeline}"}
            time.sleep(_LOOK_SECONDS)
        return {"ok": False, "reason": f"Patroni says: {said}; no new primary was seen within {_SEEN_SECONDS:g} s"}

    def _primary(self) -> t.Tuple[t.Optional[str], int]:
        """Who takes writes as far as is known, and on which timeline."""
        node = self._node
        states = [node.me(), *(one.state for one in node.peers.heard().values() if one.state)]
        found = max((state for state in states if state.is_writer), key=lambda state: state.timeline, default=None)
        return (found.node, found.timeline) if found else (None, 0)


def switch_over(config: Config, target: str) -> t.Tuple[int, str]:
    """Ask this node's Patroni for a switchover: the status of its answer and what it says. Raises OSError."""
    context = client_context(config.identity)
    address = config.data_nodes[config.node]
    connection = http.client.HTTPSConnection(
        address, config.port_of_patroni, timeout=_SWITCHOVER_SECONDS, context=context
    )
    with contextlib.closing(connection):
        body = json.dumps({"leader": config.node, "candidate": target})
        try:
            connection.request("POST", "/switchover", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read(4096).decode(errors="replace")
        except http.client.HTTPException as broken:
            raise OSError(f"Patroni on {address} gave no whole answer ({type(broken).__name__})") from broken
