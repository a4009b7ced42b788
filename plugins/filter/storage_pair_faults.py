# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._storage_pair import faults

DOCUMENTATION = r"""
name: storage_pair_faults
short_description: Say what keeps a pair of storage servers from being whole
version_added: "0.5.0"
author:
  - The escala.ha contributors (@escala)
description:
  - In a whole pair each host may fail, and each may be restarted.
positional: unseen
options:
  _input:
    description: For each host, by the inventory's name, what M(escala.ha.storage_pair_info) registered.
    type: dict
    required: true
  unseen:
    description: The hosts that gave no answer.
    type: list
    elements: str
    default: []
seealso:
  - module: escala.ha.storage_pair_info
"""

EXAMPLES = r"""
- name: Stop before harm
  ansible.builtin.assert:
    that: faults | length == 0
    fail_msg: "{{ faults }}"
  vars:
    faults: "{{ my_hosts | escala.ha.storage_pair_faults }}"
"""

RETURN = r"""
_value:
  description: A sentence for each fault, with what to do; none where the pair is whole.
  type: list
  elements: str
"""


def storage_pair_faults(
    observations: t.Mapping[str, t.Mapping[str, t.Any]], unseen: t.Sequence[str] = ()
) -> t.List[str]:
    return faults(observations, unseen)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"storage_pair_faults": storage_pair_faults}
