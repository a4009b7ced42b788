# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._storage_pair import restart_order

DOCUMENTATION = r"""
name: storage_pair_restart_order
short_description: Name the hosts of a pair whose cluster programs have to be restarted, in order
version_added: "0.5.0"
author:
  - The escala.ha contributors (@escala)
description:
  - The one that does not serve is first. A host whose programs run with what is on disk is not named.
options:
  _input:
    description: For each host, by the inventory's name, what M(escala.ha.storage_pair_info) registered.
    type: dict
    required: true
seealso:
  - module: escala.ha.storage_pair_info
"""

EXAMPLES = r"""
- name: Show who is due
  ansible.builtin.debug:
    msg: "{{ my_hosts | escala.ha.storage_pair_restart_order }}"
"""

RETURN = r"""
_value:
  description: The inventory's names.
  type: list
  elements: str
"""


def storage_pair_restart_order(observations: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.List[str]:
    return restart_order(observations)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"storage_pair_restart_order": storage_pair_restart_order}
