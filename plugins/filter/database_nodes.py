# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import ClusterError, named

DOCUMENTATION = r"""
name: database_nodes
short_description: List the data nodes of a database cluster by name
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes one entry for each host, in their order. A node's name is the first part of its host's, and its number what the name ends in, or what
    the host's variable C(postgresql_node_id) says; two hosts that would have the same are refused.
positional: hostvars
options:
  _input:
    description: The names of the hosts in the inventory.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  address:
    description: The variable that holds a host's address.
    type: str
    default: platform_address
"""

EXAMPLES = r"""
- name: See the nodes
  ansible.builtin.debug:
    msg: "{{ groups.postgres_servers | escala.ha.database_nodes(hostvars) }}"
"""

RETURN = r"""
_value:
  description: Entries with the keys C(name), C(id) (a number), C(host) (in the inventory) and C(address).
  type: list
  elements: dict
"""


def database_nodes(
    hosts: t.Sequence[str], hostvars: t.Mapping[str, t.Mapping[str, t.Any]], address: str = "platform_address"
) -> t.List[t.Dict[str, t.Any]]:
    for host in hosts:
        if address not in hostvars[host]:
            raise AnsibleFilterError(f"database_nodes: {address} is not set for the host {host}")
    try:
        return named((host, hostvars[host][address], hostvars[host].get("postgresql_node_id")) for host in hosts)
    except ClusterError as error:
        raise AnsibleFilterError(f"database_nodes: {error}") from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[t.Dict[str, t.Any]]]]:
        return {"database_nodes": database_nodes}
