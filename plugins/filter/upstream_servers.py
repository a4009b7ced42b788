# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._upstream import Server, servers_by_port

DOCUMENTATION = r"""
name: upstream_servers
short_description: List the instances of an application for a balancer
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes one entry for each host and port, ordered such that a balancer that takes them in turn goes from host to host.
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
- name: Balance over the application's hosts
  ansible.builtin.import_role:
    name: escala.ha.nginx
  vars:
    nginx_upstream_servers: "{{ groups.app_servers | escala.ha.upstream_servers(hostvars) }}"
"""

RETURN = r"""
_value:
  description: Entries with the keys C(address) and C(port).
  type: list
  elements: dict
"""


def _value(variables: t.Mapping[str, t.Any], host: str, name: str) -> t.Any:
    try:
        return variables[name]
    except KeyError:
        raise AnsibleFilterError(f"upstream_servers: {name} is not set for the host {host}") from None


def upstream_servers(
    hosts: t.Sequence[str],
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    address: str = "platform_address",
    ports: str = "app_ports",
) -> t.List[Server]:
    return servers_by_port(
        (_value(hostvars[host], host, address), _value(hostvars[host], host, ports)) for host in hosts
    )


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[Server]]]:
        return {"upstream_servers": upstream_servers}
