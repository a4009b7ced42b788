#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: virtual_ip_info
short_description: Observe whether a host holds a virtual address
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Lists the addresses of a host, and says whether a given one is among them.
  - Observes only, and never fails on what it finds. Where the addresses cannot be read, RV(holds) is V(null) and RV(problem) says why.
  - The filter P(escala.ha.virtual_ip_verdict#filter) judges what several hosts say.
options:
  address:
    description: The virtual address, without its prefix length.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
requirements:
  - the program C(ip) of iproute2
seealso:
  - plugin: escala.ha.virtual_ip_verdict
    plugin_type: filter
"""

EXAMPLES = r"""
- name: See who holds the address
  escala.ha.virtual_ip_info:
    address: 192.0.2.100
  register: my_virtual_ip
"""

RETURN = r"""
address:
  description: The virtual address that was looked for.
  returned: always
  type: str
  sample: 192.0.2.100
holds:
  description: Whether the host has the address, V(null) where that could not be observed.
  returned: always
  type: bool
  sample: true
interface:
  description: The interface that has it, V(null) where none has.
  returned: always
  type: str
  sample: eth0
addresses:
  description: Every address of the host.
  returned: always
  type: list
  elements: dict
  contains:
    interface:
      description: The interface that has the address.
      type: str
    address:
      description: The address.
      type: str
    prefix_length:
      description: The length of the network's part of it.
      type: int
  sample: [{"interface": "eth0", "address": "192.0.2.100", "prefix_length": 24}]
problem:
  description: Why nothing could be observed, V(null) where something was.
  returned: always
  type: str
  sample: null
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._virtual_ip import LIST_ADDRESSES, observe


def main() -> None:
    module = AnsibleModule(
        argument_spec={"address": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    seen = observe(
        module.params["address"],
        lambda: module.run_command(list(LIST_ADDRESSES), handle_exceptions=False),
    )
    module.exit_json(changed=False, **seen)


if __name__ == "__main__":
    main()
