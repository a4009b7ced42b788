#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer_admin
short_description: Pause, resume, disable or empty one of PgBouncer's databases
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Gives a command to PgBouncer's admin console, through its unix socket, unless what it is for is so already, and returns when it is so.
  - Runs on PgBouncer's host, as root or as the account that PgBouncer runs as, and needs the package C(python3-psycopg).
options:
  action:
    description:
      - V(pause) lets transactions end and has clients wait before their next one. When some are still under way after O(timeout_seconds), it is undone
        and the task fails, so that nobody waits for ever.
      - V(resume) has them go on. V(disable) refuses new clients, V(enable) lets them in again.
      - V(reconnect) closes each connection to the server as soon as its transaction is over.
      - V(kill) closes all of them at once, and those of the clients too; clients that come wait until V(resume).
      - V(reload) reads the configuration of all databases again, which is a change each time.
    type: str
    choices: [pause, resume, reload, reconnect, disable, enable, kill]
    required: true
  database:
    description: The database, by the name that clients use. Needed for all but O(action=reload).
    type: str
  timeout_seconds:
    description: How long to wait.
    type: float
    default: 10
  socket_directory:
    description: Where the unix socket is.
    type: path
    default: /run/pgbouncer
  port:
    description: The port, which is part of the socket's name.
    type: int
    default: 6432
notes:
  - What escala-pg-follow holds back during a failover is paused too. It resumes that by itself, and leaves alone what was paused here.
attributes:
  check_mode:
    support: full
    description: Says in check mode whether something would be done, and does nothing.
  diff_mode:
    support: none
    description: RV(database) says what is so afterwards.
seealso:
  - module: escala.ha.pgbouncer_info
"""

EXAMPLES = r"""
- name: Have clients wait while the primary is switched
  escala.ha.pgbouncer_admin:
    action: pause
    database: app
    timeout_seconds: 2

- name: Have them go on
  escala.ha.pgbouncer_admin:
    action: resume
    database: app
"""

RETURN = r"""
database:
  description: The database as it is afterwards, as M(escala.ha.pgbouncer_info) returns it; null after V(reload).
  returned: success
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._pgbouncer import Console
from ansible_collections.escala.ha.plugins.module_utils._pgbouncer_admin import ACTIONS, AdminError, Pace, bring


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": list(ACTIONS), "required": True},
            "database": {"type": "str"},
            "timeout_seconds": {"type": "float", "default": 10},
            "socket_directory": {"type": "path", "default": "/run/pgbouncer"},
            "port": {"type": "int", "default": 6432},
        },
        required_if=[("action", action, ["database"]) for action in ACTIONS if action != "reload"],
        supports_check_mode=True,
    )
    params = module.params
    pace = Pace(params["timeout_seconds"], time.monotonic, time.sleep)
    try:
        done = bring(
            params["action"],
            params["database"] or "",
            lambda: Console(params["socket_directory"], params["port"]),
            pace,
            module.check_mode,
        )
    except AdminError as error:
        module.fail_json(msg=str(error))
    after = {**done.database._asdict(), "hosts": list(done.database.hosts)} if done.database else None
    module.exit_json(changed=done.changed, database=after)


if __name__ == "__main__":
    main()
