#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: load_balancer_rotation_check
short_description: Judge whether a balancer has every instance in rotation
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Asks the balancer at its status address, as M(escala.ha.load_balancer_info) does, and judges what it says.
  - The verdicts are C(backends_in_rotation_from_HOST), which names what is drained, down, missing or unknown and since when, and
    C(backend_checks_fresh_from_HOST), which fails when the health checks have stopped.
  - Where the balancer can be told where uploads go, C(uploads_flow_from_HOST) says where that is, and fails while they are held. Where it passes on
    services, C(services_live_from_HOST) fails when a server of one is not live.
  - Run it on each balancer, the one that stands by included.
extends_documentation_fragment:
  - escala.ha.check
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
  instances:
    description: The name of every instance that must be in rotation, and no other may.
    type: list
    elements: str
    required: true
  seen_from:
    description: The balancer's name, which becomes part of the verdicts' names.
    type: str
    required: true
  uploads_route:
    description: Where uploads are to go; another route fails C(uploads_flow_from_HOST).
    type: str
    choices: [upload_servers, application]
  age_limit_seconds:
    description: How long ago the last health check may be.
    type: float
    default: 5
seealso:
  - module: escala.ha.load_balancer_info
  - module: escala.ha.verification_report
"""

EXAMPLES = r"""
- name: This balancer has every instance
  escala.ha.load_balancer_rotation_check:
    engine: nginx
    address: 192.0.2.11
    instances: [app1-3001, app1-3002, app2-3001, app2-3002]
    seen_from: "{{ inventory_hostname }}"
    fail: false
  register: my_rotation
"""

RETURN = r"""
passed:
  description: Whether every verdict passed.
  returned: always
  type: bool
  sample: true
msg:
  description: How many checks passed, and the name and reason of each that failed.
  returned: always
  type: str
  sample: 1 of 1 checks passed
verdicts:
  description: What was judged, and why it was judged so.
  returned: always
  type: list
  elements: dict
  contains:
    etapa:
      description: The stage of the roadmap that the verdict proves.
      type: int
    name:
      description: A name for programs.
      type: str
    title:
      description: What must hold, in one sentence.
      type: str
    passed:
      description: Whether it holds.
      type: bool
    reason:
      description: What was seen against which limit, and the next step where the check failed.
      type: str
    evidence:
      description: The values behind the verdict.
      type: dict
  sample:
    - etapa: 1
      name: backends_in_rotation_from_lb1
      title: Every instance is in rotation at lb1, none drained or down
      passed: true
      reason: 4 of 4 instances in rotation at lb1 (nginx), since 3 h ago
      evidence: {"engine": "nginx"}
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._load_balancer_state import ENGINES, ROUTES, rotation_checks
from ansible_collections.escala.ha.plugins.module_utils._waiting import CHECK_ARGUMENTS, conclude


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "engine": {"type": "str", "choices": list(ENGINES), "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 8405},
            "instances": {"type": "list", "elements": "str", "required": True},
            "seen_from": {"type": "str", "required": True},
            "uploads_route": {"type": "str", "choices": list(ROUTES)},
            "age_limit_seconds": {"type": "float", "default": 5},
            **CHECK_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    checks = rotation_checks(module.params, time.time)
    conclude(checks, module.params, module.fail_json, module.exit_json)


if __name__ == "__main__":
    main()
