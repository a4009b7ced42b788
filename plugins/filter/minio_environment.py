# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._minio import default_parity

DOCUMENTATION = r"""
name: minio_environment
short_description: What a MinIO cluster runs with, as environment variables
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - The same on every node, since a node that starts compares it with the others'. The root user's password is not among it.
positional: volumes, port, parity, settings
options:
  _input:
    description: The nodes, in order, each with its C(address).
    type: list
    elements: dict
    required: true
  volumes:
    description: The folders that each node has for MinIO.
    type: list
    elements: str
    required: true
  port:
    description: The port at which the nodes serve.
    type: int
    required: true
  parity:
    description: How many drives may be lost; 0 takes what MinIO itself would.
    type: int
    required: true
  settings:
    description: Further variables by their names, which count before these.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Write it
  ansible.builtin.copy:
    content: "{{ my_nodes | escala.ha.minio_environment(['/var/lib/minio'], 9000, 2) | escala.ha.environment_file }}"
    dest: /etc/minio/environment
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The variables.
  type: dict
"""


def minio_environment(
    nodes: t.Sequence[t.Mapping[str, str]],
    volumes: t.Sequence[str],
    port: t.Union[int, str],
    parity: t.Union[int, str],
    settings: t.Optional[t.Mapping[str, t.Any]] = None,
) -> t.Dict[str, t.Any]:
    drives = len(nodes) * len(volumes)
    places = list(volumes)
    if len(nodes) > 1:
        places = [f"https://{_in_url(node['address'])}:{port}{volume}" for node in nodes for volume in volumes]
    variables: t.Dict[str, t.Any] = {"MINIO_VOLUMES": " ".join(places)}
    if drives > 1:
        # Said although it is MinIO's own number, which it would take from the drives that it finds at its first start.
        variables["MINIO_STORAGE_CLASS_STANDARD"] = f"EC:{int(parity) or default_parity(drives)}"
    return {**variables, **(settings or {})}


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, t.Any]]]:
        return {"minio_environment": minio_environment}
