# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._postgresql_version import (
    Node,
    VersionError,
    agreed,
    system_of,
)
from ansible_collections.escala.ha.plugins.module_utils._preflight_platform import whole

DOCUMENTATION = r"""
name: postgresql_version
short_description: Say which major version of PostgreSQL all data nodes of a cluster have
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - What the variable C(postgresql_version) says, or else what the distribution of the data nodes has itself, by their facts.
  - A host without either has no say, since it may be away. Hosts that would have different versions are refused.
positional: hostvars
options:
  _input:
    description: The names of the data nodes in the inventory.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, C(hostvars). Of the facts those of C(distribution) are looked at.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: See which distribution each has
  ansible.builtin.setup:
    gather_subset: ["!all", "!min", distribution]
- name: See the version
  ansible.builtin.debug:
    msg: "{{ groups.postgres_servers | escala.ha.postgresql_version(hostvars) }}"
"""

RETURN = r"""
_value:
  description: The major version.
  type: int
"""


def _node(name: str, variables: t.Mapping[str, t.Any]) -> Node:
    value = variables.get("postgresql_version")
    wanted = whole(value)
    if value is not None and wanted is None:
        raise VersionError(f"postgresql_version of {name} is {value!r}, and must be a whole number")
    return Node(name, wanted, system_of(variables.get("ansible_facts") or {}))


def postgresql_version(hosts: t.Sequence[str], hostvars: t.Mapping[str, t.Mapping[str, t.Any]]) -> int:
    try:
        return agreed([_node(host, hostvars[host]) for host in hosts])
    except VersionError as error:
        raise AnsibleFilterError(f"postgresql_version: {error}") from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., int]]:
        return {"postgresql_version": postgresql_version}
