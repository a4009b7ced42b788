"""Everything that three nodes can say to a pooler's follower, and everything that one of them can hear of whom it might follow.

Each test goes through a whole product and says how many combinations that is: one that loses a value says so too.
"""

from __future__ import annotations

from collections import Counter
from itertools import product

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Heard,
    Promise,
    Quorum,
    Rank,
    route,
    upstream,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_follow import Config, Course, Node, judge
from tests.unit.plugins.module_utils.pg_every_state import (
    AN_HOUR,
    FOREIGN,
    KINDS,
    OURS,
    RULES,
    UNHEARD,
    just_below,
    said,
    state,
    views,
)

# Where clients are sent.

LAG_LIMIT = 5.0
ALONE = {name: tuple(other for other in RULES.nodes if other != name) for name in RULES.nodes}


def streaming(name, of, timeline=5, lag=0.0, **changes):
    return state(
        name,
        rank=Rank(timeline, 100),
        upstream=of,
        streaming=True,
        replay_lag_seconds=lag,
        system_identifier=OURS,
        **changes,
    )


def standbys(name):
    one, other = ALONE[name]
    for timeline, lag in product((4, 5, 6), (None, LAG_LIMIT, LAG_LIMIT + 0.001)):
        yield streaming(name, one, timeline, lag)
    for timeline in (4, 5):
        yield streaming(name, other, timeline)
        yield streaming(name, one, timeline)._replace(streaming=False)
        yield streaming(name, one, timeline, joined=False)
        # What is on another cluster's timeline and what has not been told apart yet.
        yield state(name, rank=Rank(timeline, 100))
    for timeline in (4, 6):
        yield state(name, rank=Rank(timeline, 100), system_identifier=FOREIGN)


def told(name):
    """What may have been heard of a node, None for nothing."""
    primaries = [
        state(name, "writer", Rank(timeline, 100), quorum=Quorum((timeline, 0), out), system_identifier=OURS)
        for timeline, out in product((4, 5), ((), ALONE[name]))
    ]
    others = [
        state(name, kind, Rank(timeline, 100), system_identifier=OURS)
        for kind, timeline in (("leaving", 5), ("leaving", 6), ("hung", 5), ("starting", 4), ("stopped", 6))
    ]
    # Nobody says this; a role alone is what makes a primary.
    others += [state(name, "empty", Rank(0, 0)), streaming(name, ALONE[name][0], writable=True)]
    fresh = [*primaries, *others, *standbys(name)]
    too_old = [primaries[2], streaming(name, ALONE[name][0])]
    return [*UNHEARD[:2], *said(fresh, (just_below(2.5),)), *said(too_old, (2.5,))]


def who_writes(fresh):
    """The primary of the newest timeline that any node of its cluster is on, confirmed by one that streams it, or alone by its quorum."""
    claims = [one for one in fresh if one.is_writer]
    best = [one for one in claims if one.timeline == max(other.timeline for other in claims)]
    if len(best) != 1:
        return None
    writer = best[0]
    of_one_cluster = [one for one in fresh if one.system_identifier != FOREIGN]
    confirmed = any(one.streaming and (one.upstream, one.timeline) == (writer.node, writer.timeline) for one in fresh)
    newest = all(one.timeline <= writer.timeline for one in of_one_cluster)
    return writer if newest and (confirmed or writer.quorum.out == ALONE[writer.node]) else None


def who_is_read(fresh, writer):
    """Standbys that replay what the writer writes, and not long after; while nobody writes those that have the data of most."""
    standbys = [one for one in fresh if one.role == "standby" and one.joined]
    if writer is None:
        data = [one.system_identifier for one in fresh if one.joined and one.system_identifier]
        foreign, ours = data.count(FOREIGN), data.count(OURS)
        allowed = {None} | ({OURS} if ours > foreign else set()) | ({FOREIGN} if foreign > ours else set())
        return [one.node for one in standbys if one.system_identifier in allowed]
    found = [
        one.node
        for one in standbys
        if one.streaming and (one.upstream, one.timeline) == (writer.node, writer.timeline)
        if one.replay_lag_seconds is not None and one.replay_lag_seconds <= LAG_LIMIT
    ]
    return found or [writer.node]


def test_whatever_three_nodes_say_clients_write_to_one_confirmed_primary_or_to_none():
    counts = Counter()
    choices = [told(name) for name in RULES.nodes]
    for words in product(*choices):
        heard = {name: word for name, word in zip(RULES.nodes, words, strict=True) if word}
        fresh = [word.state for word in heard.values() if word.state and word.age_seconds < 2.5]
        found = route(heard, RULES, LAG_LIMIT)
        writer = who_writes(fresh)
        assert found.writer == (writer.node if writer else None), (heard, found)
        assert list(found.readers) == who_is_read(fresh, writer), (heard, found)
        assert found.reason
        # Each that gets nothing is told why, and no other.
        assert set(found.why) == set(RULES.nodes) - {found.writer, *found.readers}, found
        assert all(found.why.values())
        counts[bool(found.writer)] += 1
    assert len(choices[0]) == 34
    assert counts == {False: 34**3 - 3521, True: 3521}


