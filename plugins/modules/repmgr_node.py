#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: repmgr_node
short_description: Have repmgr know a PostgreSQL node as it is, or not at all
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Registers the node on whose host it runs, or takes any node out of repmgr's metadata.
  - Whether the node is registered as primary or as standby is no option. Its server says it, so that a run after a failover does not put the catalogue
    back to what it was.
  - What is registered is read from the metadata, and the tool is run only when something differs.
extends_documentation_fragment:
  - escala.ha.repmgr
options:
  name:
    description: The node's name. To register it, it must be the one in O(config_file).
    type: str
    required: true
  state:
    description: Whether repmgr is to know the node.
    type: str
    choices: [registered, unregistered]
    default: registered
  upstream:
    description: The registered node from which a standby streams; without it, the one from which it does, or else the primary.
    type: str
attributes:
  check_mode:
    support: full
    description: Says in check mode what it would do.
  diff_mode:
    support: full
    description: Shows the record before and after.
seealso:
  - module: escala.ha.repmgr_cluster_info
"""

EXAMPLES = r"""
- name: Register this node as what it is
  escala.ha.repmgr_node:
    name: "{{ inventory_hostname }}"

- name: Forget a host that will not come back
  escala.ha.repmgr_node:
    name: db4
    state: unregistered
"""

RETURN = r"""
record:
  description: The node's record, as it is now or, in check mode, as it would be; empty for one that is not registered.
  returned: success
  type: dict
  sample:
    node_id: 2
    node_name: db2
    type: standby
    active: true
    upstream: db1
    conninfo: host=192.0.2.32 user=repmgr dbname=repmgr
    location: default
    priority: 100
    slot_name: null
command:
  description: The words with which repmgr was run; empty when nothing was to be done.
  returned: success
  type: list
  elements: str
  sample: [standby, register, --upstream-node-id=1, --wait-sync=15]
"""

import functools

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import HAS_PSYCOPG, SessionError
from ansible_collections.escala.ha.plugins.module_utils._repmgr import ARGUMENTS, parse_config, read_local
from ansible_collections.escala.ha.plugins.module_utils._repmgr_node import NodeError, carry_out, plan


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["registered", "unregistered"], "default": "registered"},
            "upstream": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if not HAS_PSYCOPG:
        module.fail_json(msg=missing_required_lib("psycopg"))
    params, read = module.params, functools.partial(read_local, module.params)
    run = functools.partial(module.run_command, cwd="/")
    try:
        with open(params["config_file"], encoding="utf-8") as file:
            config = parse_config(file.read())
        planned = plan(params, config, read())
        after = planned.after
        if planned.words and not module.check_mode:
            after = carry_out(params, planned, run, read, config).after
    except (NodeError, SessionError, OSError, ValueError) as error:
        module.fail_json(msg=f"{params['name']} is not {params['state']}: {error}")
    difference = {"before": planned.before, "after": after}
    module.exit_json(changed=bool(planned.words), record=after, command=planned.words, diff=difference)


if __name__ == "__main__":
    main()
