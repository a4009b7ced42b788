# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._preflight_platform import Host
from ansible_collections.escala.ha.plugins.module_utils._preflight_questions import questions

DOCUMENTATION = r"""
name: preflight_questions
short_description: What each host of a platform is asked before anything is changed there
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes the options of M(escala.ha.preflight_info) for each host from what P(escala.ha.platform_hosts#filter) gathered.
positional: groups
options:
  _input:
    description: What is known of each host.
    type: dict
    required: true
  groups:
    description: The names of the hosts in each group.
    type: dict
    required: true
seealso:
  - plugin: escala.ha.platform_hosts
    plugin_type: filter
  - plugin: escala.ha.preflight_info
    plugin_type: module
"""

EXAMPLES = r"""
- name: See what the hosts would be asked
  ansible.builtin.debug:
    msg: "{{ groups.app_servers | escala.ha.platform_hosts(hostvars, ['app_ports']) | escala.ha.preflight_questions(groups) }}"
"""

RETURN = r"""
_value:
  description: For each host the options of M(escala.ha.preflight_info).
  type: dict
"""


def preflight_questions(
    hosts: t.Mapping[str, t.Mapping[str, t.Any]], groups: t.Mapping[str, t.Sequence[str]]
) -> t.Dict[str, t.Dict[str, t.Any]]:
    return questions(groups, {name: Host(name=name, **known) for name, known in hosts.items()})


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, t.Dict[str, t.Any]]]]:
        return {"preflight_questions": preflight_questions}
