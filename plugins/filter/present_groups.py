# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

DOCUMENTATION = r"""
name: present_groups
short_description: Name a play's hosts by groups that an inventory may lack
version_added: "0.5.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes the C(hosts) of a play of those groups that the inventory has, and of nobody where it has none of them, without a warning.
  - Ansible templates a play's C(hosts) in its first process, which thereby has all filters of this collection before the first task. Each task runs
    in a process forked from it, that would load them anew otherwise.
options:
  _input:
    description: The groups' names, one or several.
    type: raw
    required: true
  groups:
    description: The inventory's groups, Ansible's own variable of that name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Have witnesses vote, where there are any
  hosts: "{{ 'postgres_witnesses' | escala.ha.present_groups(groups) }}"
  gather_facts: false
  tasks: []
"""

RETURN = r"""
_value:
  description: A host pattern.
  type: string
"""


def present_groups(names: str | t.Sequence[str], groups: t.Mapping[str, t.Sequence[str]]) -> str:
    wanted = [names] if isinstance(names, str) else names
    return ":".join(name for name in wanted if groups.get(name)) or "!all"


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., str]]:
        return {"present_groups": present_groups}
