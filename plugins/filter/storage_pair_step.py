# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._storage_pair import next_step

DOCUMENTATION = r"""
name: storage_pair_step
short_description: Say what the first creation of a pair of storage servers takes next
version_added: "0.5.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Wherever an earlier run ended. A cluster that has the device takes nothing.
options:
  _input:
    description: For each host, by the inventory's name, what M(escala.ha.storage_pair_info) registered.
    type: dict
    required: true
seealso:
  - module: escala.ha.storage_pair_info
"""

EXAMPLES = r"""
- name: Show what is next
  ansible.builtin.debug:
    msg: "{{ my_hosts | escala.ha.storage_pair_step }}"
"""

RETURN = r"""
_value:
  description: >-
    C(do), which is V(wait), V(vouch) for two devices without data, V(make) the file system, or V(nothing); the C(host) that does it; and the C(reason).
  type: dict
"""


def storage_pair_step(observations: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Dict[str, t.Any]:
    return next_step(observations)._asdict()


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"storage_pair_step": storage_pair_step}
