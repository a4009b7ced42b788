# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._postgresql_settings import sizes

DOCUMENTATION = r"""
name: postgresql_sizes
short_description: Size PostgreSQL by a host's memory and cores
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Gives the settings for a host that runs nothing else of size.
positional: cores, max_connections
options:
  _input:
    description: The memory in MiB.
    type: int
    required: true
  cores:
    description: How many cores there are.
    type: int
    required: true
  max_connections:
    description: How many sessions there may be at once.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Size a host with 16 GiB and 8 cores
  ansible.builtin.debug:
    msg: "{{ 16384 | escala.ha.postgresql_sizes(8, 200) }}"
"""

RETURN = r"""
_value:
  description: Settings by their names.
  type: dict
"""


def postgresql_sizes(memory_mib: t.Any, cores: t.Any, max_connections: t.Any) -> t.Dict[str, t.Any]:
    try:
        return sizes(int(memory_mib), int(cores), int(max_connections))
    except ValueError as error:
        raise AnsibleFilterError(f"postgresql_sizes: {error}") from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, t.Any]]]:
        return {"postgresql_sizes": postgresql_sizes}
