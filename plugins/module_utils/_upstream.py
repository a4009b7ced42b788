# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a balancer must try the instances of an application."""

from __future__ import annotations

import typing as t
from collections import Counter


def tries_that_reach_a_second_host(servers: t.Sequence[t.Mapping[str, t.Any]]) -> int:
    """How often a request must be tried so that one dead host cannot use up every try."""
    instances = Counter(server["address"] for server in servers)
    if not instances:
        raise ValueError("there is no server to try")
    return max(instances.values()) + 1
