"""Everything that a primary can see of two others when it asks itself whom to let back in, or whether to go on without one.

Each test goes through a whole product and says how many combinations that is: one that loses a value says so too.
"""

from __future__ import annotations

from collections import Counter
from itertools import product

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import (
    Heard,
    InForce,
    Promise,
    Quorum,
    Rank,
    Standby,
    change_quorum,
    synchronous_names,
)
from tests.unit.plugins.module_utils.pg_every_state import (
    RULES,
    UNHEARD,
    WITNESSED,
    in_quorum,
    just_below,
    said,
    state,
    views,
)

VERSION = (5, 3)
TOO_OLD = (2.0,)


def voters(name, kind="standby", ages=TOO_OLD):
    """What may have been heard of another, where what it knows, what it has promised, and the time of its word make a difference."""
    well = state(name, kind, quorum=Quorum(VERSION))
    told = [
        well,
        well._replace(joined=False),
        well._replace(timeline=4),
        well._replace(promise=Promise(6, "db3")),
        well._replace(quorum=Quorum((5, 2))),
        well._replace(quorum=Quorum((5, 4))),
    ]
    return [*UNHEARD, *said(told, (just_below(2.0),)), *said([well], ages)]


def rows(name):
    """How a node may stand in pg_stat_replication: not at all, or twice, where its connection of before has not ended there yet."""
    less, more = (Standby(name, "streaming", "quorum", lsn) for lsn in (99, 100))
    return [(), (less,), (more,), (Standby(name, "catchup", "quorum", 100),), (more, less)]


def flushed(me, name):
    return max((row.flush_lsn for row in me.standbys if (row.name, row.state) == (name, "streaming")), default=0)


def knows(word, version):
    return bool(word and word.state and word.age_seconds < 2.0 and word.state.quorum.version >= version)


def may_come_back(name, me, heard, rules):
    """Whether it knows this quorum, has promised nothing later, and, where it has data, streams on this timeline."""
    word = heard.get(name)
    if not knows(word, me.quorum.version) or max(word.state.floor, 0) > me.timeline:
        return False
    return name in rules.witnesses or (
        word.state.joined and word.state.timeline == me.timeline and flushed(me, name) > 0
    )


def may_be_left(me, heard, rules):
    """The only other data node, where it neither streams nor was heard for long, and a witness of this quorum is heard."""
    now, members = in_quorum(rules, me.quorum)
    others = [name for name in members if name != me.node]
    witnessed = any(
        heard.get(name) and heard[name].state and heard[name].age_seconds < 2.0 for name in now if name not in members
    )
    if len(others) != 1 or not witnessed or any(row.name == others[0] for row in me.standbys):
        return None
    return others[0] if others[0] not in heard or heard[others[0]].age_seconds >= 4.0 else None


def expected(me, heard, rules, in_force, alone_continues):
    """Whom commits are to wait for, who is out then, and by which rule."""
    now, _members = in_quorum(rules, me.quorum)
    know = [name for name in now if name == me.node or knows(heard.get(name), me.quorum.version)]
    if not me.is_writer or me.quorum.version[0] != me.timeline or 2 * len(know) <= len(now):
        return None, None, "as it is"
    back = next((name for name in me.quorum.out if may_come_back(name, me, heard, rules)), None)
    if back:
        less = Quorum(VERSION, tuple(name for name in me.quorum.out if name != back))
        strict = synchronous_names(rules, less)
        # All that was acknowledged without it lies before the position from which on every commit waits by the new rule.
        has_all = bool(in_force) and in_force.names == strict and flushed(me, back) >= in_force.since_lsn
        ready = back in rules.witnesses or has_all
        return strict, less.out if ready else None, "back" if ready else "before back"
    left = may_be_left(me, heard, rules) if alone_continues else None
    if left:
        return None, tuple(sorted({*me.quorum.out, left})), "left out"
    return synchronous_names(rules, me.quorum), None, "whole"


def waits(rules, outs):
    """What commits may be known to wait for: it is not known, for nobody, or for the members of each of these quorums since a position."""
    names = sorted({"", *(synchronous_names(rules, Quorum(VERSION, out)) for out in outs)})
    return [None, *(InForce(one, since) for one, since in product(names, (100, 101)))]


def check_change(me, heard, rules, in_force, alone_continues):
    change = change_quorum(me, heard, rules, in_force, alone_continues)
    synchronous, out, rule = expected(me, heard, rules, in_force, alone_continues)
    wanted = None if out is None else Quorum((5, VERSION[1] + 1), out)
    assert change[:2] == (synchronous, wanted), (me, heard, in_force, change)
    assert change.reason
    if wanted:
        # Majorities of two quorums that differ by one node meet.
        assert len(set(wanted.out) ^ set(me.quorum.out)) == 1
    return rule


def test_a_primary_lets_one_node_back_at_a_time_and_only_with_all_that_was_acknowledged_without_it():
    counts = Counter()
    outs = ((), ("db1",), ("db1", "db3"))
    for first, last, out in product(rows("db1"), rows("db3")[:3:2], outs):
        me = state("db2", "writer", quorum=Quorum(VERSION, out), standbys=first + last)
        for heard in views(("db1", voters("db1")), ("db3", voters("db3"))):
            for in_force in waits(RULES, outs):
                counts[check_change(me, heard, RULES, in_force, False)] += 1
    assert sum(counts.values()) == 5 * 2 * 3 * 10 * 10 * 7
    assert counts == {"as it is": 5250, "whole": 13874, "before back": 1748, "back": 128}


def test_of_two_with_a_witness_one_goes_on_alone_only_while_the_witness_knows():
    counts = Counter()
    long_ago = voters("db1", ages=(just_below(4.0), 4.0))
    for row, out, alone_continues in product(rows("db1"), ((), ("db1",), ("witness1",)), (True, False)):
        me = state("db2", "writer", quorum=Quorum(VERSION, out), standbys=row)
        for heard in views(("db1", long_ago), ("witness1", voters("witness1", "witness"))):
            for in_force in waits(WITNESSED, ((), ("db1",))):
                counts[check_change(me, heard, WITNESSED, in_force, alone_continues)] += 1
    assert sum(counts.values()) == 5 * 3 * 2 * 11 * 10 * 5
    assert counts == {"as it is": 7250, "whole": 7875, "before back": 260, "back": 1040, "left out": 75}


def test_only_a_primary_that_writes_changes_a_quorum_of_its_own_timeline():
    counts = Counter()
    heard = {name: Heard(state(name, quorum=Quorum((7, 0))), 0.3) for name in ("db1", "db3")}
    both = (Standby("db1", "streaming", "quorum", 100), Standby("db3", "streaming", "quorum", 100))
    for kind, timeline, out in product(("writer", "leaving", "standby"), (4, 5, 6), ((), ("db1",))):
        me = state("db2", kind, Rank(timeline, 100), quorum=Quorum(VERSION, out), standbys=both)
        counts[check_change(me, heard, RULES, None, True)] += 1
    assert counts == {"as it is": 16, "whole": 1, "before back": 1}
