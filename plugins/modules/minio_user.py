#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: minio_user
short_description: Have a user with a policy of its own in a MinIO
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes the user, gives him the secret key that is asked for where MinIO takes another from him, and lets him do what O(policy) says and nothing else.
  - No module of the collections does that, amazon.aws speaks to AWS's own service for it. Debian has no MinIO client and no Python library of it.
  - Talks to MinIO itself, so no secret is on a command line. What it changes is the cluster's, one run on one host is enough.
requirements:
  - cryptography, on the host that runs it
options:
  address:
    description: A node's address, which its certificate must cover.
    type: str
    required: true
  port:
    description: Its port.
    type: int
    default: 9000
  region:
    description: The region that MinIO says it is in.
    type: str
    default: us-east-1
  ca_file:
    description: The authority's certificate, by which the node is known.
    type: path
    required: true
  root_user:
    description: MinIO's root user.
    type: str
    required: true
  root_password:
    description: The root user's password.
    type: str
    required: true
  access_key:
    description: The user's access key, which is his name.
    type: str
    required: true
  access_key_secret:
    description: His secret key; not for O(state=absent).
    type: str
  policy_name:
    description: What the policy is called in MinIO; not for O(state=absent).
    type: str
  policy:
    description: The policy's document; not for O(state=absent).
    type: dict
  state:
    description: Whether he is to be there. What he has stored stays, and so does his policy.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: Says in check mode what would be done. Where nobody answers yet, that is everything.
  diff_mode:
    support: full
    description: Of the secret key it says whether it is the one that is asked for, and never which.
"""

EXAMPLES = r"""
- name: Have the application's user
  escala.ha.minio_user:
    address: 10.0.0.41
    ca_file: /etc/ssl/escala/ca.pem
    root_user: minio-root
    root_password: "{{ my_root_password }}"
    access_key: app
    access_key_secret: "{{ my_secret_key }}"
    policy_name: application
    policy: "{{ 'uploads' | escala.ha.minio_application_policy }}"
  no_log: true
"""

RETURN = r"""
steps:
  description: What was done, V(policy), V(keys) and V(attach), or V(remove).
  returned: success
  type: list
  elements: str
"""

import datetime
import ssl

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint
from ansible_collections.escala.ha.plugins.module_utils._minio_admin import (
    USER_ARGUMENTS,
    AdminError,
    Keys,
    Server,
    User,
    bring_about,
)


def main() -> None:
    present = ["access_key_secret", "policy_name", "policy"]
    module = AnsibleModule(USER_ARGUMENTS, required_if=[("state", "present", present)], supports_check_mode=True)
    params = module.params
    try:
        server = Server(
            Endpoint(params["address"], params["port"], params["address"], 20),
            ssl.create_default_context(cafile=params["ca_file"]),
            params["region"],
            lambda: datetime.datetime.now(datetime.timezone.utc),
        )
    except OSError as error:
        if module.check_mode:
            module.exit_json(changed=True, steps=[])
        module.fail_json(msg=f"{params['ca_file']} cannot be used: {error}; install the authority's certificate first")
    root = Keys(params["root_user"], params["root_password"])
    wanted = None
    if params["state"] == "present":
        wanted = User(True, True, params["policy_name"], params["policy"])
    try:
        done = bring_about(
            server, root, Keys(params["access_key"], params["access_key_secret"] or ""), wanted, module.check_mode
        )
    except AdminError as error:
        module.fail_json(msg=f"user {params['access_key']}: {error}")
    module.exit_json(changed=bool(done.steps), steps=done.steps, diff={"before": done.before, "after": done.after})


if __name__ == "__main__":
    main()
