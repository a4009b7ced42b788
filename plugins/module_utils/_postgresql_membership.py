# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is to join a running cluster or to leave it: what the inventory names, beside what the guards know, one node at a time."""

from __future__ import annotations

import typing as t

Json = t.Mapping[str, t.Any]
Told = t.Mapping[str, t.Optional[Json]]


class Wish(t.NamedTuple):
    """What the inventory names: data nodes and witnesses, addresses by names."""

    nodes: t.Mapping[str, str]
    witnesses: t.Mapping[str, str]


class Membership(t.NamedTuple):
    """Who comes and who goes, by the nodes' names.

    `joining` is known to no guard yet, or not to all. `returning` is known to all and has no guard: a new host in place of one that is gone.
    `leaving` is known to a guard, and the inventory does not name it. `data_nodes` are all data nodes of both, addresses by names.
    """

    joining: t.Tuple[str, ...]
    returning: t.Tuple[str, ...]
    leaving: t.Tuple[str, ...]
    data_nodes: t.Mapping[str, str]

    @property
    def new(self) -> t.Tuple[str, ...]:
        """The nodes that have to be copied to."""
        return self.joining + self.returning

    @property
    def staying(self) -> t.Dict[str, str]:
        """The data nodes that are a cluster without who comes or goes."""
        return {name: one for name, one in self.data_nodes.items() if name not in self.new + self.leaving}

    @property
    def going(self) -> t.Dict[str, str]:
        """The data nodes that leave."""
        return {name: one for name, one in self.data_nodes.items() if name in self.leaving}


def membership(told: Told, wish: Wish) -> Membership:
    """Compare what each data node's guard was told with the inventory.

    `told` has the guards' configuration by node, None for a node whose host has none. After a run that was broken off some were told more than others.
    """
    known = [one for one in told.values() if one]
    names = [{**one["data_nodes"], **one["witnesses"]} for one in known]
    wanted = {**wish.nodes, **wish.witnesses}
    common = [name for name in wanted if all(name in one for one in names)]
    data_nodes = dict(wish.nodes)
    for one in known:
        data_nodes = {**one["data_nodes"], **data_nodes}
    return Membership(
        joining=tuple(name for name in wanted if name not in common),
        returning=tuple(name for name, one in told.items() if not one and name in common) if known else (),
        leaving=tuple(sorted({name for one in names for name in one} - set(wanted))),
        data_nodes=data_nodes,
    )


def cannot_join(found: Membership, told: Told, wish: Wish, seen: t.Optional[Json]) -> t.List[str]:
    """Why no node may join now; none where one may, or where all have joined. `seen` is what postgresql_replication_info says of who stays."""
    if not any(told.values()):
        return ["no data node has a guard, so there is no cluster to join: etapa_3_postgresql.yml begins one"]
    said = []
    if found.leaving:
        said.append(
            f"the cluster knows {_named(found.leaving)}, which the inventory does not name: remove_standby.yml first, or name it again"
        )
    voters = [name for name in found.joining if name in wish.witnesses]
    if voters:
        said.append(
            f"{_named(voters)} would vote without data, and is no standby: etapa_3_postgresql.yml has it join, by itself"
        )
    if len(found.new) > 1:
        said.append(
            f"{_named(found.new)} would join at once, and two halves of a run could elect apart:"
            " leave one in postgres_servers, and name the next when that one has joined"
        )
    # Where none is new, one may be in the midst of it, which a run before this one has begun.
    if seen and found.new:
        said += not_whole(seen)
    return said


def cannot_leave(found: Membership, told: Told, seen: t.Optional[Json], seen_going: t.Optional[Json]) -> t.List[str]:
    """Why no node may leave now; none where one may, or where all have left.

    `seen` is what postgresql_replication_info says of who stays, `seen_going` of who goes.
    """
    if not any(told.values()):
        return ["no data node has a guard, so there is no cluster to leave"]
    said = []
    if found.new:
        said.append(
            f"{_named(found.new)} is in the inventory and not in the cluster yet: add_standby.yml first, or take it out again"
        )
    if len(found.leaving) > 1:
        said.append(
            f"the cluster knows {_named(found.leaving)}, which the inventory does not name, and one may leave at a time: name the others again"
        )
    voters = [name for name in found.leaving if name not in found.data_nodes]
    if voters:
        said.append(
            f"{_named(voters)} votes without data, and is no standby: etapa_3_postgresql.yml has it leave, by itself"
        )
    writable = seen_going["claimants"] if seen_going else []
    if writable:
        said.append(
            f"{_named(writable)} is the primary: name it in postgres_servers again, make another node primary by switchover.yml, and come back"
        )
    elif seen and found.leaving:
        said += not_whole(seen)
    return said


def not_whole(seen: Json) -> t.List[str]:
    """Why nodes are not a whole cluster."""
    primary = seen["primary"]
    away = [f"{one['name']} does not answer: {one['problem']}" for one in seen["nodes"] if not one["reachable"]]
    if primary is None:
        # Where nobody confirms it, because they are away, that is the reason to name.
        return away or [f"there is no primary that all agree on: {seen['reason']}"]
    lost = [
        one["name"]
        for one in seen["nodes"]
        if one["reachable"] and one["name"] != primary and one["upstream"] != primary
    ]
    return away + [f"{name} does not stream from {primary}" for name in lost]


def _named(names: t.Iterable[str]) -> str:
    return ", ".join(names)
