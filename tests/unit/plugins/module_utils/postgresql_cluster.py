"""A recorded cluster of three nodes, and what becomes of the picture when something of it is changed."""

import copy
import json
from pathlib import Path

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Rules
from ansible_collections.escala.ha.plugins.module_utils._postgresql_observed import UNKNOWN, node_from
from ansible_collections.escala.ha.plugins.module_utils._postgresql_replication import combine

RECORDED = json.loads((Path(__file__).parent / "recordings" / "postgresql_17.json").read_text())
ADDRESSES = {"db1": "10.77.0.31", "db2": "10.77.0.32", "db3": "10.77.0.33"}
NO_GUARD = {"guard": None, "guard_problem": "connection refused", "certificate_days_left": None}


def answers():
    """What db1 (primary), db2 and db3 answered, to change something in."""
    return copy.deepcopy(RECORDED)


def asked(answer):
    return {**node_from(answer), "reachable": True, "problem": None, "answered_in_seconds": 0.05}


def silent(problem="no answer within the limit"):
    return {**UNKNOWN, "reachable": False, "problem": problem, "answered_in_seconds": 3.0}


def guard(node, **changes):
    """A guard's word that fits the recording, with changes."""
    others = [name for name in ADDRESSES if name != node]
    primary = node == "db1"
    return {
        "format": 1,
        "node": node,
        "role": "primary" if primary else "standby",
        "writable": primary,
        "timeline": 2,
        "lsn": 71948112,
        "rank_final": True,
        "joined": True,
        "system_identifier": RECORDED["db1"]["system_identifier"],
        "upstream": None if primary else "db1",
        "streaming": not primary,
        "promise": None,
        "history": [[1, 100]],
        "sees": dict.fromkeys(others, 0.3),
        "standbys": [],
        "reason": "",
        **changes,
    }


def seen(change=lambda nodes: None, away=(), guards=None, certified=False, witnesses=(), days_left=()):
    """The picture of the recorded cluster, after `change` has changed the answers in place; those `away` do not answer.

    Certificates are valid for 300 days where `days_left` says nothing else of a node.
    """
    found = answers()
    change(found)
    nodes = {name: silent() if name in away else asked(answer) for name, answer in found.items()}
    of_guards = {
        name: {
            "guard": (guards or {})[name],
            "guard_problem": None,
            "certificate_days_left": dict(days_left).get(name, 300),
        }
        if name in (guards or {})
        else NO_GUARD
        for name in (*ADDRESSES, *witnesses)
    }
    return combine(nodes, of_guards, ADDRESSES, Rules(tuple(ADDRESSES), tuple(witnesses)), certified)
