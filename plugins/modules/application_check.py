#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: application_check
short_description: Judge whether every instance of the application is ready
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Asks each instance for its readiness at its own address, without a load balancer between.
  - An instance is ready when it answers 2xx and, where it says its name in the header C(X-Served-By), when that is the expected one.
  - Run it on each balancer, the one that stands by included, to prove that each reaches every instance.
  - Only needs Python's standard library on the host on which it runs.
extends_documentation_fragment:
  - escala.ha.check
options:
  instances:
    description: The instances to ask.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name that the instance says of itself.
        type: str
        required: true
      address:
        description: The address of its host.
        type: str
        required: true
      port:
        description: The port on which it listens.
        type: int
        required: true
  path:
    description: The path that answers 2xx when the instance is ready.
    type: str
    default: /health/ready
  seen_from:
    description:
      - The host from which the instances are seen.
      - It becomes part of the verdict's name and title, so that the verdicts of several hosts stay apart.
    type: str
    default: ""
seealso:
  - module: escala.ha.load_balancer_check
  - module: escala.ha.verification_report
"""

EXAMPLES = r"""
- name: Wait until both instances of a host are ready
  escala.ha.application_check:
    instances:
      - name: app1-3001
        address: 192.0.2.21
        port: 3001
      - name: app1-3002
        address: 192.0.2.21
        port: 3002
    timeout_seconds: 60

- name: Every balancer reaches every instance
  escala.ha.application_check:
    instances: "{{ my_instances }}"
    seen_from: "{{ inventory_hostname }}"
    fail: false
  register: my_readiness
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
      name: instances_ready_from_lb1
      title: Every instance of the application is ready, seen from lb1
      passed: true
      reason: 2 of 2 instances answer 2xx
      evidence: {"instances": {"app1-3001": "ready", "app1-3002": "ready"}}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._application import application_checks
from ansible_collections.escala.ha.plugins.module_utils._waiting import CHECK_ARGUMENTS, conclude


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instances": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                },
            },
            "path": {"type": "str", "default": "/health/ready"},
            "seen_from": {"type": "str", "default": ""},
            **CHECK_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    checks = application_checks(module.params)
    conclude(checks, module.params, module.fail_json, module.exit_json)


if __name__ == "__main__":
    main()
