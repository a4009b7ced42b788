# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils import _connection_budget

DOCUMENTATION = r"""
name: connection_budget
short_description: See whether all connections that poolers may open fit into the database
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Adds up what the poolers of all application hosts may open, up to as many hosts as autoscaling may make, and what others need, and compares the
    sum with C(max_connections). All of it may come to one server, since the standbys' share goes to the primary when there is no standby.
  - Sees too that the pools of a host's instances fit into what its pooler takes from clients.
positional: hosts, max_connections, reserved, instances, max_clients
options:
  _input:
    description: How many connections each database of one host's pooler may open.
    type: dict
    required: true
  hosts:
    description: How many application hosts there may be.
    type: int
    required: true
  max_connections:
    description: The server's C(max_connections).
    type: int
    required: true
  reserved:
    description: What others need, by what it is for.
    type: dict
    required: true
  instances:
    description: How many instances of the application a host has, and how large the pool of each is for one database, as C(count) and C(pool_size).
    type: dict
    required: true
  max_clients:
    description: How many clients one pooler takes.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: See that it fits
  ansible.builtin.assert:
    that: my_budget.fits
    fail_msg: "{{ my_budget.reason }}"
  vars:
    my_budget: >-
      {{ {'app': 20, 'app_ro': 20}
         | escala.ha.connection_budget(4, 200, {'superusers': 8}, {'count': 2, 'pool_size': 10}, 2000) }}
"""

RETURN = r"""
_value:
  description: Whether it C(fits), how many connections are C(needed), and a C(reason) with the sum and what to change.
  type: dict
"""


def connection_budget(
    per_host: t.Mapping[str, t.Any],
    hosts: t.Any,
    max_connections: t.Any,
    reserved: t.Mapping[str, t.Any],
    instances: t.Mapping[str, t.Any],
    max_clients: t.Any,
) -> dict[str, t.Any]:
    try:
        found = _connection_budget.connection_budget(per_host, hosts, max_connections, reserved, instances, max_clients)
    except ValueError as error:
        raise AnsibleFilterError(f"connection_budget: {error}") from error
    return {"fits": not found.shortages, "needed": found.needed, "reason": found.reason}


class FilterModule:
    def filters(self) -> dict[str, t.Any]:
        return {"connection_budget": connection_budget}
