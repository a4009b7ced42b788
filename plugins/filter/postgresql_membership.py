# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._postgresql_membership import (
    Wish,
    cannot_join,
    cannot_leave,
    membership,
)

DOCUMENTATION = r"""
name: postgresql_membership
short_description: Say which node is to join a PostgreSQL cluster or to leave it, and why it may not
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Compares what the guards of a running cluster were told with the nodes that the inventory names. One node joins or leaves at a time, in a cluster that is
    whole without it.
  - A node that is known and whose host has no guard is a new host in place of one that is gone.
positional: nodes, witnesses, seen, seen_going
options:
  _input:
    description:
      - For each data node of the inventory, by its name, what its guard's configuration says, with C(data_nodes) and C(witnesses), names with addresses; null
        for a host without a guard.
    type: dict
    required: true
  nodes:
    description: The data nodes that the inventory names, as P(escala.ha.database_nodes#filter) returns them.
    type: list
    elements: dict
    required: true
  witnesses:
    description: The witnesses that it names.
    type: list
    elements: dict
    default: []
  seen:
    description:
      - What M(escala.ha.postgresql_replication_info) returned when it was asked for RV(_value.staying). Without it nothing is said of how the cluster is.
    type: dict
  seen_going:
    description:
      - What it returned for RV(_value.going).
    type: dict
seealso:
  - module: escala.ha.postgresql_replication_info
"""

EXAMPLES = r"""
- name: Name who is new
  ansible.builtin.debug:
    msg: "{{ (my_guards | escala.ha.postgresql_membership(my_nodes)).new }}"
"""

RETURN = r"""
_value:
  description: Who comes and who goes, by the nodes' names.
  type: dict
  contains:
    new:
      description: The data nodes that have to be copied to.
      type: list
      elements: str
    leaving:
      description: Those that a guard knows and the inventory does not name.
      type: list
      elements: str
    staying:
      description: The data nodes that are a cluster without those, addresses by names.
      type: dict
    going:
      description: The data nodes among RV(_value.leaving), addresses by names.
      type: dict
    cannot_join:
      description: Why RV(_value.new) may not join now; none where it may, or where all have joined.
      type: list
      elements: str
    cannot_leave:
      description: Why RV(_value.leaving) may not leave now; none where it may, or where all have left.
      type: list
      elements: str
"""

Named = t.Sequence[t.Mapping[str, t.Any]]


def postgresql_membership(
    told: t.Mapping[str, t.Optional[t.Mapping[str, t.Any]]],
    nodes: Named,
    witnesses: Named = (),
    seen: t.Optional[t.Mapping[str, t.Any]] = None,
    seen_going: t.Optional[t.Mapping[str, t.Any]] = None,
) -> t.Dict[str, t.Any]:
    wish = Wish(_addresses(nodes), _addresses(witnesses))
    found = membership(told, wish)
    return {
        "new": list(found.new),
        "leaving": list(found.leaving),
        "staying": found.staying,
        "going": found.going,
        "cannot_join": cannot_join(found, told, wish, seen),
        "cannot_leave": cannot_leave(found, told, seen, seen_going),
    }


def _addresses(nodes: Named) -> t.Dict[str, str]:
    return {str(node["name"]): str(node["address"]) for node in nodes}


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"postgresql_membership": postgresql_membership}
