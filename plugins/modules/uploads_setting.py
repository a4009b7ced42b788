#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uploads_setting
short_description: Have all servers of the application keep uploads in one place
version_added: "0.6.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Asks each server of the application, past the balancers, where its uploads are, by C(GET /api/settings/storage).
  - With O(state=used) it has them use the place, by one C(PUT) to the first of them, and waits until every one says so.
  - Neither the login nor the token is in what it returns.
options:
  servers:
    description: The servers' addresses such as V(http://192.0.2.21:3001), by their names.
    type: dict
    required: true
  setting:
    description: The place as the application is told of it.
    type: dict
    required: true
  location:
    description: The place as the application then says that it uses it.
    type: str
    required: true
  state:
    description: Whether only to look, or to have the place used.
    type: str
    choices: [seen, used]
    default: seen
  login_body:
    description: A login that may manage the storage.
    type: dict
    required: true
  login_path:
    description: Where the application takes a login.
    type: str
    default: /api/auth/login
  token_key:
    description: The key of the answer under which the token is.
    type: str
    default: accessToken
  timeout_seconds:
    description: How long to wait until every server follows.
    type: float
    default: 6
  request_timeout_seconds:
    description: How long one request may take.
    type: float
    default: 5
attributes:
  check_mode:
    support: full
    description: Only looks in check mode, and says whether something would be changed.
  diff_mode:
    support: none
    description: RV(said) has what each server says afterwards.
seealso:
  - module: escala.ha.uploads_copy
"""

EXAMPLES = r"""
- name: Have all instances use the bucket
  escala.ha.uploads_setting:
    servers:
      app1-3001: http://192.0.2.21:3001
      app2-3001: http://192.0.2.22:3001
    setting: {driver: s3}
    location: https://192.0.2.41:9000/uploads
    state: used
    login_body:
      tenant: acme
      email: owner@acme.example
      password: "{{ secret_check_password }}"
"""

RETURN = r"""
elsewhere:
  description: Who uses another place, in words.
  returned: success
  type: list
  elements: str
  sample: [app1-3001 uses local /srv/uploads]
unable:
  description: Who could not use the place, and why.
  returned: success
  type: list
  elements: str
  sample: []
said:
  description: What each server says, with driver, path, choices and fault.
  returned: success
  type: dict
  sample: {"app1-3001": {"driver": "local", "path": "/srv/uploads", "choices": ["local", "s3"], "fault": ""}}
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils import _uploads_setting as setting
from ansible_collections.escala.ha.plugins.module_utils._uploads import UploadsError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "servers": {"type": "dict", "required": True},
            "setting": {"type": "dict", "required": True},
            "location": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["seen", "used"], "default": "seen"},
            "login_body": {"type": "dict", "required": True, "no_log": True},
            "login_path": {"type": "str", "default": "/api/auth/login"},
            "token_key": {"type": "str", "default": "accessToken", "no_log": False},
            "timeout_seconds": {"type": "float", "default": 6},
            "request_timeout_seconds": {"type": "float", "default": 5},
        },
        supports_check_mode=True,
    )
    options = module.params
    wanted = setting.Wanted(options["setting"], options["location"])
    login = (options["login_body"], options["login_path"], options["token_key"], options["request_timeout_seconds"])
    asker = setting.Asker(options["servers"], *login)
    try:
        changed, said = setting.settled(
            asker, wanted, options["state"] == "used", module.check_mode, time, options["timeout_seconds"]
        )
    except UploadsError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=changed,
        elsewhere=setting.elsewhere(said, wanted),
        unable=setting.unable(said, wanted),
        said={name: one._asdict() for name, one in said.items()},
    )


if __name__ == "__main__":
    main()