# What the follower makes of it, which goes on with the last writer where nobody is known to be one.

CONFIG = Config(
    nodes=tuple(Node(name, f"192.0.2.3{number}", 5432, 5433) for number, name in enumerate(RULES.nodes)),
    databases=(),
    **dict.fromkeys(("ca_file", "certificate_file", "key_file", "databases_file", "socket_directory"), "unused"),
    **dict.fromkeys(("state_file", "metrics_file"), "unused"),
    port=6432,
    lag_limit_seconds=LAG_LIMIT,
    poll_seconds=0.4,
    request_timeout_seconds=1.0,
    silent_seconds=2.5,
    hold_seconds=15.0,
    steady_seconds=2.0,
)


def few_told(name):
    """What may have been heard of a node, where a writer, who confirms it, and who knows better make a difference."""
    one, other = ALONE[name]
    fresh = [
        state(name, "writer", Rank(4, 100)),
        state(name, "writer"),
        state(name, "leaving"),
        streaming(name, one),
        streaming(name, other),
        streaming(name, one, 4, promise=Promise(6, name)),
        state(name),
        state(name, "stopped", Rank(6, 100)),
        state(name, "empty", Rank(0, 0)),
    ]
    return [None, Heard(None, 0.1), *said(fresh, (just_below(2.5),)), *said([fresh[1], fresh[3]], (2.5,))]


def is_known_to_be_over(writer, fresh):
    """Whether the last writer is none any more: it says so, others know a later timeline, or it is silent and nobody streams from it."""
    if writer in fresh:
        others = [max(one.timeline, one.promise.timeline if one.promise else 0) for one in fresh.values()]
        return not fresh[writer].is_writer or max(others) > fresh[writer].timeline
    return bool(fresh) and not any((one.upstream, one.streaming) == (writer, True) for one in fresh.values())


def test_whatever_three_nodes_say_clients_wait_only_where_the_last_writer_is_known_to_be_over():
    counts = Counter()
    befores = [Course(), *(Course(writer=name, readers=("db3",), held_since=9.0) for name in RULES.nodes)]
    befores += [Course(writer="db1", hold_spent=True), Course(writer="db1", held_since=-5.0)]
    for words, before in product(product(*map(few_told, RULES.nodes)), befores):
        heard = {name: word for name, word in zip(RULES.nodes, words, strict=True) if word}
        fresh = {name: word.state for name, word in heard.items() if word.state and word.age_seconds < 2.5}
        writes = who_writes(fresh.values())
        course = judge(before, heard, CONFIG, 10.0)
        claims = [one.timeline for one in fresh.values() if one.is_writer]
        disputed = writes is None and claims.count(max(claims, default=0)) > 1
        over = before.writer is not None and is_known_to_be_over(before.writer, fresh)
        assert course.writer == (writes.node if writes else before.writer)
        assert course.disputed is disputed
        assert course.target[0] == (None if disputed else course.writer)
        wait = writes is None and (disputed or over) and not before.hold_spent and before.held_since != -5.0
        assert course.held is wait, (heard, before, course)
        # Once they have waited for as long as allowed they get errors, until there is a writer.
        spent = writes is None and (before.hold_spent or (before.held_since == -5.0 and (disputed or over)))
        assert course.hold_spent is spent
        counts[course.held] += 1
    assert counts == {False: 13**3 * 6 - 5472, True: 5472}


# Whom a node follows.


def leaders(name):
    """What may be heard of a node, where whether it writes, on which timeline, of which cluster, and when that was said make a difference."""
    writing = [state(name, "writer", Rank(timeline, 100), system_identifier=OURS) for timeline in (4, 5, 6)]
    unknown = [state(name, "writer", Rank(6, 100), system_identifier=one) for one in (None, FOREIGN)]
    others = [state(name, kind, Rank(7, 100), system_identifier=OURS) for kind in KINDS if kind != "writer"]
    return [*UNHEARD, *said(writing, (just_below(2.0), 2.0)), *said([*unknown, *others], (0.3,))]


