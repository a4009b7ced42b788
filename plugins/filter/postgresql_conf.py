# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._postgresql_settings import rendered

DOCUMENTATION = r"""
name: postgresql_conf
short_description: Write settings as PostgreSQL reads them
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes the lines of a configuration file, ordered by name, with every text quoted and escaped.
options:
  _input:
    description: Settings by their names.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: See the lines
  ansible.builtin.debug:
    msg: "{{ {'max_connections': 200, 'log_line_prefix': '%m [%p] '} | escala.ha.postgresql_conf }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: string
"""


def postgresql_conf(settings: t.Mapping[str, t.Any]) -> str:
    try:
        return rendered(settings)
    except ValueError as error:
        raise AnsibleFilterError(f"postgresql_conf: {error}") from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., str]]:
        return {"postgresql_conf": postgresql_conf}
