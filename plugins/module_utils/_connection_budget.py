# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether all connections that poolers may open fit into the database, and the application's own into its pooler."""

from __future__ import annotations

import typing as t


class Shortage(t.NamedTuple):
    """A limit that does not suffice: the variable that sets it, the sum beside it, and what to do."""

    variable: str
    limit: int
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem}: {self.remedy}"


class Budget(t.NamedTuple):
    """How many connections one server may get at most, and a shortage for each limit that is lower."""

    needed: int
    total: str
    limit: int
    shortages: t.Tuple[Shortage, ...]

    @property
    def reason(self) -> str:
        return "; ".join(str(one) for one in self.shortages) or f"{self.total}, max_connections is {self.limit}"


def connection_budget(
    per_host: t.Mapping[str, t.Any],
    hosts: t.Any,
    max_connections: t.Any,
    reserved: t.Mapping[str, t.Any],
    instances: t.Mapping[str, t.Any],
    max_clients: t.Any,
) -> Budget:
    """Add up what the filter of this name describes; raises ValueError where that is no sum.

    All of it may come to one server, since the standbys' share goes to the primary when there is no standby.
    """
    try:
        pools = {name: int(count) for name, count in per_host.items()}
        others = {name: int(count) for name, count in reserved.items()}
        hosts, limit, clients = int(hosts), int(max_connections), int(max_clients)
        count, pool_size = int(instances["count"]), int(instances["pool_size"])
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as wrong:
        raise ValueError(f"a number or a key is missing: {wrong!r}") from wrong
    if not pools or min([hosts, limit, clients, count, pool_size, *pools.values()]) < 1:
        raise ValueError("hosts, pools, instances and limits must be at least 1")
    each, rest = sum(pools.values()), sum(others.values())
    needed = hosts * each + rest
    total = (
        f"{_counted(hosts, 'application host')} x {each} connections ({_listed(pools)})"
        f" + {rest} for others ({_listed(others) or 'none'}) = {needed} connections"
    )
    shortages = []
    if needed > limit:
        remedy = f"raise postgresql_max_connections to {needed} or more"
        fitting = (limit - rest) // hosts
        if fitting >= len(pools):
            remedy += (
                f", or have the databases of a pooler share {fitting} connections"
                " (pgbouncer_max_connections, pgbouncer_readers_max_connections)"
            )
        problem = f"{total}, and max_connections is {limit}"
        shortages.append(Shortage("postgresql_max_connections", limit, problem, remedy))
    wanted = count * pool_size * len(pools)
    if wanted > clients:
        problem = (
            f"{_counted(count, 'instance')} x {pool_size} x {len(pools)} databases = {wanted} clients of one pooler,"
            f" which takes {clients}"
        )
        remedy = "raise pgbouncer_max_client_connections, or lower the pool of an instance"
        shortages.append(Shortage("pgbouncer_max_client_connections", clients, problem, remedy))
    return Budget(needed, total, limit, tuple(shortages))


def _listed(counts: t.Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
