#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: token_check
short_description: Judge whether a token from one server opens another
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Logs in at one server and uses the token that it issued at another. It passes when both have the same key for tokens and know the same user.
  - Neither the login nor the token is in what it returns.
  - Only needs Python's standard library on the host on which it runs.
extends_documentation_fragment:
  - escala.ha.check
options:
  login_url:
    description: Where the server that issues tokens takes a login, by POST with a body of JSON.
    type: str
    required: true
  login_address:
    description: The address to connect to for O(login_url); without it, the one that its name resolves to.
    type: str
    default: ""
  login_body:
    description: The login.
    type: dict
    required: true
  login_validate_certs:
    description: Whether the certificate of that server must be valid.
    type: bool
    default: true
  token_key:
    description: The key of the answer under which the token is.
    type: str
    default: accessToken
  check_url:
    description: What the other server answers with 2xx only to a valid token, sent as C(Authorization) C(Bearer).
    type: str
    required: true
  address:
    description: The address to connect to for O(check_url); without it, the one that its name resolves to.
    type: str
    default: ""
  ca_data:
    description: The certificate, in PEM format, of the authority to trust for O(check_url); without it, those that the host trusts.
    type: str
    default: ""
seealso:
  - module: escala.ha.served_by_check
"""

EXAMPLES = r"""
- name: Whoever is logged in stays so
  escala.ha.token_check:
    login_url: http://192.0.2.10/api/auth/login
    login_body:
      tenant: acme
      email: check@acme.example
      password: "{{ secret_check_password }}"
    check_url: https://app.example.com/api/me
    address: 192.0.2.100
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
      name: token_accepted
      title: A token from the old server opens the platform
      passed: true
      reason: the platform answered 200 to a token of the old server
      evidence: {"login_url": "http://192.0.2.10/api/auth/login", "check_url": "https://app.example.com/api/me", "status": 200}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._edge_migration import check_token, place
from ansible_collections.escala.ha.plugins.module_utils._waiting import CHECK_ARGUMENTS, conclude


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "login_url": {"type": "str", "required": True},
            "login_address": {"type": "str", "default": ""},
            "login_body": {"type": "dict", "required": True, "no_log": True},
            "login_validate_certs": {"type": "bool", "default": True},
            "token_key": {"type": "str", "default": "accessToken", "no_log": False},
            "check_url": {"type": "str", "required": True},
            "address": {"type": "str", "default": ""},
            "ca_data": {"type": "str", "default": ""},
            **CHECK_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    options = module.params
    limit = options["request_timeout_seconds"]
    try:
        login = place(options["login_url"], options["login_address"], "", options["login_validate_certs"], limit)
        checked = place(options["check_url"], options["address"], options["ca_data"], True, limit)
    except ValueError as error:
        module.fail_json(msg=str(error))
    checks = [lambda: check_token(login, options["login_body"], options["token_key"], checked)]
    conclude(checks, options, module.fail_json, module.exit_json)


if __name__ == "__main__":
    main()
