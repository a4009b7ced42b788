# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import (
    ClusterError,
    beginner,
    least,
    primary,
    restarts,
)

DOCUMENTATION = r"""
name: postgresql_plan
short_description: Say from what data nodes are now who begins, who is primary, and who needs a restart
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Nothing is taken from the inventory but which nodes there are. A second system identifier, or two writable nodes, is an error.
options:
  _input:
    description: For each data node, in order, what M(escala.ha.postgresql_node_info) registered; an empty dictionary for one that was not seen.
    type: dict
    required: true
seealso:
  - module: escala.ha.postgresql_node_info
"""

EXAMPLES = r"""
- name: See who is primary
  ansible.builtin.debug:
    msg: "{{ (dict(nodes | zip(nodes | map('extract', hostvars, 'my_node'))) | escala.ha.postgresql_plan).primary }}"
  vars:
    nodes: [db1, db2, db3]
"""

RETURN = r"""
_value:
  description: >-
    C(beginner), the node that makes a new cluster, V(null) where there is one; C(primary), the writable node, V(null) while there is none;
    C(restarts), the nodes that need a restart for a setting, in the order in which that is safe;
    C(least), the settings that must not become lower than they are.
  type: dict
"""


def postgresql_plan(nodes: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Dict[str, t.Any]:
    try:
        return {
            "beginner": beginner(nodes),
            "primary": primary(nodes),
            "restarts": restarts(nodes),
            "least": least(nodes),
        }
    except ClusterError as error:
        raise AnsibleFilterError(f"postgresql_plan: {error}") from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, t.Any]]]:
        return {"postgresql_plan": postgresql_plan}
