# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elections as acts: a voter keeps its promise before it answers, a candidate counts and, when it has won, promotes."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Ballot,
    Elected,
    Promise,
    Vote,
    elected,
    next_timeline,
    stands_before,
    vote,
    vote_from,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_acts import Acts
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_node import INFO, Node

# A voter has this long for its part of a request's time.
_VOTE_SECONDS = 0.8
# How long a candidate asks again those whose rank is not final yet.
_ELECTION_SECONDS = 3.0
_PROMOTE_SECONDS = 10.0


class Ballots:
    """A node as voter and as candidate."""

    def __init__(self, node: Node, acts: Acts) -> None:
        self._node = node
        self._acts = acts
        self._heard_timeline = 0
        # The ballot for which this node asks for votes at the moment.
        self._standing: t.Optional[Ballot] = None

    def answer(self, ballot: Ballot) -> Vote:
        """A voter's whole part; raises TimeoutError, SessionError or OSError when it cannot be kept in time."""
        node = self._node
        fork = self._fork()
        if fork:
            node.say("vote", f"No vote for {ballot.candidate}, timeline {ballot.timeline}: {fork}")
            return self._vote(False, fork)
        if ballot.pre:
            verdict = vote(ballot, node.me(), node.peers.heard(), node.rules)
            return self._vote(verdict.granted, verdict.reason)
        mine = self._standing
        if mine and self._goes_first(mine, ballot):
            return self._vote(False, f"{mine.candidate} itself stands for timeline {mine.timeline}, and goes first")
        deadline = time.monotonic() + _VOTE_SECONDS
        if not node.hand.acquire(timeout=_VOTE_SECONDS / 2):
            return self._vote(False, f"{node.config.node} is busy with a promotion or another ballot")
        try:
            verdict = vote(ballot, node.me(), node.peers.heard(), node.rules)
            if not verdict.granted or verdict.promise is None:
                node.say("vote", f"No vote for {ballot.candidate}, timeline {ballot.timeline}: {verdict.reason}")
                return self._vote(False, verdict.reason)
            node.memory.promised(verdict.promise)
            node.memory.learned(verdict.quorum)
            if verdict.fence:
                self._acts.kill(f"{ballot.candidate} is to be primary of timeline {ballot.timeline}")
            node.say("vote", f"{verdict.reason}; until then this node follows nobody")
            self._stop_receiving(deadline)
            if not verdict.fence and self._writes():
                return self._vote(False, "it was no standby when it was looked at again")
            return self._vote(True, verdict.reason)
        finally:
            node.hand.release()
            node.publish()

    def stand(self, ballot: Ballot) -> None:
        """Ask for votes, first without effect, and promote when they are enough."""
        node = self._node
        ballot = ballot._replace(timeline=max(ballot.timeline, self._heard_timeline + 1))
        before = node.memory.promise
        refused = self._ask_before(ballot)
        if not refused and node.memory.promise != before:
            refused = f"{ballot.candidate} promised {node.memory.promise} meanwhile"
        if refused:
            node.say("election", f"Not elected for timeline {ballot.timeline}: {refused}")
            return
        node.say("election", f"{ballot.candidate} asks for votes for timeline {ballot.timeline}")
        self._standing = ballot
        try:
            result = self._ask(ballot._replace(pre=False))
        finally:
            self._standing = None
        node.say(
            "election",
            result.reason if result.won else f"Not elected for timeline {ballot.timeline}: {result.reason}",
            INFO,
        )
        if result.quorum.version > node.memory.quorum.version:
            node.memory.learned(result.quorum)
        if result.won:
            self._promote(ballot)

    def _promote(self, ballot: Ballot) -> None:
        node = self._node
        with node.hand:
            if node.memory.promise != Promise(ballot.timeline, ballot.candidate):
                node.say(
                    "election",
                    f"Won timeline {ballot.timeline} too late: {node.config.node} has promised {node.memory.promise}",
                )
                return
            node.memory.won(ballot.timeline)
            self._acts.promote(ballot.timeline, _PROMOTE_SECONDS)
        node.publish()

    def _ask_before(self, ballot: Ballot) -> str:
        """The round without effect: why it would be no use to stand, or nothing."""
        rules = self._node.rules
        needed = rules.sizes(ballot.quorum).votes_needed
        votes: t.Dict[str, Vote] = {}
        for name, one in self._collect(ballot, self._node.config.timings.request_timeout_seconds):
            votes[name] = one
            if sum(vote.granted for vote in votes.values()) >= needed:
                return ""
        self._learn(ballot, votes)
        refusals = [f"{name}: {one.reason}" for name, one in sorted(votes.items()) if not one.granted]
        granted = sum(vote.granted for vote in votes.values())
        return f"{granted} of {needed} votes" + "".join(f"; {refusal}" for refusal in refusals)

    def _ask(self, ballot: Ballot) -> Elected:
        rules, node = self._node.rules, self._node
        votes: t.Dict[str, Vote] = {}
        deadline = time.monotonic() + _ELECTION_SECONDS
        result = Elected(False, "nobody has answered")
        while time.monotonic() < deadline:
            for name, one in self._collect(ballot, node.config.timings.request_timeout_seconds + 0.2):
                votes[name] = one
                result = elected(ballot, votes, rules)
                if result.won:
                    return result
                if result.over:
                    self._learn(ballot, votes)
                    return result
            if all(one.rank_final or not one.joined for one in votes.values() if one.granted):
                break
            time.sleep(0.1)
        self._learn(ballot, votes)
        return result

    def _learn(self, ballot: Ballot, votes: t.Mapping[str, Vote]) -> None:
        known = next_timeline(self._node.me(), self._node.peers.heard(), votes.values()) - 1
        self._heard_timeline = max(known, ballot.timeline if not ballot.pre else 0)

    def _collect(self, ballot: Ballot, limit_seconds: float) -> t.Iterator[t.Tuple[str, Vote]]:
        """Ask all voters at once and yield what they answer as it comes; one that does not answer is not waited for beyond the limit."""
        node = self._node
        answers: queue.Queue[t.Tuple[str, t.Optional[Vote]]] = queue.Queue()
        voters = node.rules.voting(ballot.quorum)
        for name in sorted(voters, key=lambda name: name == node.config.node):
            threading.Thread(
                target=self._ask_one, args=(name, ballot, answers), name=f"vote-{name}", daemon=True
            ).start()
        deadline = time.monotonic() + limit_seconds
        for _voter in voters:
            try:
                name, one = answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            if one is not None:
                yield name, one

    def _ask_one(self, name: str, ballot: Ballot, answers: queue.Queue[t.Tuple[str, t.Optional[Vote]]]) -> None:
        found: t.Optional[Vote] = None
        try:
            if name == self._node.config.node:
                found = self.answer(ballot)
            else:
                with contextlib.closing(self._node.peers.peer(name)) as peer:
                    found = vote_from(peer.post("/vote", ballot.to_json()))
        except (OSError, ValueError, SessionError) as error:
            if name == self._node.config.node:
                self._node.say("vote", f"This node cannot give its vote: {error}")
        finally:
            answers.put((name, found))

    def _stop_receiving(self, deadline: float) -> None:
        """Stop the receiver, and wait for a look at what came until then; final where it can be known in time."""
        postgres = self._node.postgres
        if postgres is None:
            return
        if not postgres.observer.lives():
            # There is no receiver, and the gate has the next start begin without one.
            return
        self._acts.stop_receiving(deadline)
        look = postgres.observer.after(time.monotonic(), _left(deadline))
        while not look.rank_final and time.monotonic() < deadline - 0.1:
            with contextlib.suppress(TimeoutError):
                look = postgres.observer.after(time.monotonic(), _left(deadline))

    def _goes_first(self, mine: Ballot, other: Ballot) -> bool:
        # Two that stand at once would each take the other's votes; the one that goes first refuses, and the other one gives way.
        if other.candidate == mine.candidate or other.candidate not in self._node.rules.nodes:
            return False
        return stands_before(mine.candidate, mine.rank, other.candidate, other.rank, self._node.rules)

    def _writes(self) -> bool:
        """Whether the server turns out to be no standby, which is ended: promoted by somebody, or elected before the guard looked."""
        observer = self._node.postgres.observer if self._node.postgres else None
        status = observer.look.status if observer else None
        # What has ended since writes nothing, and what is started in its place is a standby.
        if observer is None or status is None or status.in_recovery or not observer.lives():
            return False
        fork = self._acts.fork()
        if fork:
            self._acts.condemn(fork)
        else:
            self._acts.kill("it has promised a later timeline")
        return True

    def _fork(self) -> str:
        return self._acts.fork() if self._node.postgres else ""

    def _vote(self, granted: bool, reason: str) -> Vote:
        me = self._node.me()
        return Vote(granted, reason, me.rank, me.rank_final, me.joined, me.promise, me.timeline, me.quorum)


def _left(deadline: float) -> float:
    return max(0.05, deadline - time.monotonic())
