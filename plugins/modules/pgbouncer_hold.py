#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer_hold
short_description: Have clients wait at PgBouncer until another primary is there
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Pauses a database, waits until PgBouncer's follower leads it to O(target_address), and resumes it. It is resumed in any case, also when nothing moved,
    and at once when the module is told to end (SIGTERM, SIGHUP). Nothing of a module that is killed (SIGKILL) resumes it.
  - Run it detached (C(async), C(poll=1)), so that clients wait for the other primary also when the run or its connection has ended.
  - Runs on PgBouncer's host, as root or as the account that PgBouncer runs as, while M(escala.ha.postgresql_switchover) waits on the primary.
  - When transactions do not end within O(stall_seconds), clients go on as before and the task fails.
options:
  database:
    description: The database, by the name that clients use.
    type: str
    default: app
  also:
    description: Other databases that are held as long, such as one for reads whose connections would be in the way.
    type: list
    elements: str
    default: []
    version_added: "0.4.0"
  target_address:
    description: The address of the node that takes over.
    type: str
    required: true
  stall_seconds:
    description: How long transactions that are under way may take to end, while clients wait.
    type: float
    default: 3
  timeout_seconds:
    description: How long clients wait at most, and are let go on to whoever is primary then.
    type: float
    default: 8
  socket_directory:
    description: Where the unix socket is.
    type: path
    default: /run/pgbouncer
  port:
    description: The port, which is part of the socket's name.
    type: int
    default: 6432
attributes:
  check_mode:
    support: full
    description: Says in check mode that clients would wait, and has none wait.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.postgresql_switchover
  - module: escala.ha.pgbouncer_admin
"""

EXAMPLES = r"""
- name: Have clients wait until db2 takes writes
  escala.ha.pgbouncer_hold:
    target_address: 192.0.2.32
  async: 60
  poll: 1
"""

RETURN = r"""
held_seconds:
  description: For how long clients waited; null in check mode.
  returned: success
  type: float
  sample: 1.2
moved:
  description: Whether the database leads to the target now.
  returned: success
  type: bool
  sample: true
hosts:
  description: Where it leads.
  returned: success
  type: list
  elements: str
  sample: [192.0.2.32]
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._pg_switchover import SwitchoverError, Time, hold
from ansible_collections.escala.ha.plugins.module_utils._pgbouncer import Console, ConsoleError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "database": {"type": "str", "default": "app"},
            "also": {"type": "list", "elements": "str", "default": []},
            "target_address": {"type": "str", "required": True},
            "stall_seconds": {"type": "float", "default": 3},
            "timeout_seconds": {"type": "float", "default": 8},
            "socket_directory": {"type": "path", "default": "/run/pgbouncer"},
            "port": {"type": "int", "default": 6432},
        },
        supports_check_mode=True,
    )
    options = module.params
    if module.check_mode:
        module.exit_json(changed=True, held_seconds=None, moved=False, hosts=[])
    try:
        held = hold(
            lambda: Console(options["socket_directory"], options["port"]),
            options["database"],
            options["target_address"],
            options["stall_seconds"],
            options["timeout_seconds"],
            Time(time.monotonic, time.sleep),
            options["also"],
        )
    except (ConsoleError, SwitchoverError) as error:
        module.fail_json(msg=str(error))
    found = {"held_seconds": round(held.seconds, 3), "moved": held.moved, "hosts": list(held.hosts)}
    if not held.moved:
        module.fail_json(
            msg=f"{options['database']} did not move to {options['target_address']}; clients go on", **found
        )
    module.exit_json(changed=True, **found)


if __name__ == "__main__":
    main()
