# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others ask of a running guard: votes from its peers, commands from the operator on the host."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    NodeState,
    ballot_from,
    degraded,
    other_writer,
    stand,
    vacancy,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_daemon import Guard

Json = t.Dict[str, t.Any]

_HANDOVER_SECONDS = 30.0


class Verbs:
    """The doors' side of a guard. Refusals are answers; what could not be done raises OSError or ValueError with the reason."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._node = guard.node

    def vote(self, body: Json) -> Json:
        """A ballot of another node."""
        ballot = ballot_from(body)
        try:
            return self._guard.ballots.answer(ballot).to_json()
        except SessionError as error:
            raise OSError(f"{self._node.config.node} cannot stop its receiver: {error}") from error

    def command(self, question: t.Any) -> Json:
        """One verb of the operator's: whether it was done, why, and the state."""
        verbs = {
            "status": self._status,
            "validate": self._validate,
            "fence": self._fence,
            "handover": self._hand_over,
            "degrade": self._degrade,
        }
        if not isinstance(question, dict) or question.get("verb") not in verbs:
            raise ValueError(f"the verbs are {', '.join(verbs)}")
        answer = verbs[question["verb"]](question)
        return {**answer, "state": {**self._node.document(), "primary": self._primary_now()}}

    def _status(self, _question: Json) -> Json:
        me = self._node.me()
        seen = ", ".join(
            f"{name} {f'{age:.1f} s ago' if age is not None else 'never'}" for name, age in me.sees.items()
        )
        writes = ", takes writes" if me.writable else ""
        return {
            "ok": True,
            "reason": f"{me.node} is {me.role}{writes} at {me.rank}; {me.reason}; heard {seen or 'nobody'}",
        }

    def _validate(self, _question: Json) -> Json:
        node = self._node
        me, heard = node.me(), node.peers.heard()
        empty = vacancy(me, heard, node.rules, time.monotonic() - node.started_at)
        if not empty.vacant:
            return {"ok": False, "reason": empty.reason}
        verdict = stand(me, heard, node.rules, float("inf"))
        return {"ok": verdict.now, "reason": verdict.reason}

    def _fence(self, _question: Json) -> Json:
        guard, node = self._guard, self._node
        guard.stands_back_until = time.monotonic() + 60.0
        self._idle()
        guard.acts.kill("an operator asked for it")
        guard.begin("start", lambda: guard.acts.start("an operator fenced it"))
        return {"ok": True, "reason": f"{node.config.node} is fenced, and stands in no election for a minute"}

    def _hand_over(self, question: Json) -> Json:
        guard, node, target = self._guard, self._node, str(question.get("to"))
        self._may_take_over(target)
        self._idle()
        timeline = node.me().timeline
        guard.hand_over(target)
        deadline = time.monotonic() + _HANDOVER_SECONDS
        while time.monotonic() < deadline:
            now = self._primary()
            if now and now.timeline > timeline:
                return {"ok": now.node == target, "reason": f"{now.node} is primary of timeline {now.timeline}"}
            time.sleep(0.02)
        return {
            "ok": False,
            "reason": f"no new primary within {_HANDOVER_SECONDS:g} s; see the journal of escala-pg-guard on {target}",
        }

    def _may_take_over(self, target: str) -> None:
        node = self._node
        me, one = node.me(), node.peers.heard().get(target)
        if not me.is_writer:
            raise ValueError(f"{me.node} is no primary that takes writes, ask on {me.upstream or 'another node'}")
        if target not in node.config.data_nodes or one is None or one.state is None:
            raise ValueError(f"{target} is no data node that was ever heard")
        if target not in {standby.name for standby in me.standbys if standby.state == "streaming"}:
            raise ValueError(f"{target} does not stream from {me.node}")
        if one.age_seconds > node.rules.fresh_seconds or one.state.role != "standby" or target in me.quorum.out:
            raise ValueError(
                f"{target} is {one.state.role}, heard {one.age_seconds:.1f} s ago: only a healthy standby takes over"
            )

    def _degrade(self, question: Json) -> Json:
        node = self._node
        without = [str(name) for name in question.get("to") or []]
        quorum = degraded(node.me(), node.peers.heard(), node.rules, without)
        node.memory.learned(quorum)
        node.publish()
        node.say("quorum", f"An operator took {', '.join(without)} out of the quorum until they rejoin", "<4>")
        left = node.rules.members(quorum)
        if node.rules.automatic or node.me().is_writer or left == (node.config.node,):
            then = "a primary is elected among those that are left, if there is none"
        else:
            then = f"automatic failover is off, so of {', '.join(left)} none is elected until it is switched on"
        return {"ok": True, "reason": f"goes on without {', '.join(without)}; {then}"}

    def _primary_now(self) -> t.Optional[str]:
        """Who takes writes as far as this node knows, itself or another; the others are not told, each hears for itself."""
        node = self._node
        me = node.me()
        return me.node if me.is_writer else other_writer(me, node.peers.heard(), node.rules)

    def _primary(self) -> t.Optional[NodeState]:
        found = [one.state for one in self._node.peers.heard().values() if one.state and one.state.is_writer]
        return max(found, key=lambda state: state.timeline, default=None)

    def _idle(self) -> None:
        deadline = time.monotonic() + 5.0
        while self._guard.busy():
            if time.monotonic() > deadline:
                raise ValueError("the guard is busy with something else; see its journal and ask again")
            time.sleep(0.05)
