#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_adoption_info
short_description: Say why a PostgreSQL that somebody else made may not become the first node of a cluster
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Asks the server of the host itself through its socket, as the system's user postgres, and compares it with what a node is.
  - Observes only and changes nothing. The collection community.postgresql needs a library that an old server may not have yet.
options:
  version:
    description: The major version that a node has.
    type: int
    required: true
  port:
    description: The port on which a node listens.
    type: int
    default: 5432
  data_directory:
    description: Where a node has its data.
    type: path
    required: true
  configuration_file:
    description: Where a node has its configuration.
    type: path
    required: true
  owners:
    description: The databases that must be there, and the account that must own each.
    type: dict
    required: true
  accounts:
    description: The accounts that may enter.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      password:
        description: Its password. One that is there already must have the same.
        type: str
        required: true
      databases:
        description: The databases that it may enter; V(replication) for streaming.
        type: list
        elements: str
        required: true
      addresses:
        description: The addresses or networks from which it comes, by TLS.
        type: list
        elements: str
        required: true
  settings:
    description: All settings that a node has.
    type: dict
    required: true
  checksums:
    description: Whether its data must have checksums.
    type: bool
    default: true
  sessions_may_end:
    description: Whether whoever else is connected may be shut out.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.postgresql_node_info
"""

EXAMPLES = r"""
- name: See whether the old server may become a node
  escala.ha.postgresql_adoption_info:
    version: 17
    data_directory: /var/lib/postgresql/17/main
    configuration_file: /etc/postgresql/17/main/postgresql.conf
    owners: {app: app}
    accounts: [{name: app, password: "{{ my_password }}", databases: [app], addresses: [192.0.2.21, 192.0.2.22]}]
    settings: {max_connections: 200}
  register: my_server
"""

RETURN = r"""
refusals:
  description: Why it may not, each with the next step; none where it may.
  returned: success
  type: list
  elements: str
notes:
  description: What is otherwise afterwards, and hinders nothing.
  returned: success
  type: list
  elements: str
"""

import json
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import DataDirectory
from ansible_collections.escala.ha.plugins.module_utils._postgresql_adoption import (
    QUERY,
    UNLOGGED,
    Host,
    Wish,
    notes,
    refusals,
)
from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import AS_POSTGRES, attempted, question

_ACCOUNT = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "databases": {"type": "list", "elements": "str", "required": True},
    "addresses": {"type": "list", "elements": "str", "required": True},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "int", "required": True},
            "port": {"type": "int", "default": 5432},
            "data_directory": {"type": "path", "required": True},
            "configuration_file": {"type": "path", "required": True},
            "owners": {"type": "dict", "required": True},
            "accounts": {"type": "list", "elements": "dict", "required": True, "options": _ACCOUNT},
            "settings": {"type": "dict", "required": True},
            "checksums": {"type": "bool", "default": True},
            "sessions_may_end": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    wish = Wish(**module.params)

    def asked(sql: str, database: str = "postgres") -> t.Tuple[int, str, str]:
        command = [*AS_POSTGRES, *question(sql, wish.port, "postgres", database)]
        return attempted(module.run_command, command, cwd="/", handle_exceptions=False)

    status, answer, errors = asked(QUERY)
    if status != 0:
        said = f"no PostgreSQL answers the user postgres through /run/postgresql on port {wish.port}: {errors.strip()}. Start it, or set postgresql_port"
        module.exit_json(changed=False, refusals=[said], notes=[])
    seen = json.loads(answer)
    answers = {database: asked(UNLOGGED, database) for database in seen["databases"]}
    closed = [f"{name}: {found[2].strip()}" for name, found in answers.items() if found[0] != 0]
    if closed:
        said = f"not every database can be looked into as postgres: {'; '.join(closed)}"
        module.exit_json(changed=False, refusals=[said], notes=[])
    place = seen["data_directory"]
    host = Host(
        in_unit=DataDirectory(place).runs_in_unit(f"postgresql@{wish.version}-main.service"),
        is_moved=os.path.islink(place) or os.path.ismount(place),
        unlogged={name: json.loads(found[1]) for name, found in answers.items()},
    )
    module.exit_json(changed=False, refusals=refusals(seen, host, wish), notes=notes(seen, wish))


if __name__ == "__main__":
    main()
