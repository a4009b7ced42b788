# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._postgresql_refusals import Wish, refusals

DOCUMENTATION = r"""
name: postgresql_refusals
short_description: Say what a running PostgreSQL cluster cannot become, or not for some of its nodes
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - A major version that the roles do not know; data of another one; a setting that a standby must not have less of than its primary, raised without all
    nodes; a password by which nodes enter each other, changed without all nodes or without a primary that has it first.
  - Data that somebody else made; a node that would be a copy of data whose order of texts its own C library does not have.
  - A new cluster may become anything of a version that is known.
positional: version, settings, passwords, passwords_before, adopts
options:
  _input:
    description: For each data node, in order, what M(escala.ha.postgresql_node_info) registered; an empty dictionary for one that is not in this run.
    type: dict
    required: true
  version:
    description: The major version that is asked for.
    type: int
    required: true
  settings:
    description: The settings that are asked for, by their names.
    type: dict
    required: true
  passwords:
    description: The lines that this node's password file is to have, as P(escala.ha.postgresql_pgpass#filter) gives them.
    type: list
    elements: str
    default: []
  passwords_before:
    description: All lines that it has now, none where there is no file.
    type: list
    elements: str
    default: []
  adopts:
    description: Whether data that somebody else made is what the cluster begins with.
    type: bool
    default: false
seealso:
  - module: escala.ha.postgresql_node_info
  - plugin: escala.ha.postgresql_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Refuse what cannot be
  ansible.builtin.assert:
    that: refused | length == 0
    fail_msg: "{{ refused }}"
  vars:
    nodes: [db1, db2, db3]
    seen: "{{ dict(nodes | zip(nodes | map('extract', hostvars) | map(attribute='my_node', default={}))) }}"
    refused: "{{ seen | escala.ha.postgresql_refusals(17, {'max_connections': 300}) }}"
"""

RETURN = r"""
_value:
  description: A reason for each thing that cannot be, with the next step; none where all may be.
  type: list
  elements: string
"""


def postgresql_refusals(
    nodes: t.Mapping[str, t.Mapping[str, t.Any]],
    version: t.Union[int, str],
    settings: t.Mapping[str, t.Any],
    passwords: t.Sequence[str] = (),
    passwords_before: t.Sequence[str] = (),
    adopts: bool = False,
) -> t.List[str]:
    try:
        return refusals(nodes, Wish(str(version), settings, passwords, passwords_before, adopts))
    except ValueError as error:
        raise AnsibleFilterError(f"postgresql_refusals: {error}") from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"postgresql_refusals": postgresql_refusals}
