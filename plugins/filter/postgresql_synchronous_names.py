# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._pg_quorum import Rules, synchronous_names
from ansible_collections.escala.ha.plugins.module_utils._pg_state import Quorum

DOCUMENTATION = r"""
name: postgresql_synchronous_names
short_description: Say for which standbys a commit waits
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Gives PostgreSQL's C(synchronous_standby_names) for all nodes of a cluster, by the same table by which the guards elect.
positional: witnesses
options:
  _input:
    description: The names of the data nodes.
    type: list
    elements: string
    required: true
  witnesses:
    description: The names of those that vote and have no data.
    type: list
    elements: string
    default: []
"""

EXAMPLES = r"""
- name: One of two standbys, ANY 1 ("db1", "db2", "db3")
  ansible.builtin.debug:
    msg: "{{ ['db1', 'db2', 'db3'] | escala.ha.postgresql_synchronous_names }}"
"""

RETURN = r"""
_value:
  description: The setting's value, empty for a node that is alone.
  type: string
"""


def postgresql_synchronous_names(nodes: t.Sequence[str], witnesses: t.Sequence[str] = ()) -> str:
    try:
        return synchronous_names(Rules(tuple(nodes), tuple(witnesses)), Quorum((0, 0), ()))
    except ValueError as error:
        raise AnsibleFilterError(f"postgresql_synchronous_names: {error}") from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., str]]:
        return {"postgresql_synchronous_names": postgresql_synchronous_names}
