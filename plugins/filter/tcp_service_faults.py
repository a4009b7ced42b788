# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._load_balancer_tcp import faults

DOCUMENTATION = r"""
name: tcp_service_faults
short_description: Say what is wrong with services that the balancers are to pass on
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Looks for ports that are taken, names that occur twice or do not suit an engine's configuration, empty lists, and addresses that are none.
options:
  _input:
    description: The services, as C(load_balancer_tcp_services) has them.
    type: list
    elements: dict
    required: true
  taken:
    description: The ports that the balancer itself has, by what they are for.
    type: dict
    required: true
seealso:
  - plugin: escala.ha.tcp_service_checks
    plugin_type: filter
"""

EXAMPLES = r"""
- name: See that nothing is wrong
  ansible.builtin.assert:
    that: my_services | escala.ha.tcp_service_faults(my_ports) | length == 0
  vars:
    my_ports: { HTTPS: 443 }
"""

RETURN = r"""
_value:
  description: A sentence for each fault, with the service it is about.
  type: list
  elements: str
"""


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"tcp_service_faults": faults}
