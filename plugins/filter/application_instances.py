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
  - An instance that listens on one address only, such as V(127.0.0.1) on a single server, is reached there, any other at its host's address.
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
  listen_address:
    description: The variable that holds the address on which a host's instances listen. It need not be set.
    type: str
    default: app_listen_address
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


_ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104  compared with, never bound to


def application_instances(
    hosts: t.Sequence[str],
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    address: str = "platform_address",
    ports: str = "app_ports",
    listen_address: str = "app_listen_address",
) -> t.List[t.Dict[str, t.Any]]:
    for host in hosts:
        for name in (address, ports):
            if name not in hostvars[host]:
                raise AnsibleFilterError(f"application_instances: {name} is not set for the host {host}")

    def reached_at(host: str) -> str:
        listens_on = hostvars[host].get(listen_address, "")
        return hostvars[host][address] if listens_on in _ANY_ADDRESS else listens_on

    found = instances_of((host, reached_at(host), hostvars[host][ports]) for host in hosts)
    return [instance._asdict() for instance in found]


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[t.Dict[str, t.Any]]]]:
        return {"application_instances": application_instances}
