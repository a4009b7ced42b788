#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: load_balancer_info
short_description: Say which instances a balancer has in rotation
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Asks a balancer at its status address for its backends, their state, why, and since when. The answer has one shape for both engines.
  - Run it on the balancer itself, or on a host that the balancer's status address answers to.
  - A balancer that cannot be asked does not fail the task; RV(problem) says why.
options:
  engine:
    description: The program that balances.
    type: str
    choices: [nginx, haproxy]
    required: true
  address:
    description: The balancer's status address.
    type: str
    required: true
  port:
    description: Its port there.
    type: int
    default: 8405
  timeout_seconds:
    description: How long the answer may take.
    type: float
    default: 3
notes:
  - HAProxy's statistics do not tell a server that is down from one that is down and drained; both are V(down).
    It says addresses only with C(stats show-legends).
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.load_balancer_backend
  - module: escala.ha.load_balancer_rotation_check
  - module: escala.ha.load_balancer_uploads
"""

EXAMPLES = r"""
- name: See which instances this balancer has
  escala.ha.load_balancer_info:
    engine: haproxy
    address: 192.0.2.11
  register: my_state

- name: Show those that get no requests
  ansible.builtin.debug:
    msg: "{{ my_state.backends | rejectattr('in_rotation') }}"
"""

RETURN = r"""
engine:
  description: The program that was asked.
  returned: always
  type: str
  sample: nginx
backends:
  description: The instances in the balancer's configuration; empty when it cannot be asked.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The instance's name.
      type: str
    address:
      description: Its address, or null where the engine does not say it.
      type: str
    port:
      description: Its port, or null where the engine does not say it.
      type: int
    state:
      description: V(up), V(down) or V(drained).
      type: str
    in_rotation:
      description: Whether new requests go there.
      type: bool
    reason:
      description: Why it is in this state.
      type: str
    since:
      description: When it came into this state, in ISO 8601 and UTC.
      type: str
    since_seconds_ago:
      description: How long ago that is.
      type: float
  sample:
    - name: app1-3001
      address: 192.0.2.21
      port: 3001
      state: down
      in_rotation: false
      reason: /health/ready answered 503
      since: "2026-02-09T12:00:05+00:00"
      since_seconds_ago: 12.5
services:
  description: What the balancer passes on as it is (C(load_balancer_tcp_services)), each with its C(name) and its backends as above.
  returned: always
  type: list
  elements: dict
  sample: []
uploads:
  description:
    - Where uploads go, C(route), whether those that write are held, C(held), and the C(upload_servers) in the configuration,
      which get nothing while the route is V(application). M(escala.ha.load_balancer_uploads) changes it.
    - Null where the configuration cannot be switched.
  returned: always
  type: dict
  sample: {"held": false, "route": "upload_servers", "upload_servers": ["legacy1"]}
checked_seconds_ago:
  description: How old the answer is, or null when there is none. HAProxy's is always as things are now.
  returned: always
  type: float
  sample: 0.4
note:
  description: What is unusual, such as that no instance is ready and the last ones that were stay.
  returned: always
  type: str
  sample: ""
problem:
  description: Why the balancer could not be asked, or null.
  returned: always
  type: str
  sample: null
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._load_balancer_state import ENGINES, observe


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "engine": {"type": "str", "choices": list(ENGINES), "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 8405},
            "timeout_seconds": {"type": "float", "default": 3},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **observe(module.params, time.time))


if __name__ == "__main__":
    main()
