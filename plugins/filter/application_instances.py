# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._application import instances_of

DOCUMENTATION = r"""
name: application_instances
short_description: List the instances of an application by name
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes one entry for each host and port, with the name that the instance says of itself, for M(escala.ha.application_check) and for balancers.
  - Neighbours are on different hosts, so a balancer that takes them in turn goes from host to host.
positional: hostvars
options:
  _input:
    description: The names of the hosts that run the application.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  address:
    description: The variable that holds a host's address.
    type: str
    default: platform_address
  ports:
    description: The variable that holds the list of a host's ports.
    type: str
    default: app_ports
"""

EXAMPLES = r"""
- name: Every instance is ready
  escala.ha.application_check:
    instances: "{{ groups.app_servers | escala.ha.application_instances(hostvars) }}"
"""

RETURN = r"""
_value:
  description: Entries with the keys C(name), C(address) and C(port).
  type: list
  elements: dict
"""


def application_instances(
    hosts: t.Sequence[str],
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    address: str = "platform_address",
    ports: str = "app_ports",
) -> t.List[t.Dict[str, t.Any]]:
    for host in hosts:
        for name in (address, ports):
            if name not in hostvars[host]:
                raise AnsibleFilterError(f"application_instances: {name} is not set for the host {host}")
    found = instances_of((host, hostvars[host][address], hostvars[host][ports]) for host in hosts)
    return [instance._asdict() for instance in found]


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[t.Dict[str, t.Any]]]]:
        return {"application_instances": application_instances}
