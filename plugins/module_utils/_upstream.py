# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The instances of an application as a balancer's upstream."""

from __future__ import annotations

import typing as t
from collections import Counter

Server = t.Dict[str, t.Any]


def servers_by_port(hosts: t.Iterable[t.Tuple[str, t.Sequence[int]]]) -> t.List[Server]:
    """One server for each host and port, such that neighbours in the list are on different hosts.

    A balancer that takes them in turn and meets a dead host then tries another host next, not the dead one's other instance.
    """
    placed = [
        (position, {"address": address, "port": port})
        for address, ports in hosts
        for position, port in enumerate(ports)
    ]
    return [server for _position, server in sorted(placed, key=lambda pair: pair[0])]


def tries_that_reach_a_second_host(servers: t.Sequence[t.Mapping[str, t.Any]]) -> int:
    """How often a request must be tried so that one dead host cannot use up every try."""
    instances = Counter(server["address"] for server in servers)
    if not instances:
        raise ValueError("there is no server to try")
    return max(instances.values()) + 1
