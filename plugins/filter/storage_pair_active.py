# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._storage_pair import active_host

DOCUMENTATION = r"""
name: storage_pair_active
short_description: Name the host of a pair that serves
version_added: "0.5.0"
author:
  - The escala.ha contributors (@escala)
description:
  - The cluster manager's word, as all hosts that answer have it.
options:
  _input:
    description: For each host, by the inventory's name, what M(escala.ha.storage_pair_info) registered.
    type: dict
    required: true
seealso:
  - module: escala.ha.storage_pair_info
"""

EXAMPLES = r"""
- name: Show who serves
  ansible.builtin.debug:
    msg: "{{ my_hosts | escala.ha.storage_pair_active }}"
"""

RETURN = r"""
_value:
  description: The inventory's name, V(null) where none serves or the hosts do not agree.
  type: str
"""


def storage_pair_active(observations: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Optional[str]:
    return active_host(observations)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"storage_pair_active": storage_pair_active}
