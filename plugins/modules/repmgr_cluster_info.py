#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: repmgr_cluster_info
short_description: Say what repmgr holds a PostgreSQL cluster for, and what it is
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Reads repmgr's metadata, runs C(repmgr cluster show) and C(repmgr node check), and sets beside them what the servers are. What differs is in
    RV(differences), a sentence each.
  - Observes only, changes nothing, and never fails on what it finds.
  - repmgr is the catalogue of this platform and decides nothing; M(escala.ha.postgresql_replication_info) says what the cluster is.
extends_documentation_fragment:
  - escala.ha.repmgr
options:
  nodes:
    description: The address of each data node by its name. With it, one that is not registered is a difference, and so is one that should not be.
    type: dict
    default: {}
  ca_file:
    description: The file of the authority of the guards' certificates.
    type: path
  guard_port:
    description: The guards' port.
    type: int
    default: 5433
  guard_certificate_file:
    description: The certificate to ask the guards with. They know from whom each standby streams; without them only this host's server says so.
    type: path
  guard_key_file:
    description: Its key.
    type: path
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.repmgr_node
  - module: escala.ha.postgresql_replication_info
"""

EXAMPLES = r"""
- name: See whether repmgr's catalogue is right
  escala.ha.repmgr_cluster_info:
    nodes:
      db1: 192.0.2.31
      db2: 192.0.2.32
      db3: 192.0.2.33
  register: my_catalogue
  failed_when: my_catalogue.differences | length > 0
"""

RETURN = r"""
nodes:
  description: The registered nodes. What is not known is V(null).
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: The node's number.
      type: int
    name:
      description: Its name.
      type: str
    type:
      description: What repmgr holds it for, V(primary), V(standby) or V(witness).
      type: str
    active:
      description: Whether repmgr holds it for active.
      type: bool
    upstream:
      description: From whom repmgr holds it to stream.
      type: str
    location:
      description: Where repmgr holds it to be.
      type: str
    priority:
      description: Its priority, which nothing on this platform goes by.
      type: int
    conninfo:
      description: How repmgr connects to it, without a password.
      type: str
    reachable:
      description: Whether it answered C(repmgr cluster show).
      type: bool
    in_recovery:
      description: Whether it is a standby, as it answered.
      type: bool
    actual_upstream:
      description: From whom it streams, as far as that could be seen.
      type: str
  sample:
    - id: 2
      name: db2
      type: standby
      active: true
      upstream: db1
      location: default
      priority: 100
      conninfo: host=192.0.2.32 user=repmgr dbname=repmgr
      reachable: true
      in_recovery: true
      actual_upstream: db1
checks:
  description: What C(repmgr node check) says of this host's node.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: What was checked.
      type: str
    status:
      description: V(OK), V(WARNING), V(CRITICAL) or V(UNKNOWN).
      type: str
    detail:
      description: What it says beside it.
      type: str
  sample: [{"name": "Server role", "status": "OK", "detail": "node is standby"}]
differences:
  description: What repmgr has otherwise than it is, a sentence each.
  returned: always
  type: list
  elements: str
  sample: ["repmgr has db1 as primary, and it is a standby"]
problem:
  description: What could not be asked and why, V(null) where all could.
  returned: always
  type: str
  sample: null
"""

import functools

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import HAS_PSYCOPG
from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import attempted
from ansible_collections.escala.ha.plugins.module_utils._repmgr import ARGUMENTS
from ansible_collections.escala.ha.plugins.module_utils._repmgr_cluster import observe


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "nodes": {"type": "dict", "default": {}},
            "ca_file": {"type": "path"},
            "guard_port": {"type": "int", "default": 5433},
            "guard_certificate_file": {"type": "path"},
            "guard_key_file": {"type": "path", "no_log": False},
        },
        supports_check_mode=True,
    )
    if not HAS_PSYCOPG:
        module.fail_json(msg=missing_required_lib("psycopg"))
    run = functools.partial(module.run_command, cwd="/", handle_exceptions=False)
    module.exit_json(changed=False, **observe(module.params, functools.partial(attempted, run)))


if __name__ == "__main__":
    main()
