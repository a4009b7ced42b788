#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: virtual_ip_witness_info
short_description: Observe what a witness of a virtual address sees
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Reads what the witness on a host (role P(escala.ha.virtual_ip_witness#role)) last saw of a virtual address.
  - Observes only, and never fails on what it finds. Where no witness runs, RV(state) is V(null) and RV(problem) says why.
  - The filter P(escala.ha.virtual_ip_witness_verdict#filter) judges what several witnesses say.
options:
  path:
    description: Where the witness writes what it sees.
    type: path
    default: /run/escala-virtual-ip-witness/state.json
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - plugin: escala.ha.virtual_ip_witness_verdict
    plugin_type: filter
  - module: escala.ha.virtual_ip_info
"""

EXAMPLES = r"""
- name: See who answers for the address
  escala.ha.virtual_ip_witness_info:
  register: my_witness
"""

RETURN = r"""
address:
  description: The virtual address that the witness asks for, V(null) where there is none.
  returned: always
  type: str
  sample: 192.0.2.100
state:
  description: V(one), V(two) (or more) or V(none) holders; V(blind) when the witness could not ask; V(null) where there is no witness.
  returned: always
  type: str
  sample: one
since:
  description: Since when it has been so, in seconds of Unix time.
  returned: always
  type: float
  sample: 1795480601.2
reason:
  description: What is seen and what to do, in a sentence.
  returned: always
  type: str
  sample: lb1 (02:00:5e:00:53:01) holds 192.0.2.100
holders:
  description: Who answers for the address.
  returned: always
  type: list
  elements: dict
  contains:
    mac:
      description: The MAC address.
      type: str
    host:
      description: The name of the balancer that has it, V(null) for a host that is none.
      type: str
  sample: [{"mac": "02:00:5e:00:53:01", "host": "lb1"}]
age_seconds:
  description: How long ago the witness last looked.
  returned: always
  type: float
  sample: 0.4
problem:
  description: Why nothing could be observed, V(null) where something was.
  returned: always
  type: str
  sample: null
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._virtual_ip import WITNESS_STATE, witnessed


def main() -> None:
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "default": WITNESS_STATE}},
        supports_check_mode=True,
    )

    def read() -> str:
        with open(module.params["path"], encoding="utf-8") as file:
            return file.read()

    module.exit_json(changed=False, **witnessed(read, time.time()))


if __name__ == "__main__":
    main()
