# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._upstream import tries_that_reach_a_second_host

DOCUMENTATION = r"""
name: upstream_tries
short_description: Say how often a request must be tried to survive the death of a host
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - When a host dies, every instance on it is dead, and a balancer may try one after the other.
  - Returns one more than the most instances that share a host.
options:
  _input:
    description: The servers of an upstream, each with the keys C(address) and C(port).
    type: list
    elements: dict
    required: true
seealso:
  - plugin: escala.ha.application_instances
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Three, since two instances share a host
  ansible.builtin.debug:
    msg: "{{ [{'address': '192.0.2.1', 'port': 3001}, {'address': '192.0.2.1', 'port': 3002}] | escala.ha.upstream_tries }}"
"""

RETURN = r"""
_value:
  description: The number of tries.
  type: int
"""


def upstream_tries(servers: t.Sequence[t.Mapping[str, t.Any]]) -> int:
    try:
        return tries_that_reach_a_second_host(servers)
    except ValueError as empty:
        raise AnsibleFilterError(f"upstream_tries: {empty}") from empty


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., int]]:
        return {"upstream_tries": upstream_tries}
