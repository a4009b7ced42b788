# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._deployment import names_on, order

DOCUMENTATION = r"""
name: deployment_order
short_description: In which order the hosts of an application get a release
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Puts a host with instances that are not ready first, then hosts that are drained, then the others as they come.
  - Is an error when instances of more than one host are not ready, or when a balancer cannot say what it has in rotation.
positional: hostvars, readiness, rotation
options:
  _input:
    description: The names of the hosts that run the application.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, C(hostvars); each has C(app_ports).
    type: dict
    required: true
  readiness:
    description: What M(escala.ha.application_check) returned on each balancer.
    type: dict
    required: true
  rotation:
    description: What M(escala.ha.load_balancer_info) returned on each balancer.
    type: dict
    required: true
seealso:
  - plugin: escala.ha.application_instances
    plugin_type: filter
"""

EXAMPLES = r"""
- name: The host that is drained comes first
  vars:
    my_vars: {"app1": {"app_ports": [3001]}, "app2": {"app_ports": [3001]}}
    my_rotation: {"lb1": {"problem": null, "backends": [{"name": "app2-3001", "state": "drained"}]}}
  ansible.builtin.debug:
    msg: "{{ ['app1', 'app2'] | escala.ha.deployment_order(my_vars, {}, my_rotation) }}"
"""

RETURN = r"""
_value:
  description: The hosts' names.
  type: list
  elements: str
"""


def deployment_order(hosts: t.Sequence[str], hostvars: t.Any, readiness: t.Any, rotation: t.Any) -> t.List[str]:
    for name, value in (("readiness", readiness), ("rotation", rotation)):
        if not isinstance(value, Mapping):
            raise AnsibleFilterError(f"deployment_order takes a dictionary for {name}, not {type(value).__name__}")
    try:
        return order({host: names_on(host, hostvars[host]["app_ports"]) for host in hosts}, readiness, rotation)
    except KeyError as missing:
        raise AnsibleFilterError(f"deployment_order: {missing} is not set") from missing
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"deployment_order": deployment_order}
