#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: load_balancer_check
short_description: Judge a load balancer by what its clients get from it
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Sends requests to the address of the load balancers and judges the answers, from any host that reaches it.
  - The verdicts are C(every_instance_answers) (by the header C(X-Served-By)), C(certificate_valid) (its chain, name and dates),
    C(tls_versions) (TLS 1.2 or newer and nothing older), C(https_redirect), C(security_headers), C(unknown_names_refused) (another name in TLS or
    in C(Host)), and C(every_balancer_serves) where O(balancers) are given.
  - Only needs Python's standard library on the host on which it runs.
extends_documentation_fragment:
  - escala.ha.check
options:
  address:
    description: The address that clients connect to, usually the virtual one.
    type: str
    required: true
  server_name:
    description: The name that clients ask for, which the certificate must cover.
    type: str
    required: true
  port:
    description: The port for HTTPS.
    type: int
    default: 443
  http_port:
    description: The port for plain HTTP, which must be redirected.
    type: int
    default: 80
  path:
    description: The path to ask for. It must answer 2xx without a login, and come from an instance of the application.
    type: str
    default: /health/ready
  instances:
    description: The name of every instance that must answer, and no other may.
    type: list
    elements: str
    required: true
  requests:
    description:
      - How many requests are sent, each on a connection of its own, to see every instance answer.
      - At least twice the number of O(instances) are sent.
    type: int
    default: 20
  balancers:
    description:
      - The balancers behind O(address), each with an address of its own.
      - Each of them must serve there, so that the next holder is known to be able to.
    type: dict
    default: {}
  ca_file:
    description:
      - The file, on the host on which the module runs, of the authority that must have signed the certificate.
      - Without it the authorities that the host trusts are taken.
    type: path
  certificate_days_left:
    description: For how many days at least the certificate must still be valid.
    type: int
    default: 14
  response_headers:
    description:
      - The headers that the frontend's page and the answer to O(path) must both carry.
      - A C(Content-Security-Policy) with C(frame-ancestors) stands for C(X-Frame-Options).
    type: list
    elements: str
    default: [Referrer-Policy, X-Content-Type-Options, X-Frame-Options]
  hsts_seconds:
    description: For how long at least C(Strict-Transport-Security) must bind a browser; V(0) where it is not wanted.
    type: int
    default: 31536000
seealso:
  - module: escala.ha.application_check
  - module: escala.ha.verification_report
"""

EXAMPLES = r"""
- name: Every instance answers through the virtual address
  escala.ha.load_balancer_check:
    address: 192.0.2.100
    server_name: app.example.com
    ca_file: /etc/ssl/private-ca.pem
    instances:
      - app1-3001
      - app1-3002
      - app2-3001
      - app2-3002
    balancers:
      lb1: 192.0.2.11
      lb2: 192.0.2.12
  delegate_to: localhost
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
      name: certificate_valid
      title: The certificate is trusted, covers the name and does not expire soon
      passed: true
      reason: covers app.example.com, signed by Example CA, 364 days left (limit 14)
      evidence: {"days_left": 364, "days_left_limit": 14}
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._load_balancer import DEFAULT_HEADERS, load_balancer_checks
from ansible_collections.escala.ha.plugins.module_utils._waiting import CHECK_ARGUMENTS, conclude


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "server_name": {"type": "str", "required": True},
            "port": {"type": "int", "default": 443},
            "http_port": {"type": "int", "default": 80},
            "path": {"type": "str", "default": "/health/ready"},
            "instances": {"type": "list", "elements": "str", "required": True},
            "requests": {"type": "int", "default": 20},
            "balancers": {"type": "dict", "default": {}},
            "ca_file": {"type": "path"},
            "certificate_days_left": {"type": "int", "default": 14},
            "response_headers": {"type": "list", "elements": "str", "default": DEFAULT_HEADERS},
            "hsts_seconds": {"type": "int", "default": 31536000},
            **CHECK_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    checks = load_balancer_checks(module.params, time.time)
    conclude(checks, module.params, module.fail_json, module.exit_json)


if __name__ == "__main__":
    main()
