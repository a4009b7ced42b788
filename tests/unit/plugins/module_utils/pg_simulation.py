"""A cluster on paper: PostgreSQL's WAL, receivers and promotions as a model, guards that decide with the collection's own functions.

One step is half a second. Whatever can go wrong is an action of `Cluster`, chance comes from one seeded generator, and `UnsafeError` is
raised in the step in which something happens that must never happen. `broken` names rules that are broken on purpose, to see it caught.
"""

from __future__ import annotations

import collections
import random

from ansible_collections.escala.ha.plugins.module_utils import _pg_decisions as pg

STEP = 0.5
SEGMENT = 8
IDENTIFIER = "7000000000000000001"


class UnsafeError(AssertionError):
    """Something that must never happen, with what led to it."""


class Link:
    """A standby's connection to a primary: WAL one way, confirmations the other, both in order and late."""

    def __init__(self, standby, primary):
        self.standby, self.primary, self.timeline = standby, primary, primary.timeline
        self.sent = len(standby.wal)
        self.wal = collections.deque()
        self.flushed = collections.deque()
        self.open = True


class Node:
    """One host. What is durable stands first; `crash` loses the rest."""

    def __init__(self, name, witness=False):
        self.name, self.witness = name, witness
        self.wal, self.files, self.histories = [], set(), {}
        self.has_data, self.joined, self.broken = False, False, False
        self.promise, self.quorum, self.conninfo, self.names = None, pg.Quorum(), None, ""
        # The timeline that it last won, kept before it is promoted.
        self.elected = None
        self.signal, self.minimum = True, 0
        # The timeline on which its own server was last out of recovery, and whether somebody promoted it to that past its guard.
        self.wrote, self.by_hand = None, False
        self.up, self.guard, self.frozen, self.stuck = True, True, False, False
        self.waits = 0
        self.forget()

    def forget(self):
        """What a crash of the host loses."""
        self.postgres, self.timeline, self.link, self.acks = "off", 0, None, {}
        self.settles = 0
        self.forget_guard()

    def forget_guard(self):
        """What a restart of the guard loses."""
        self.heard, self.vacant_since, self.promised_at, self.ballot, self.votes = {}, None, None, None, {}
        self.work, self.handing_over, self.hung_since, self.in_force, self.rewind_failed = None, None, None, None, False
        self.inbox, self.probation = [], 0

    @property
    def runs(self):
        return self.up and not self.frozen

    @property
    def alive(self):
        """Whether PostgreSQL does anything."""
        return self.runs and not self.stuck and self.postgres != "off"


