#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_bootstrap
short_description: Make the data directory of a new PostgreSQL cluster
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes a cluster with checksums and UTF-8, as a standby without upstream that a guard then elects, with an account for the guard and one for the other
    nodes to clone it by. Where there is data already it does nothing.
  - C(pg_createcluster) makes one with a data directory of its own on every node, which standbys would have to throw away; interrupted between the two, a run
    would leave a node with the data of no cluster. This one is made beside its place and renamed, so it is there whole or not at all.
  - Which one of the nodes begins says P(escala.ha.postgresql_plan#filter).
options:
  version:
    description: The major version.
    type: int
    required: true
  data_directory:
    description: Where the data will be. The folder above it is made where it is missing.
    type: path
    required: true
  guard:
    description: The superuser who only enters through the socket.
    type: str
    default: escala_guard
  replicator:
    description: The account by which nodes replicate.
    type: str
    default: replicator
  replicator_password:
    description: Its password.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Says in check mode whether it would make one.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.postgresql_node_info
  - plugin: escala.ha.postgresql_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Begin the cluster
  escala.ha.postgresql_bootstrap:
    version: 17
    data_directory: /var/lib/postgresql/17/main
    replicator_password: "{{ my_password }}"
"""

RETURN = r"""
"""

import functools
import os
import pwd

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._postgresql_bootstrap import (
    BootstrapError,
    first_accounts,
    make,
)
from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import AS_POSTGRES


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "int", "required": True},
            "data_directory": {"type": "path", "required": True},
            "guard": {"type": "str", "default": "escala_guard"},
            "replicator": {"type": "str", "default": "replicator"},
            "replicator_password": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    directory = params["data_directory"]
    if os.path.exists(os.path.join(directory, "PG_VERSION")):
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=True)
    owner = pwd.getpwnam("postgres")
    parent = os.path.dirname(directory)
    os.makedirs(parent, exist_ok=True)
    os.chown(parent, owner.pw_uid, owner.pw_gid)
    accounts = first_accounts(params["guard"], params["replicator"], params["replicator_password"])
    run = functools.partial(module.run_command, cwd=parent, environ_update={"LC_ALL": "C.UTF-8"})
    try:
        make(
            lambda argv, data: run(AS_POSTGRES + argv, data=data),
            params["version"],
            directory,
            accounts,
            owner.pw_uid,
            owner.pw_gid,
        )
    except (BootstrapError, OSError) as error:
        module.fail_json(msg=f"no cluster was made: {error}")
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
