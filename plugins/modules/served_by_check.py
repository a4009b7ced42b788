#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: served_by_check
short_description: Judge who answers at a URL
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Sends requests to a URL, each on a connection of its own, and judges by the header C(X-Served-By) whether the platform's instances answer them.
  - It tells whether the clients of an old server's address have moved to the platform, or back.
  - Only needs Python's standard library on the host on which it runs.
extends_documentation_fragment:
  - escala.ha.check
options:
  url:
    description: The URL to ask for. It must answer 2xx without a login.
    type: str
    required: true
  address:
    description: The address to connect to; without it, the one that the URL's name resolves to.
    type: str
    default: ""
  ca_data:
    description: The certificate, in PEM format, of the authority to trust; without it, those that the host trusts.
    type: str
    default: ""
  validate_certs:
    description: Whether the server's certificate must be valid.
    type: bool
    default: true
  instances:
    description: The names of the platform's instances.
    type: list
    elements: str
    required: true
  by_instances:
    description: Whether each answer must come from one of O(instances), or none may.
    type: bool
    default: true
  requests:
    description: How many requests are sent.
    type: int
    default: 4
seealso:
  - module: escala.ha.token_check
  - module: escala.ha.load_balancer_check
"""

EXAMPLES = r"""
- name: The old server's address leads to the platform
  escala.ha.served_by_check:
    url: http://192.0.2.10/health/ready
    instances: [app1-3001, app2-3001]
  delegate_to: localhost

- name: The platform is ready, before its name resolves to it
  escala.ha.served_by_check:
    url: https://app.example.com/health/ready
    address: 192.0.2.100
    instances: [app1-3001, app2-3001]
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
      name: served_by
      title: Who answers requests is who should
      passed: true
      reason: http://192.0.2.10/health/ready at 192.0.2.10 was answered by app1-3001 (2), app2-3001 (2)
      evidence: {"url": "http://192.0.2.10/health/ready", "address": "192.0.2.10", "answered_by": {"app1-3001": 2, "app2-3001": 2}}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._edge_migration import check_served_by, place
from ansible_collections.escala.ha.plugins.module_utils._waiting import CHECK_ARGUMENTS, conclude


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "address": {"type": "str", "default": ""},
            "ca_data": {"type": "str", "default": ""},
            "validate_certs": {"type": "bool", "default": True},
            "instances": {"type": "list", "elements": "str", "required": True},
            "by_instances": {"type": "bool", "default": True},
            "requests": {"type": "int", "default": 4},
            **CHECK_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    options = module.params
    limit = options["request_timeout_seconds"]
    try:
        asked = place(options["url"], options["address"], options["ca_data"], options["validate_certs"], limit)
    except ValueError as error:
        module.fail_json(msg=str(error))
    checks = [lambda: check_served_by(asked, options["instances"], options["by_instances"], options["requests"])]
    conclude(checks, options, module.fail_json, module.exit_json)


if __name__ == "__main__":
    main()
