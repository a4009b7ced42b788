# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_quorum import sizes

DOCUMENTATION = r"""
name: postgresql_cluster_size
short_description: Say what a cluster of this size can do by itself
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Looks in the table by which the guards elect whether a cluster can fail over without a person, and says what would be needed where it cannot.
positional: witnesses, automatic
options:
  _input:
    description: The number of data nodes.
    type: int
    required: true
  witnesses:
    description: The number of those that vote and have no data.
    type: int
    default: 0
  automatic:
    description: Whether automatic failover is asked for.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Two data nodes alone cannot
  ansible.builtin.debug:
    msg: "{{ 2 | escala.ha.postgresql_cluster_size(0, true) }}"
"""

RETURN = r"""
_value:
  description: C(possible), whether the cluster can be what is asked for, and C(reason), with the numbers.
  type: dict
"""


def postgresql_cluster_size(data: int, witnesses: int = 0, automatic: bool = True) -> t.Dict[str, t.Any]:
    try:
        return {"possible": True, "reason": sizes(int(data), int(witnesses), automatic).reason}
    except ValueError as error:
        return {"possible": False, "reason": str(error)}


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, t.Any]]]:
        return {"postgresql_cluster_size": postgresql_cluster_size}
