"""Faults of the database's hosts, drawn by a seed: which, where, when and for how long."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

# What is done to a node, and how the lab undoes it where its general healing does not; {node} and {other} are data nodes, {pool} is a pooler's host.
_VERBS: dict[str, tuple[str, str]] = {
    "powered off": ("kill {node}", "start {node}"),
    "frozen": ("freeze {node}", "thaw {node}"),
    "isolated": ("isolate {node}", "heal"),
    "apart from another": ("cut {node} {other}", "heal"),
    "not heard by another": ("cut {node} {other} --one-way", "heal"),
    "not heard by a pooler": ("cut {node} {pool} --one-way", "heal"),
    "losing packets": ("loss {node} 30", "heal"),
    "its disk hung": ("disk-hang {node} postgresql", "disk-heal {node}"),
    "its disk full": ("disk-full {node} postgresql", "disk-heal {node}"),
    "its clock ahead": ("clock {node} 600", "clock {node} 0"),
}
_FREEZER = "/sys/fs/cgroup/system.slice/system-postgresql.slice/postgresql@17-main.service/cgroup.freeze"
_COMMANDS: dict[str, tuple[str, str]] = {
    "postmaster killed": ("kill -9 $(head -n 1 /var/lib/postgresql/17/main/postmaster.pid)", ""),
    "postmaster stopped": (
        "kill -STOP $(head -n 1 /var/lib/postgresql/17/main/postmaster.pid)",
        "pkill -CONT -u postgres -x postgres",
    ),
    "every process of PostgreSQL frozen": (f"echo 1 > {_FREEZER}", f"echo 0 > {_FREEZER}"),
    "guard killed": ("systemctl kill --signal=KILL escala-pg-guard", ""),
    "guard stopped": ("systemctl stop escala-pg-guard", "systemctl start escala-pg-guard"),
    "PostgreSQL restarted by hand": ("systemctl restart postgresql@17-main", ""),
    "promoted by hand": ("runuser -u postgres -- psql -qc 'SELECT pg_promote(wait => false)' || true", ""),
    "asked to hand over": ("escala-pg-guard handover --to {other} || true", ""),
}
KINDS = (*_VERBS, *_COMMANDS)

_BEGIN_SECONDS = 8.0
_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 20.0


@dataclass(frozen=True)
class Fault:
    """One fault: what it is for a person, the lab's words or a command on a host, and seconds since the story's beginning."""

    kind: str
    node: str
    begin: float
    end: float
    act: str
    undo: str
    by_verb: bool

    def __str__(self) -> str:
        return f"{self.node} {self.kind} from {self.begin:.1f} to {self.end:.1f} s ({self.act})"


def draw(seed: int, nodes: Sequence[str], pools: Sequence[str], primary: str, count: int) -> list[Fault]:
    """So many faults, the first one always the primary's, in the order in which they begin."""
    chance = random.Random(seed)
    faults = []
    for number in range(count):
        node = primary if number == 0 else chance.choice(sorted(nodes))
        words = {"node": node, "other": chance.choice(sorted({*nodes} - {node})), "pool": chance.choice(sorted(pools))}
        kind = chance.choice(KINDS)
        act, undo = (_VERBS | _COMMANDS)[kind]
        begin = chance.uniform(0, _BEGIN_SECONDS)
        end = begin + chance.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS)
        faults.append(Fault(kind, node, begin, end, act.format(**words), undo.format(**words), kind in _VERBS))
    return sorted(faults, key=lambda fault: fault.begin)