def to_follow(me, heard):
    """The primary of the highest timeline, of those that are on the promised one and on this node's own or later."""
    floor = max(me.timeline, me.promise.timeline if me.promise else 0)
    there = [
        word.state
        for word in heard.values()
        if word.state and word.age_seconds < 2.0 and word.state.is_writer and word.state.timeline >= floor
    ]
    best = [one for one in there if one.timeline == max(other.timeline for other in there)]
    return best[0] if best else None


def check_upstream(me, heard):
    found = upstream(me, heard, RULES)
    writer = to_follow(me, heard)
    action = found.action
    assert found.reason
    if me.role in ("primary", "witness"):
        assert action == "none"
    elif writer is None:
        assert action == "wait"
    elif me.system_identifier == OURS and writer.system_identifier == FOREIGN:
        assert action == "refuse"
    else:
        assert (found.source, action) in (
            (writer.node, "clone" if me.role == "empty" else action),
            (None, "wait"),
        ), (me, heard, found)
        assert action in ("none", "follow", "rewind", "clone", "wait")
        # What is followed is promised first, so that no vote for an older timeline comes after it.
        newer = me.promise is None or me.promise.timeline < writer.timeline
        assert found.promise == (Promise(writer.timeline, writer.node) if newer and found.source else None)
        return action
    assert (found.source, found.promise, found.drop_timelines) == (None, None, ())
    return action


def test_nobody_follows_anyone_but_the_newest_primary_that_its_promise_and_its_data_allow():
    promises = (None, Promise(5, "db1"), Promise(6, "db3"), Promise(7, "db3"))
    ways = (("db1", True), ("db1", False), ("db3", True), (None, False))
    mine = [
        state("db2", kind, promise=promise, upstream=source, streaming=streams, system_identifier=identifier)
        for kind, promise, (source, streams), identifier in product(KINDS, promises, ways, (None, OURS))
    ]
    counts = Counter()
    for heard in views(("db1", leaders("db1")), ("db3", leaders("db3"))):
        for me in mine:
            counts[check_upstream(me, heard)] += 1
    assert sum(counts.values()) == 18 * 18 * 8 * 4 * 4 * 2
    assert counts == {"none": 31568, "wait": 41306, "rewind": 4950, "clone": 2444, "refuse": 1980, "follow": 696}


HISTORY = ((1, 50), (4, 80), (5, 100))


def how_to_follow(me, rewind_failed):
    """What brings a node to where the primary of timeline 6 is, which left timeline 4 at 80 and 5 at 100 and was never on 3."""
    ends = {1: 50, 4: 80, 5: 100, 6: AN_HOUR}
    on_its_history = me.timeline in ends and me.lsn <= ends[me.timeline]
    replayed = me.lsn if me.replay_lsn is None else me.replay_lsn
    if (me.upstream, me.streaming, me.timeline) == ("db1", True, 6):
        return "none"
    if rewind_failed:
        return "clone"
    if me.rank_final or me.streaming:
        return "follow" if me.timeline in ends and replayed <= ends[me.timeline] else "rewind"
    # It does not know what it has. With data that counts that is waited for; else it is completed, or copied when that cannot be or takes too long.
    if me.joined or me.lsn == 0:
        return "wait"
    if not on_its_history:
        return "clone"
    if me.upstream != "db1":
        return "follow"
    return "clone" if me.since_seconds >= 60 else "wait"


def test_nothing_that_counts_is_rewound_or_copied_over_while_it_is_not_known():
    writer = state("db1", "writer", Rank(6, 900), history=HISTORY, system_identifier=OURS)
    heard, count, actions = {"db1": Heard(writer, 0.3)}, 0, Counter()
    for timeline, lsn, replayed in product((1, 3, 4, 5, 6), (0, 50, 51, 80, 81, 100, 101), (None, 50, 80, 100)):
        for joined, final, streams, failed in product((True, False), repeat=4):
            for source, since in product((None, "db1", "db3"), (just_below(60), 60)):
                me = state("db2", rank=Rank(timeline, lsn), joined=joined, rank_final=final, upstream=source)
                me = me._replace(replay_lsn=replayed, streaming=streams, since_seconds=since)
                found = upstream(me, heard, RULES, (1, 2, 3, 4, 9), failed)
                count += 1
                actions[found.action] += 1
                assert found.action == how_to_follow(me, failed), (me, failed, found)
                # Branches of which the primary knows nothing leave the node with it, where it does not lose all it has.
                assert found.drop_timelines in ((), (2, 3, 9))
                assert (found.action in ("follow", "rewind")) == bool(found.drop_timelines)
                if me.joined and not (me.rank_final or me.streaming or failed):
                    assert found.action == "wait"
    assert count == 5 * 7 * 4 * 16 * 3 * 2
    assert actions == {"clone": 6916, "follow": 2968, "rewind": 2088, "wait": 1020, "none": 448}
