#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: Observe a host before anything is installed on it
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Says what system, clock, disks, memory, names, ports and ways to other hosts a host has.
  - Observes only, changes nothing, and never fails on what it finds. What cannot be seen is V(null).
  - Needs nothing but Python. As root it also sees which program listens on a port, and who answers for the virtual address.
  - The module M(escala.ha.preflight_check) judges what several hosts say.
options:
  paths:
    description: Where to see how much disk is free. A path that is not there yet is looked at where it will be.
    type: list
    elements: str
    default: []
  files:
    description: Files of which to see whether they are there.
    type: list
    elements: str
    default: []
  names:
    description: Names to resolve on the host.
    type: list
    elements: str
    default: []
  ports:
    description: Ports on which to see who listens.
    type: list
    elements: int
    default: []
  reach:
    description: What the host must be able to reach by TCP. An answer that refuses counts as one.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What to call it in the result.
        type: str
        required: true
      address:
        description: Its address.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        required: true
      ping:
        description: Whether an answer to a ping counts as well.
        type: bool
        default: false
  virtual_address:
    description: An IPv4 address for which to see who answers in the network behind O(interface).
    type: str
  interface:
    description: The interface behind which to look for O(virtual_address).
    type: str
  timeout_seconds:
    description: How long to wait for answers, all of them together.
    type: float
    default: 2
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.preflight_check
"""

EXAMPLES = r"""
- name: See whether the application's ports are free and its database can be reached
  escala.ha.preflight_info:
    ports: [3001, 3002]
    reach:
      - {name: database, address: 192.0.2.31, port: 5432}
  register: my_host
"""

RETURN = r"""
system:
  description: The distribution and its version.
  returned: success
  type: str
  sample: Debian 13
python:
  description: The version of the Python that the module ran in.
  returned: success
  type: str
  sample: 3.13.5
container:
  description: Whether the host is a container, which has the clock of the machine that it is on.
  returned: success
  type: bool
time_daemon:
  description: The program that keeps the clock, V(null) where none runs.
  returned: success
  type: str
  sample: chronyd
clock:
  description: >-
    The host's clock when the module C(begun) and C(ended), and the controller's just before, C(asked_at), and after, C(answered_at).
    All in seconds since the epoch.
  returned: success
  type: dict
memory_mib:
  description: The memory in all.
  returned: success
  type: int
disks:
  description: For each path C(path), C(device), C(free_mib) and whether it is C(read_only).
  returned: success
  type: list
  elements: dict
files:
  description: For each file whether it is there.
  returned: success
  type: dict
interfaces:
  description: The hardware address of each interface.
  returned: success
  type: dict
addresses:
  description: Every address of the host.
  returned: success
  type: list
  elements: str
listeners:
  description: Who listens on the ports that were asked for, with C(port), C(address), C(program) and the C(unit) of systemd.
  returned: success
  type: list
  elements: dict
names:
  description: For each name its C(addresses), and the C(problem) where there are none.
  returned: success
  type: dict
reach:
  description: What was to be reached, each with its C(problem), V(null) where it answered.
  returned: success
  type: list
  elements: dict
virtual_address:
  description: The hardware addresses that answer for the virtual address, C(answers), and the C(problem) where that could not be seen.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._preflight_host import Questions, observe


def main() -> None:
    target = {
        "name": {"type": "str", "required": True},
        "address": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "ping": {"type": "bool", "default": False},
    }
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "list", "elements": "str", "default": []},
            "names": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "reach": {"type": "list", "elements": "dict", "default": [], "options": target},
            "virtual_address": {"type": "str"},
            "interface": {"type": "str"},
            "timeout_seconds": {"type": "float", "default": 2},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **observe(Questions(**module.params)))


if __name__ == "__main__":
    main()