class Cluster:
    def __init__(self, data=3, witnesses=0, seed=0, broken=frozenset(), alone_continues=False):
        self.random = random.Random(seed)
        self.broken = broken if isinstance(broken, (set, frozenset)) else frozenset([broken])
        names = tuple(f"db{number + 1}" for number in range(data))
        others = tuple(f"witness{number + 1}" for number in range(witnesses))
        self.rules = pg.Rules(names, others)
        self.nodes = {name: Node(name, name in others) for name in names + others}
        self.alone_continues = alone_continues
        self.step, self.next_commit = 0, 1
        self.cuts, self.loss, self.delay, self.halfway = set(), 0.0, 1, False
        self.links = []
        self.pending = collections.defaultdict(dict)
        self.acknowledged = {}
        self.promotions = {}
        self.log = []
        first = self.nodes[names[0]]
        first.has_data, first.joined = True, True
        first.files.add((1, 0))
        for node in self.nodes.values():
            node.started = 0

    # What goes wrong, and what is mended.

    def crash(self, name):
        """The power fails."""
        node = self.nodes[name]
        self.note(f"{name} loses its power")
        self._ruin(node)
        node.up, node.frozen, node.stuck = False, False, False
        self._stop(node)
        node.forget()

    def boot(self, name):
        node = self.nodes[name]
        if not node.up:
            self.note(f"{name} boots")
            if name in self._newest_quorum().out:
                # The operator's playbook tells a node that it is out before it may vote.
                node.quorum = self._newest_quorum()
            node.up, node.guard, node.started = True, True, self.step
            self._guard_starts(node)

    def freeze(self, name, postgres_only=False):
        node = self.nodes[name]
        self.note(f"{name} freezes{', only PostgreSQL' if postgres_only else ''}")
        if postgres_only:
            node.stuck = True
        else:
            node.frozen = True

    def thaw(self, name):
        node = self.nodes[name]
        self.note(f"{name} thaws")
        node.frozen, node.stuck = False, False

    def kill_postgres(self, name):
        node = self.nodes[name]
        self.note(f"PostgreSQL of {name} is killed")
        self._stop(node)
        node.waits = self.step + 1

    def stop_guard(self, name):
        node = self.nodes[name]
        self.note(f"the guard of {name} ends")
        self._ruin(node)
        node.guard = False
        node.forget_guard()

    def start_guard(self, name):
        node = self.nodes[name]
        if node.up and not node.guard:
            self.note(f"the guard of {name} starts")
            node.guard, node.started = True, self.step
            self._guard_starts(node)

    def promote_by_hand(self, name):
        """Somebody promotes a standby whose guard is off. Nobody follows it there, so what it writes is never acknowledged.

        Its guard will discard all that it has, so this is the loss of a disk. The cluster is made for one at a time, and not of the last.
        """
        node = self.nodes[name]
        caught_up = self.step >= node.settles and len(node.wal) >= node.minimum
        if node.guard or not node.alive or node.postgres != "standby" or not caught_up:
            return
        others = [self.nodes[one] for one in self.rules.nodes if one != name and one not in self._newest_quorum().out]
        if len(self.nodes) > 1 and not (others and all(one.joined and not one.by_hand for one in others)):
            return
        target = self._target(node)
        takes = target + 1
        while takes in node.histories:
            takes += 1
        self.note(f"{name} is promoted by hand to timeline {takes} at {len(node.wal)}")
        self._stop_receiving(node)
        node.files.add((takes, max(len(node.wal) - 1, 0) // SEGMENT))
        node.histories[takes] = (*node.histories.get(target, ()), (target, len(node.wal)))
        node.postgres, node.timeline, node.acks, node.signal = "primary", takes, {}, False
        node.wrote, node.by_hand = takes, True

    def cut(self, source, target):
        self.note(f"nothing comes from {source} to {target}")
        self.cuts.add((source, target))

    def heal(self):
        self.note("the network is whole")
        self.cuts.clear()

    def hand_over(self, name):
        """An operator asks the present writer to hand over to this node."""
        for node in self.nodes.values():
            if node.postgres == "primary" and node.guard and node.runs and node.name != name and not node.handing_over:
                one = self._heard(node).get(name)
                if one and one.state and one.state.streaming and one.age_seconds < self.rules.fresh_seconds:
                    self.note(f"{node.name} hands over to {name}")
                    node.handing_over = (name, self.step)

    def degrade(self, name):
        """An operator goes on with this node alone, all others are powered off."""
        node = self.nodes[name]
        others = [one for one in self.rules.voting(node.quorum) if one != name]
        if not (node.runs and node.guard) or any(self.nodes[one].up for one in others):
            return
        try:
            quorum = pg.degraded(self.state(node), self._heard(node), self.rules, others)
        except ValueError:
            return
        # The operator goes on with the host that was primary last, or that followed it to the end.
        if all(entry in node.wal for entry in self._acknowledged_entries()):
            self.note(f"{name} goes on without {', '.join(others)}")
            node.quorum = quorum

    def ask_to_degrade(self, name, out):
        """An operator asks this node to go on without those that are powered off, as the playbook asks every one that is left."""
        node = self.nodes[name]
        try:
            node.quorum = pg.degraded(self.state(node), self._heard(node), self.rules, out)
        except ValueError as error:
            self.note(f"{name} does not go on without {', '.join(out)}: {error}")
        else:
            self.note(f"{name} goes on without {', '.join(out)}, by version {node.quorum.version}")

    def mend(self, leave_down=()):
        """All faults end, apart from the nodes that stay powered off."""
        self.heal()
        self.loss, self.delay, self.halfway = 0.0, 1, False
        for name, node in self.nodes.items():
            self.thaw(name)
            if name in leave_down:
                if node.up:
                    self.crash(name)
                continue
            self.boot(name)
            self.start_guard(name)

    # One step of time.

    def tick(self, steps=1, writes=0.7):
        for _number in range(steps):
            self.step += 1
            for node in self._shuffled():
                if (
                    node.alive
                    and node.postgres == "primary"
                    and not node.handing_over
                    and self.random.random() < writes
                ):
                    self._commit(node)
            self._stream()
            for node in self._shuffled():
                if node.up and node.guard and not node.frozen:
                    self._guard(node)

    def writer_within(self, seconds):
        """Whether a commit made from now on is acknowledged within this time."""
        before = set(self.acknowledged)
        first = self.next_commit
        for _number in range(int(seconds / STEP)):
            self.tick()
            if any(commit >= first for commit in set(self.acknowledged) - before):
                return True
        return False

    def note(self, text):
        self.log.append(f"{self.step * STEP:6.1f} {text}")

    def fail(self, text):
        raise UnsafeError("\n".join([*self.log[-60:], text]))

    # Commits and what may never happen to them.

    def _commit(self, node):
        commit, self.next_commit = self.next_commit, self.next_commit + 1
        node.wal.append((node.timeline, commit))
        node.files.add((node.timeline, (len(node.wal) - 1) // SEGMENT))
        self.pending[node.name][commit] = len(node.wal)
        self._acknowledge(node)

    def _acknowledge(self, node):
        if not node.alive or node.postgres != "primary" or node.by_hand:
            return
        needed, named = self._confirming(node)
        for commit, position in list(self.pending[node.name].items()):
            if sum(1 for name, flushed in node.acks.items() if name in named and flushed >= position) >= needed:
                del self.pending[node.name][commit]
                self._acknowledged(node, commit)

    def _confirming(self, node):
        if not node.names:
            return 0, set()
        count, names = node.names[4:].split(" ", 1)
        return int(count), {name.strip('"') for name in names.strip("()").split(", ")}

    def _acknowledged(self, node, commit):
        self.acknowledged[commit] = node.timeline
        for timeline, (owner, base) in self.promotions.items():
            if timeline > node.timeline and commit not in base:
                self.fail(
                    f"{node.name} acknowledged commit {commit} on timeline {node.timeline}, which {owner}'s timeline {timeline} lacks"
                )

    def _acknowledged_entries(self):
        return [(timeline, commit) for commit, timeline in self.acknowledged.items()]

    def _promoted(self, node, timeline):
        base = {commit for _timeline, commit in node.wal}
        if timeline in self.promotions:
            self.fail(f"{node.name} and {self.promotions[timeline][0]} both took timeline {timeline}")
        lost = [commit for commit, of in self.acknowledged.items() if of < timeline and commit not in base]
        if lost:
            self.fail(f"{node.name} was promoted to timeline {timeline} without the acknowledged commits {lost}")
        self.promotions[timeline] = (node.name, base)

    # PostgreSQL.

    def _stop(self, node):
        node.postgres, node.acks, node.stuck = "off", {}, False
        self.pending[node.name].clear()
        for link in self.links:
            if node in (link.standby, link.primary):
                link.open = False
                if link.primary is node:
                    link.flushed.clear()
        node.link = None

    def _start(self, node):
        sizes = {pg.history_name(timeline): 50 if known else 0 for timeline, known in node.histories.items()}
        gate = pg.gate(node.promise, sizes, node.signal, None if node.conninfo is None else 0, IDENTIFIER, IDENTIFIER)
        assert gate.allowed, gate.reason
        for name in gate.remove_histories:
            del node.histories[pg.history_timeline(name)]
        if gate.clear_upstream:
            node.conninfo = None
        node.signal, node.postgres, node.timeline = True, "standby", 0
        node.wrote, node.by_hand = None, False
        node.settles = self.step + self.random.randint(1, 3)

    def _stop_receiving(self, node):
        node.conninfo = None
        if node.link:
            # What it confirmed before is still on its way.
            node.link.open = False
            node.link.wal.clear()
            node.link = None

    def _target(self, node):
        """The timeline that PostgreSQL recovers towards: the newest that it has a real history of."""
        return max((timeline for timeline, known in node.histories.items() if known), default=1)

    def _connect(self, node):
        primary = self.nodes[node.conninfo]
        if (
            not (primary.alive and primary.postgres == "primary")
            or primary.by_hand
            or self._cut(node, primary)
            or self._cut(primary, node)
        ):
            return
        history = primary.histories.get(primary.timeline, ())
        target = self._target(node)
        last = max((timeline for timeline, _commit in node.wal), default=1)
        known = target == primary.timeline or any(target == timeline for timeline, _left_at in history)
        if not known or not pg.on_history(max(last, 1), len(node.wal), history, primary.timeline):
            return
        if node.wal != primary.wal[: len(node.wal)]:
            self.fail(f"{node.name} follows {primary.name} and has other WAL than it")
        node.histories.update(
            {number: one for number, one in primary.histories.items() if number not in node.histories}
        )
        # The new timeline is streamed from the start of its segment.
        node.files |= {(timeline, len(node.wal) // SEGMENT) for timeline, _segment in primary.files if timeline > last}
        node.link = Link(node, primary)
        self.links.append(node.link)

    def _stream(self):
        for node in self._shuffled():
            if node.alive and node.postgres == "standby" and node.conninfo and not node.link and not node.work:
                self._connect(node)
        for link in self.links:
            self._ship(link)
            self._receive(link)
            self._confirm(link)
        self.links = [link for link in self.links if link.open or link.flushed]

    def _ship(self, link):
        primary = link.primary
        if link.open and primary.alive and primary.postgres == "primary" and link.timeline == primary.timeline:
            count = self.random.randint(0, len(primary.wal) - link.sent + 1)
            for entry in primary.wal[link.sent : link.sent + count]:
                link.wal.append((self._due(), entry))
                link.sent += 1

    def _receive(self, link):
        standby = link.standby
        if not link.open or not standby.alive or self._cut(link.primary, standby):
            return
        while link.wal and link.wal[0][0] <= self.step:
            entry = link.wal.popleft()[1]
            standby.wal.append(entry)
            standby.files.add((entry[0], (len(standby.wal) - 1) // SEGMENT))
        link.flushed.append((self._due(), len(standby.wal)))

    def _confirm(self, link):
        primary = link.primary
        if not primary.alive or self._cut(link.standby, primary) or link.timeline != primary.timeline:
            return
        while link.flushed and link.flushed[0][0] <= self.step:
            flushed = link.flushed.popleft()[1]
            primary.acks[link.standby.name] = max(flushed, primary.acks.get(link.standby.name, 0))
        self._acknowledge(primary)

    def _promote(self, node, ballot):
        node.elected = ballot.timeline
        if self.halfway and self.random.random() < 0.2:
            self.note(f"{node.name} breaks before its promotion")
            return self._stop(node)
        target = self._target(node)
        try:
            stubs = pg.stubs_needed(target, ballot.timeline, node.histories)
        except ValueError as error:
            self.note(f"{node.name} does not promote: {error}")
            return None
        for timeline in stubs:
            node.histories[timeline] = ()
        takes = target + 1
        while takes in node.histories:
            takes += 1
        if takes != ballot.timeline:
            self.fail(f"{node.name} would have taken timeline {takes}, it was elected for {ballot.timeline}")
        node.files.add((takes, max(len(node.wal) - 1, 0) // SEGMENT))
        if self.halfway and self.random.random() < 0.3:
            self.note(f"{node.name} breaks in its promotion before the history is written")
            return self._stop(node)
        node.histories[takes] = (*node.histories.get(target, ()), (target, len(node.wal)))
        node.wrote = takes
        self._promoted(node, takes)
        node.signal = False
        if self.halfway and self.random.random() < 0.5:
            self.note(f"{node.name} breaks in its promotion after the history was written")
            return self._stop(node)
        self.note(f"{node.name} is primary of timeline {takes} at {len(node.wal)}")
        node.postgres, node.timeline, node.acks, node.signal = "primary", takes, {}, True
        node.names, node.in_force, node.probation = pg.synchronous_names(self.rules, node.quorum), None, self.step + 1
        return None

    # The guard.

    def state(self, node):
        common = {"promise": node.promise, "quorum": node.quorum, "sees": self._sees(node)}
        if node.witness:
            return pg.NodeState(node.name, "witness", rank_final=True, **common)
        common["joined"] = node.joined
        if not node.has_data:
            return pg.NodeState(node.name, "empty", **common)
        names = [f"{timeline:08X}00000000{segment:08X}" for timeline, segment in node.files]
        known = {
            timeline: ((1, 0),) if "files alone" in self.broken else one for timeline, one in node.histories.items()
        }
        rank = pg.rank_of(names, max(len(node.wal), node.minimum), known, SEGMENT)
        primary = node.postgres == "primary"
        elected = node.promise == pg.Promise(node.timeline, node.name) and node.elected == node.timeline
        hung = primary and node.stuck
        role = {"off": "stopped"}.get(node.postgres, "hung" if hung else node.postgres)
        timeline = (node.timeline if elected else 0) if primary else rank.timeline
        final = (
            node.postgres == "standby"
            and self.step >= node.settles
            and len(node.wal) >= node.minimum
            and not node.stuck
        )
        return pg.NodeState(
            node.name,
            role,
            writable=primary and elected and not hung and self.step >= node.probation,
            timeline=timeline,
            lsn=0 if node.postgres == "off" else max(len(node.wal), node.minimum),
            rank_final=final or "rank not final" in self.broken,
            system_identifier=IDENTIFIER,
            upstream=node.conninfo,
            streaming=bool(node.link and node.link.open),
            history=node.histories.get(timeline, ()),
            standbys=tuple(
                pg.Standby(link.standby.name, "streaming", "quorum", node.acks.get(link.standby.name, 0))
                for link in self.links
                if link.primary is node and link.open
            ),
            since_seconds=(self.step - node.settles) * STEP,
            handing_over_to=node.handing_over[0] if node.handing_over else None,
            **common,
        )

    def _guard(self, node):
        self._look(node)
        self._read_inbox(node)
        if not node.runs or not node.guard:
            return None
        for other in self.nodes.values():
            if other is not node:
                self._send(node, other, ("ask", self.step))
        heard = self._heard(node)
        node.quorum = pg.newest_quorum(self.state(node), heard)
        if node.witness:
            return None
        if node.work:
            return self._work(node)
        if node.has_data and node.postgres == "off" and not node.handing_over and self.step >= node.waits:
            self._start(node)
        me = self.state(node)
        if not node.joined and me.rank_final and node.has_data:
            node.joined = True
            me = self.state(node)
        if node.handing_over:
            self._leave(node)
        if node.postgres == "primary":
            self._as_primary(node, me, heard)
        else:
            self._as_standby(node, me, heard)
        return None

    def _look(self, node):
        """Discard a fork, before anything is said of it or it is started."""
        if not node.wrote or node.work:
            return
        if "fork counts" not in self.broken and self._forked(node):
            self.note(f"{node.name} discards what it wrote on timeline {node.wrote}, elected for {node.elected}")
            self._fence(node)
            self._wipe(node)
            node.joined = False
        elif node.by_hand and node.elected == node.wrote:
            # Its guard takes it for elected, so it had better have all that an elected one has.
            node.by_hand = False
            self._promoted(node, node.wrote)

    def _forked(self, node):
        elected = node.elected
        if "promise is election" in self.broken and node.promise:
            # What was promised to itself, or more than that to others, would be taken for an election won.
            promised = node.promise.timeline
            own = promised > node.wrote or node.promise == pg.Promise(node.wrote, node.name)
            elected = node.wrote if own else None
        alone = self.rules.voting(node.quorum) == (node.name,)
        return pg.forked(node.wrote, elected, node.joined or node.promise is not None, alone)

    def _wipe(self, node):
        node.wal, node.files, node.histories, node.has_data = [], {(1, 0)}, {}, False
        node.wrote, node.by_hand = None, False

    def _as_primary(self, node, me, heard):
        node.hung_since = (node.hung_since or self.step) if node.stuck else None
        hung = (self.step - node.hung_since) * STEP if node.hung_since else 0.0
        verdict = pg.fence(me, heard, self.rules, hung)
        if not me.timeline:
            self.note(f"{node.name} is fenced: nobody elected it")
            return self._fence(node)
        if verdict.fence and not (verdict.kind == "superseded" and "superseded goes on" in self.broken):
            self.note(f"{node.name} is fenced: {verdict.reason}")
            return self._fence(node)
        change = pg.change_quorum(me, heard, self.rules, node.in_force, self.alone_continues)
        if change.synchronous is not None:
            if node.in_force is None or node.in_force.names != change.synchronous:
                position = 0 if "no wait before return" in self.broken else len(node.wal)
                node.names, node.in_force = change.synchronous, pg.InForce(change.synchronous, position)
            self._acknowledge(node)
        if change.quorum and node.quorum != change.quorum:
            self.note(f"{node.name}: {change.reason}")
            node.quorum = change.quorum
            if "no majority before alone" in self.broken:
                node.names, node.in_force = pg.synchronous_names(self.rules, node.quorum), None
        return None

    def _fence(self, node):
        self._stop(node)
        node.conninfo, node.waits = None, self.step + self.random.randint(1, 3)

    def _as_standby(self, node, me, heard):
        vacancy = pg.vacancy(me, heard, self.rules, (self.step - node.started) * STEP)
        if not vacancy.vacant:
            node.vacant_since = None
        elif node.vacant_since is None:
            node.vacant_since = self.step
        if node.ballot:
            return self._count(node)
        if node.vacant_since is not None:
            promised = None if node.promised_at is None else (self.step - node.promised_at) * STEP
            stand = pg.stand(me, heard, self.rules, (self.step - node.vacant_since) * STEP, promised)
            if stand.now:
                return self._ask_for_votes(node, stand.ballot)
        return self._follow(node, me, heard)

    def _ask_for_votes(self, node, ballot):
        node.ballot, node.votes, node.asked = ballot, {}, self.step
        for name in self.rules.voting(ballot.quorum):
            if name != node.name:
                self._send(node, self.nodes[name], ("ballot", ballot))
        node.votes[node.name] = self._vote(node, ballot)

    def _count(self, node):
        ballot, age = node.ballot, self.step - node.asked
        if ballot.pre:
            granted = sum(1 for vote in node.votes.values() if vote.granted)
            if granted >= self.rules.sizes(ballot.quorum).votes_needed:
                timeline = pg.next_timeline(self.state(node), self._heard(node), node.votes.values())
                return self._ask_for_votes(node, ballot._replace(pre=False, timeline=timeline))
        else:
            if ballot.timeline == getattr(node.promise, "timeline", 0):
                node.votes[node.name] = self._vote(node, ballot)
            result = self._elected(ballot, node)
            if result.won and node.promise == pg.Promise(ballot.timeline, node.name):
                self.note(result.reason)
                node.quorum, node.ballot = result.quorum, None
                return self._promote(node, ballot)
            if result.outranked_by:
                node.ballot = None
                return None
            if age % 2 == 1:
                for name in self.rules.voting(ballot.quorum):
                    if name != node.name:
                        self._send(node, self.nodes[name], ("ballot", ballot))
        if age > 8:
            node.ballot = None
        return None

    def _elected(self, ballot, node):
        votes = node.votes
        if "empty nodes count" in self.broken:
            votes = {name: vote._replace(joined=True) for name, vote in votes.items()}
        if "least of votes" in self.broken:
            full = self.rules.sizes(ballot.quorum)
            granted = [name for name, vote in votes.items() if vote.granted]
            won = len(granted) >= max(1, full.votes_needed - 1) and node.name in granted
            return pg.Elected(won, "with one vote fewer", pg.Quorum((ballot.timeline, 0), ballot.quorum.out))
        if "rank ignored" in self.broken:
            votes = {name: vote._replace(rank=pg.Rank(0, 0)) for name, vote in votes.items()}
        return pg.elected(ballot, votes, self.rules)

    def _vote(self, node, ballot):
        me = self.state(node)
        answer = pg.vote(ballot, me, self._heard(node), self.rules)
        if "two candidates" in self.broken and not ballot.pre and not answer.granted and ballot.timeline > me.timeline:
            answer = pg.Answer(True, "promised twice", pg.Promise(ballot.timeline, ballot.candidate), me.quorum)
        if answer.promise:
            if node.promise != answer.promise and ballot.candidate != node.name:
                node.promised_at = self.step
            node.promise = answer.promise
            node.quorum = answer.quorum
            if answer.fence:
                self.note(f"{node.name} stops, since it votes for {ballot.candidate}")
                self._fence(node)
            elif "receiver goes on" not in self.broken:
                self._stop_receiving(node)
        after = self.state(node)
        return pg.Vote(
            answer.granted,
            answer.reason,
            after.rank,
            after.rank_final,
            node.joined,
            after.promise,
            after.timeline,
            node.quorum,
        )

    def _follow(self, node, me, heard):
        verdict = pg.upstream(
            me, heard, self.rules, [number for number, one in node.histories.items() if one], node.rewind_failed
        )
        if "follows anyone" in self.broken and verdict.action == "wait":
            anyone = pg.writer_heard(heard, self.rules, 0, self.rules.fresh_seconds)
            if anyone:
                node.conninfo = anyone.node
        if verdict.promise and verdict.action != "wait":
            node.promise = verdict.promise
        if verdict.action == "follow" and not verdict.drop_timelines:
            if node.conninfo != verdict.source:
                self._stop_receiving(node)
                node.conninfo = verdict.source
        elif verdict.action in ("follow", "rewind", "clone"):
            self._stop(node)
            if verdict.action != "follow" and "wiped nodes count" not in self.broken:
                node.joined = False
            if verdict.action == "clone":
                self._wipe(node)
            node.work = (verdict, self.step + self.random.randint(1, 6))

    def _work(self, node):
        """Rewind, clone, or remove a dead branch, with PostgreSQL stopped."""
        verdict, until = node.work
        if self.step < until:
            return
        source = self.nodes[verdict.source]
        node.work = None
        there = (
            source.alive
            and source.postgres == "primary"
            and not self._cut(node, source)
            and not self._cut(source, node)
        )
        if verdict.action != "follow":
            if not there or (verdict.action == "rewind" and self.random.random() < 0.2):
                node.rewind_failed = verdict.action == "rewind"
                return
            self._copy(node, source, verdict.action)
        for timeline in verdict.drop_timelines:
            node.histories.pop(timeline, None)
            node.files = {entry for entry in node.files if entry[0] != timeline}
        node.rewind_failed, node.waits = False, 0
        self._start(node)
        node.conninfo = verdict.source

    def _copy(self, node, source, action):
        common = 0
        while common < min(len(node.wal), len(source.wal)) and node.wal[common] == source.wal[common]:
            common += 1
        node.minimum = len(source.wal)
        length = self.random.choice([len(source.wal), self.random.randint(common, len(source.wal))])
        node.wal = list(source.wal[: max(length, common)])
        node.files, node.histories = set(source.files), dict(source.histories)
        node.has_data = True
        self.note(
            f"{node.name} did {action} from {source.name}, common up to {common}, has {len(node.wal)} of {node.minimum}"
        )

    def _ruin(self, node):
        """A rewind or a clone that is broken off leaves nothing that starts."""
        if node.work and node.work[0].action != "follow":
            self._wipe(node)

    def _leave(self, node):
        target, since = node.handing_over
        age = (self.step - since) * STEP
        if node.postgres == "primary" and (node.acks.get(target, 0) >= len(node.wal) or age > 2):
            self.note(f"{node.name} stops for {target}")
            self._stop(node)
            node.conninfo = None
        if age > self.rules.handover_seconds or (node.postgres == "primary" and age > 3):
            node.handing_over = None

    def _guard_starts(self, node):
        if "promise forgotten" in self.broken:
            node.promise = None

    # Messages.

    def _send(self, source, target, message):
        if self._cut(source, target) or self.random.random() < self.loss or not target.up or not target.guard:
            return
        target.inbox.append((self._due(), source.name, message))

    def _read_inbox(self, node):
        due = [entry for entry in node.inbox if entry[0] <= self.step]
        node.inbox = [entry for entry in node.inbox if entry[0] > self.step]
        self.random.shuffle(due)
        for _due, sender, message in due:
            self._take(node, self.nodes[sender], message)

    def _take(self, node, sender, message):
        kind, content = message
        if kind == "ask":
            self._send(node, sender, ("state", (content, pg.state_from(self.state(node).to_json()))))
        elif kind == "state":
            asked_at, state = content
            if sender.name not in node.heard or node.heard[sender.name][0] <= asked_at:
                node.heard[sender.name] = (asked_at, state)
        elif kind == "ballot":
            # While it rewinds or clones a node's PostgreSQL has no rank; a promise would only keep it from what it copies.
            self._send(node, sender, ("vote", (content, self._vote(node, content))))
        elif kind == "vote":
            ballot, vote = content
            if ballot == node.ballot:
                node.votes[sender.name] = vote

    def _heard(self, node):
        heard = {}
        for name in self.nodes:
            if name != node.name:
                asked_at, state = node.heard.get(name, (node.started, None))
                heard[name] = pg.Heard(state, (self.step - asked_at) * STEP)
        return heard

    def _sees(self, node):
        return {name: one.age_seconds if one.state else None for name, one in self._heard(node).items()}

    def _due(self):
        return self.step + self.random.randint(0, self.delay)

    def _cut(self, source, target):
        return (source.name, target.name) in self.cuts

    def _shuffled(self):
        nodes = list(self.nodes.values())
        self.random.shuffle(nodes)
        return nodes

    def _newest_quorum(self):
        return max((node.quorum for node in self.nodes.values()), key=lambda quorum: quorum.version)


FAULTS = (
    "crash",
    "boot",
    "freeze",
    "freeze_postgres",
    "thaw",
    "kill",
    "guard_stop",
    "guard_start",
    "promote_by_hand",
    "cut",
    "isolate",
    "heal",
    "hand_over",
    "degrade",
    "loss",
    "calm",
    "halfway",
)


def act(cluster, fault, name, other):
    """One fault, or the end of one, of one host or between two; what makes no sense in the present state does nothing."""
    node = cluster.nodes[name]
    out = cluster._newest_quorum().out
    # Nodes that are out are powered on while the one that went on runs and hears them: the operator's part.
    keeper = [one for one in cluster.nodes.values() if one.name not in out and one.runs and one.guard]
    actions = {
        "crash": lambda: cluster.crash(name) if node.up else None,
        "boot": lambda: cluster.boot(name) if name not in out or keeper else None,
        "freeze": lambda: cluster.freeze(name) if node.runs else None,
        "freeze_postgres": lambda: cluster.freeze(name, True) if node.alive else None,
        "thaw": lambda: cluster.thaw(name) if node.frozen or node.stuck else None,
        "kill": lambda: cluster.kill_postgres(name) if node.alive else None,
        "guard_stop": lambda: cluster.stop_guard(name) if node.up and node.guard else None,
        "guard_start": lambda: cluster.start_guard(name) if node.up and not node.guard else None,
        "promote_by_hand": lambda: (
            (cluster.stop_guard(name) if node.guard else None, cluster.promote_by_hand(name))
            if node.alive and node.postgres == "standby"
            else None
        ),
        "cut": lambda: cluster.cut(name, other) if name != other else None,
        "isolate": lambda: [
            cluster.cut(*pair) for one in cluster.nodes if one != name for pair in ((name, one), (one, name))
        ],
        "heal": cluster.heal,
        "hand_over": lambda: cluster.hand_over(name),
        "degrade": lambda: cluster.degrade(name),
        "loss": lambda: setattr(cluster, "loss", 0.3) or setattr(cluster, "delay", 4),
        "calm": lambda: setattr(cluster, "loss", 0.0) or setattr(cluster, "delay", 1),
        "halfway": lambda: setattr(cluster, "halfway", not cluster.halfway),
    }
    actions[fault]()


def primary_of(cluster, than=None):
    """The name of the primary of the highest timeline, other than the one given."""
    found = [node for node in cluster.nodes.values() if node.postgres == "primary" and node.up and node.name != than]
    return max(found, key=lambda node: node.timeline).name if found else None


def wait_for(cluster, met, steps=30):
    for _number in range(steps):
        if met():
            return True
        cluster.tick()
    return False


def deposed(cluster):
    """A primary whose guard is dead does not know that another was elected; that one is cut off, and the guards start anew."""
    old = primary_of(cluster)
    if not old:
        return
    act(cluster, "guard_stop", old, old)
    if wait_for(cluster, lambda: primary_of(cluster, old)):
        act(cluster, "isolate", primary_of(cluster, old), old)
        for name in cluster.nodes:
            if name != primary_of(cluster, old):
                act(cluster, "guard_stop", name, name)
                cluster.start_guard(name)
        cluster.tick(12)


def longer_tail(cluster):
    """A primary that is cut off writes on; its successor dies after its first commits, when the old one with more WAL is back."""
    old = primary_of(cluster)
    if not old:
        return
    act(cluster, "isolate", old, old)
    cluster.tick(6, writes=1.0)
    if wait_for(cluster, lambda: primary_of(cluster, old)):
        new = primary_of(cluster, old)
        timeline = cluster.nodes[new].timeline
        if wait_for(cluster, lambda: timeline in cluster.acknowledged.values()):
            cluster.crash(new)
            cluster.heal()
            cluster.tick(24)


def alone_and_back(cluster):
    """With a witness one goes on alone; the other comes back far behind, and may vote just when the first dies."""
    old = primary_of(cluster)
    if not old:
        return
    cluster.crash(old)
    if wait_for(cluster, lambda: primary_of(cluster) and cluster.nodes[primary_of(cluster)].quorum.out, 40):
        new = primary_of(cluster)
        cluster.tick(cluster.random.randint(4, 20), writes=1.0)
        cluster.delay = 4
        cluster.boot(old)
        if wait_for(cluster, lambda: not cluster.nodes[new].quorum.out, 60):
            cluster.crash(new)
            cluster.delay = 1
            cluster.tick(24)


def promoted_past_its_guard(cluster):
    """A standby that somebody promoted has the highest timeline of all when the primary dies, and less than what was acknowledged."""
    old = primary_of(cluster)
    others = [node for node in cluster.nodes.values() if node.alive and node.postgres == "standby"]
    if not old or not others:
        return
    one = cluster.random.choice(others).name
    act(cluster, "promote_by_hand", one, one)
    cluster.tick(cluster.random.randint(2, 8), writes=1.0)
    cluster.crash(old)
    if cluster.random.random() < 0.5:
        cluster.kill_postgres(one)
    cluster.start_guard(one)
    cluster.tick(cluster.random.randint(2, 12))
    cluster.boot(old)
    cluster.tick(12)


PLOTS = (deposed, longer_tail, alone_and_back, promoted_past_its_guard)


def storm(cluster, rounds):
    """Faults by chance, with pauses in between, some long enough for the cluster to answer."""
    names = list(cluster.nodes)
    cluster.tick(16)
    for _number in range(rounds):
        if cluster.random.random() < 0.1:
            cluster.random.choice(PLOTS)(cluster)
        fault = cluster.random.choice(FAULTS)
        act(cluster, fault, cluster.random.choice(names), cluster.random.choice(names))
        cluster.tick(cluster.random.choice((0, 0, 1, 2, 4, 8, 16)))
