# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May a cluster go on without nodes that an operator says are powered off: what the guard that is left knows of it."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_state import NodeState, state_from

PROGRAM = "/usr/sbin/escala-pg-guard"


def parsed(said: str) -> t.Tuple[NodeState, t.Optional[str]]:
    """The state that the guard said, and whom it takes for the primary, None for nobody; raises ValueError for anything else."""
    try:
        found = json.loads(said)
        return state_from(found), found.get("primary")
    except ValueError as error:
        raise ValueError(f"the guard's state cannot be read: {error}") from error


def out_already(state: NodeState, without: t.Sequence[str]) -> bool:
    return set(without) <= set(state.quorum.out) and state.node not in state.quorum.out


def is_others_part(state: NodeState, primary: t.Optional[str], without: t.Sequence[str]) -> bool:
    """Whether another node that is left is primary: a cluster that has one goes on with it, and only it can take nodes out."""
    return primary is not None and primary != state.node and primary not in without


def refusal(state: NodeState, primary: t.Optional[str], without: t.Sequence[str], accept_loss: bool) -> str:
    """Why this node should not go on as it is, empty when it may.

    The node that was elected for its own timeline has every commit that was acknowledged on it. That the others elected one of themselves since,
    before they lost their power, nobody can know from here: hence the operator's confirmation.
    """
    if primary in without:
        return f"{primary} is heard, and is the primary: power it off before it is taken out"
    if not state.joined:
        return f"{state.node} has no data of the cluster"
    elected = state.promise is not None and state.promise == (state.timeline, state.node)
    out = state.node in state.quorum.out
    if state.is_writer or (elected and not out) or accept_loss:
        return ""
    why = (
        "is out of the quorum, which went on without it" if out else f"was not the primary of timeline {state.timeline}"
    )
    return (
        f"{state.node} {why}, so commits may be acknowledged that it does not have;"
        " boot the old primary if you can, or accept the loss (degrade_accept_loss)"
    )
