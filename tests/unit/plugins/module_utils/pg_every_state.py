"""What three nodes can be, for tests that go through all of it: of each value one on either side of every limit that a rule looks at.

Everything is seen from `db2`, between one that stands earlier in the list and one that stands later. It is on timeline 5 at position 100.
"""

from __future__ import annotations

from itertools import product

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Heard, NodeState, Quorum, Rank, Rules

RULES = Rules(("db1", "db2", "db3"))
WITNESSED = Rules(("db1", "db2"), ("witness1",))
TIMELINE, POSITION = 5, 100
HERE = Rank(TIMELINE, POSITION)
# Less and more than what db2 has, by the position and by the timeline; a timeline outweighs any position.
LESS = (Rank(5, 99), Rank(4, 900))
MORE = (Rank(5, 101), Rank(6, 1))
RANKS = (*LESS, HERE, *MORE)
OURS, FOREIGN = "7000", "7999"
AN_HOUR = 3600.0
# A guard has no word for anything else; `writer` is a primary that takes writes, `leaving` one that takes none any more.
KINDS = {
    "writer": {"role": "primary", "writable": True},
    "leaving": {"role": "primary"},
    **{role: {"role": role} for role in ("standby", "starting", "stopped", "hung", "empty", "witness")},
}


def just_below(seconds):
    return seconds - 0.001


def state(name, kind="standby", rank=HERE, **changes):
    """A node that has data that counts, unless the changes say otherwise."""
    whole = {"joined": kind not in ("empty", "witness"), "rank_final": kind in ("standby", "leaving", "writer")}
    return NodeState(name, timeline=rank.timeline, lsn=rank.lsn, **{**KINDS[kind], **whole, **changes})


def said(states, ages):
    """Each state at each age."""
    return [Heard(one, age) for one, age in product(states, ages)]


# Never asked, and asked without an answer: for a moment, or for long.
UNHEARD = (None, Heard(None, 0.1), Heard(None, AN_HOUR))


def views(of_one, of_other):
    """What can have been heard of two others, each a pair of a name and what may be heard of it, None for nothing at all."""
    (one, first), (other, last) = of_one, of_other
    for mine, theirs in product(first, last):
        yield {name: word for name, word in ((one, mine), (other, theirs)) if word is not None}


def quorums(*outs):
    """The present quorum and ones of versions below and above, with each of these nodes out."""
    return [Quorum(version, out) for version, out in product(((4, 3), (5, 0), (5, 1)), outs)]


def latest(*known):
    return max(known, key=lambda quorum: quorum.version)


def in_quorum(rules, quorum):
    """Who votes, and which of them are data nodes."""
    members = [name for name in rules.nodes if name not in quorum.out]
    return members + [name for name in rules.witnesses if name not in quorum.out], members
