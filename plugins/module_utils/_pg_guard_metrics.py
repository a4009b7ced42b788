# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guard tells Prometheus."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import NodeState
from ansible_collections.escala.ha.plugins.module_utils._pg_state import ROLES

_PREFIX = "escala_pg_guard_"


def exposition(me: NodeState) -> str:
    """The state of this node in Prometheus' text format."""
    lines: t.List[str] = []

    def gauge(
        name: str, text: str, samples: t.Iterable[t.Tuple[t.Mapping[str, str], t.Union[int, float, bool, None]]]
    ) -> None:
        lines.append(f"# HELP {_PREFIX}{name} {text}")
        lines.append(f"# TYPE {_PREFIX}{name} gauge")
        for labels, value in samples:
            if value is not None:
                inside = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
                lines.append(
                    f"{_PREFIX}{name}{{{inside}}} {_number(value)}" if inside else f"{_PREFIX}{name} {_number(value)}"
                )

    gauge(
        "role", "1 for the role of this node, 0 for the others.", [({"role": role}, role == me.role) for role in ROLES]
    )
    gauge("writable", "1 while this node takes writes.", [({}, me.writable)])
    gauge("timeline", "Timeline of this node.", [({}, me.timeline)])
    gauge("promised_timeline", "Lowest timeline of a primary that this node may follow.", [({}, me.floor)])
    gauge("lsn_bytes", "Position of this node: written, or received or replayed.", [({}, me.lsn)])
    gauge("joined", "1 once this node has the data of the cluster.", [({}, me.joined)])
    gauge("streaming", "1 while this standby receives WAL from its upstream.", [({}, me.streaming)])
    gauge(
        "replay_lag_seconds",
        "For how long a standby has not replayed what its primary committed.",
        [({}, me.replay_lag_seconds)],
    )
    gauge(
        "disk_free_bytes",
        "Room on the disk of the data or of the WAL, whichever has less; a primary without any gives way.",
        [({}, me.disk_free_bytes)],
    )
    gauge("role_seconds", "For how long this node has had its role.", [({}, me.since_seconds)])
    gauge("handing_over", "1 while this primary hands over to another node.", [({}, me.handing_over_to is not None)])
    gauge(
        "out_of_quorum",
        "1 for a node that is out of the quorum until it has rejoined.",
        [({"node": n}, 1) for n in me.quorum.out],
    )
    gauge(
        "peer_silent_seconds",
        "Since when another guard has not answered; none for one that never did.",
        [({"peer": name}, age) for name, age in me.sees.items()],
    )
    gauge(
        "peer_seen",
        "1 for another guard that has ever answered this one.",
        [({"peer": name}, age is not None) for name, age in me.sees.items()],
    )
    gauge(
        "standby_flush_lsn_bytes",
        "How far a standby has what this primary wrote.",
        [
            ({"standby": name, "state": state, "sync_state": sync_state}, lsn)
            for (name, state, sync_state), lsn in _flushed(me).items()
        ],
    )
    return "\n".join(lines) + "\n"


def _flushed(me: NodeState) -> t.Dict[t.Tuple[str, str, str], int]:
    """By labels, each once: a standby that connects anew has two walsenders for a moment."""
    found: t.Dict[t.Tuple[str, str, str], int] = {}
    for one in me.standbys:
        labels = (one.name, one.state, one.sync_state)
        found[labels] = max(one.flush_lsn, found.get(labels, 0))
    return found


def _number(value: t.Union[int, float, bool]) -> str:
    return str(int(value)) if isinstance(value, (bool, int)) else f"{value:g}"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
