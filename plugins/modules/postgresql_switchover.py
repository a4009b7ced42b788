#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_switchover
short_description: Hand a primary's role over to a standby, in order
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Runs on the primary, as root. It asks through the unix socket, and has the guard hand over, which lets the target be elected like any other.
  - With O(state=ready) it chooses who takes over, refuses while a transaction is older than clients may wait, and writes a checkpoint.
  - With O(state=handed_over) it waits until no pooler has a connection left, which M(escala.ha.pgbouncer_hold) brings about on their hosts, and then
    hands over.
options:
  state:
    description: What to do.
    type: str
    choices: [ready, handed_over]
    required: true
  primary:
    description: The primary's name, as M(escala.ha.postgresql_replication_info) says it.
    type: str
  reason:
    description: Why it is this one or none, as the same module says it.
    type: str
    default: nobody was asked
  nodes:
    description: All nodes, as the same module returns them. Needed for O(state=ready).
    type: list
    elements: dict
    default: []
  target:
    description: The node that is to take over. With O(state=ready) it may be empty, for the standby that is furthest.
    type: str
    default: ""
  stall_seconds:
    description: How long clients may wait.
    type: float
    default: 3
  lag_bytes:
    description: How much WAL the target may have to replay yet.
    type: int
    default: 1048576
  database:
    description: The database that the poolers lead to.
    type: str
    default: app
  users:
    description: The accounts that enter through the poolers.
    type: list
    elements: str
    default: [app, escala_probe]
  poolers:
    description: The poolers' addresses.
    type: list
    elements: str
    default: []
  begin_seconds:
    description: How long to wait for the poolers.
    type: float
    default: 30
  socket_directory:
    description: Where PostgreSQL's unix socket is.
    type: path
    default: /var/run/postgresql
  port:
    description: Its port, which is part of the socket's name.
    type: int
    default: 5432
  user:
    description: As whom to ask through the socket.
    type: str
    default: escala_guard
requirements:
  - psycopg >= 3.1
attributes:
  check_mode:
    support: full
    description: Says in check mode who would take over, and hands nothing over.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.pgbouncer_hold
  - module: escala.ha.postgresql_replication_info
"""

EXAMPLES = r"""
- name: Hand over once nobody is connected
  escala.ha.postgresql_switchover:
    state: handed_over
    target: db2
    poolers: [192.0.2.21, 192.0.2.22]
"""

RETURN = r"""
primary:
  description: From whom.
  returned: O(state=ready)
  type: str
  sample: db1
target:
  description: To whom.
  returned: success
  type: str
  sample: db2
target_address:
  description: The target's address.
  returned: O(state=ready)
  type: str
  sample: 192.0.2.32
msg:
  description: What the guard said, or what is ready.
  returned: always
  type: str
  sample: db2 is primary of timeline 4
"""

import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import HAS_PSYCOPG, SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_switchover import (
    SWITCHOVER_ARGUMENTS,
    SwitchoverError,
    Time,
    get_ready,
    release,
)


def main() -> None:
    module = AnsibleModule(argument_spec=SWITCHOVER_ARGUMENTS, supports_check_mode=True)
    if not HAS_PSYCOPG:
        module.fail_json(msg=missing_required_lib("psycopg"))
    options = module.params
    try:
        if options["state"] == "ready":
            way = get_ready(options, module.check_mode)
            module.exit_json(changed=False, msg=f"{way.target} can take over from {way.primary}", **way._asdict())
        if module.check_mode:
            module.exit_json(changed=True, target=options["target"], msg=f"{options['target']} would take over")
        release(options, Time(time.monotonic, time.sleep))
    except (SwitchoverError, SessionError) as error:
        module.fail_json(msg=f"Nothing was handed over: {error}")
    code, said, errors = module.run_command(["/usr/sbin/escala-pg-guard", "handover", "--to", options["target"]])
    message = (said + errors).strip()
    if code != 0:
        module.fail_json(msg=f"{options['target']} did not take over: {message}")
    module.exit_json(changed=True, target=options["target"], msg=message)


if __name__ == "__main__":
    main()
