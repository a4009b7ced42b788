# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._load_balancer_tcp import checks

DOCUMENTATION = r"""
name: tcp_service_checks
short_description: Make of services what the checker beside nginx has to know of them
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Returns each service's servers, how they are asked, and the file in which nginx finds those that are live.
options:
  _input:
    description: The services, as C(load_balancer_tcp_services) has them.
    type: list
    elements: dict
    required: true
  directory:
    description: The folder of the files.
    type: str
    required: true
  interval_seconds:
    description: How often each server is asked.
    type: float
    required: true
seealso:
  - plugin: escala.ha.tcp_service_faults
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show it
  ansible.builtin.debug:
    msg: "{{ my_services | escala.ha.tcp_service_checks('/var/lib/checker', 0.5) }}"
"""

RETURN = r"""
_value:
  description: One entry for each service.
  type: list
  elements: dict
"""


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[t.Dict[str, t.Any]]]]:
        return {"tcp_service_checks": checks}
