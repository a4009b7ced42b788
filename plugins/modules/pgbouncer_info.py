#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer_info
short_description: Say where PgBouncer sends its clients, and how many wait
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Asks PgBouncer's admin console, through its unix socket, for its databases, pools and connections to servers.
  - Runs on PgBouncer's host, as root or as the account that PgBouncer runs as, and needs the package C(python3-psycopg).
  - A PgBouncer that cannot be asked does not fail the task; RV(problem) says why.
options:
  socket_directory:
    description: Where the unix socket is.
    type: path
    default: /run/pgbouncer
  port:
    description: The port, which is part of the socket's name.
    type: int
    default: 6432
  configuration:
    description: The configuration file, to say in RV(pending_restart) and RV(not_taken) what of it PgBouncer runs without.
    type: path
  timeout_seconds:
    description: How long one answer may take.
    type: float
    default: 3
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.pgbouncer_admin
"""

EXAMPLES = r"""
- name: See where the application's connections go
  escala.ha.pgbouncer_info:
  register: my_pooler

- name: Show the databases
  ansible.builtin.debug:
    msg: "{{ my_pooler.databases | items2dict('name', 'hosts') }}"
"""

RETURN = r"""
version:
  description: PgBouncer's version, or null when it cannot be asked.
  returned: always
  type: str
  sample: 1.24.1
databases:
  description: What clients may connect to.
  returned: always
  type: list
  elements: dict
  sample:
    - name: app
      hosts: [192.0.2.31]
      port: 5432
      database: app
      pool_mode: transaction
      pool_size: 20
      max_connections: 25
      current_connections: 4
      paused: false
      disabled: false
pools:
  description: Clients and connections of each user in each database. Those that wait have no connection yet.
  returned: always
  type: list
  elements: dict
  sample:
    - database: app
      user: app
      clients_active: 40
      clients_waiting: 0
      servers_active: 2
      servers_idle: 2
      servers_login: 0
      longest_wait_seconds: 0.0
      pool_mode: transaction
servers:
  description: Every connection to PostgreSQL.
  returned: always
  type: list
  elements: dict
  sample:
    - database: app
      user: app
      state: active
      address: 192.0.2.31
      port: 5432
      local_address: 192.0.2.21
      local_port: 40312
      close_needed: false
pending_restart:
  description: The settings in O(configuration) that PgBouncer runs without until it is started anew.
  returned: always
  type: list
  elements: str
  sample: []
not_taken:
  description:
    - What of O(configuration) a reload should have put in force and did not, each with why.
    - PgBouncer's log alone says so at a reload, and with most of it PgBouncer would not start.
  returned: always
  type: list
  elements: str
  sample: ["max_prepared_statments = 300 (it knows no such setting)"]
problem:
  description: Why PgBouncer could not be asked, or null.
  returned: always
  type: str
  sample: null
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._pgbouncer import (
    Console,
    ConsoleError,
    observe,
    unobserved,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "socket_directory": {"type": "path", "default": "/run/pgbouncer"},
            "port": {"type": "int", "default": 6432},
            "configuration": {"type": "path"},
            "timeout_seconds": {"type": "float", "default": 3},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        configuration = ""
        if params["configuration"]:
            with open(params["configuration"], encoding="utf-8") as file:
                configuration = file.read()
        with Console(params["socket_directory"], params["port"], params["timeout_seconds"]) as console:
            found = observe(console, configuration)
    except (ConsoleError, OSError, ValueError) as error:
        found = unobserved(str(error))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
