# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._storage_pair import refusals

DOCUMENTATION = r"""
name: storage_pair_refusals
short_description: Say why two hosts must not become a pair of storage servers
version_added: "0.5.0"
author:
  - The escala.ha contributors (@escala)
description:
  - A device with data that is not DRBD's is never overwritten; both hosts bear the names that the cluster knows them by; and a pair that has had uploads is
    not begun anew on two empty devices.
options:
  _input:
    description: For each host, by the inventory's name, what M(escala.ha.storage_pair_info) registered.
    type: dict
    required: true
seealso:
  - module: escala.ha.storage_pair_info
"""

EXAMPLES = r"""
- name: Refuse what cannot be
  ansible.builtin.assert:
    that: refused | length == 0
    fail_msg: "{{ refused }}"
  vars:
    refused: "{{ my_hosts | escala.ha.storage_pair_refusals }}"
"""

RETURN = r"""
_value:
  description: A sentence for each thing that has to be put right first; none where the pair may be made.
  type: list
  elements: str
"""


def storage_pair_refusals(observations: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.List[str]:
    return refusals(observations)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"storage_pair_refusals": storage_pair_refusals}
