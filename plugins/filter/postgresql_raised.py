# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._postgresql_settings import raised

DOCUMENTATION = r"""
name: postgresql_raised
short_description: Settings of PostgreSQL, none below what it may be
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Raises what is lower than a cluster has had it so far. A standby does not start with fewer connections, senders and the like than the
    primary whose WAL it replays had.
positional: least
options:
  _input:
    description: Settings by their names.
    type: dict
    required: true
  least:
    description: Numbers below which the settings of these names may not be. A name that is not among the settings is not added.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Keep as many connections as the cluster had
  ansible.builtin.debug:
    msg: "{{ {'max_connections': 100} | escala.ha.postgresql_raised({'max_connections': 200}) }}"
"""

RETURN = r"""
_value:
  description: The settings.
  type: dict
"""


def postgresql_raised(settings: t.Mapping[str, t.Any], least: t.Mapping[str, int]) -> t.Dict[str, t.Any]:
    try:
        return raised(settings, least)
    except ValueError as error:
        raise AnsibleFilterError(f"postgresql_raised: {error}") from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, t.Any]]]:
        return {"postgresql_raised": postgresql_raised}
