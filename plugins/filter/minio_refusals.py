# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._minio import Wish, refusals

DOCUMENTATION = r"""
name: minio_refusals
short_description: Say why a MinIO must not become what it is asked to
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Two or three nodes; more drives than one erasure set; a parity by which one node that is off stops writes; a disk that is the root's, or holds what is not
    MinIO's; a pool with data that would get another size or order; disks of two pools.
positional: nodes, volumes, parity, host, password_length
options:
  _input:
    description: For each node what M(escala.ha.minio_node_info) registered; an empty dictionary for one that is not in this run.
    type: dict
    required: true
  nodes:
    description: The nodes, in order, each with its C(name) and C(address).
    type: list
    elements: dict
    required: true
  volumes:
    description: The folders that each node has for MinIO.
    type: list
    elements: str
    required: true
  parity:
    description: How many drives may be lost; 0 leaves it to MinIO.
    type: int
    required: true
  host:
    description: The node that is judged.
    type: str
    required: true
  password_length:
    description: How long the root user's password is.
    type: int
    required: true
seealso:
  - module: escala.ha.minio_node_info
"""

EXAMPLES = r"""
- name: Refuse what cannot be
  ansible.builtin.assert:
    that: refused | length == 0
    fail_msg: "{{ refused }}"
  vars:
    refused: "{{ seen | escala.ha.minio_refusals(my_nodes, ['/var/lib/minio'], 2, inventory_hostname, my_password | length) }}"
"""

RETURN = r"""
_value:
  description: A reason for each thing that cannot be, with the next step; none where all may be.
  type: list
  elements: string
"""


def minio_refusals(
    seen: t.Mapping[str, t.Mapping[str, t.Any]],
    nodes: t.Sequence[t.Mapping[str, str]],
    volumes: t.Sequence[str],
    parity: t.Union[int, str],
    host: str,
    password_length: t.Union[int, str],
) -> t.List[str]:
    return refusals(Wish(host, nodes, volumes, int(parity), int(password_length)), seen)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"minio_refusals": minio_refusals}
