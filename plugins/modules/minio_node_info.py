#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: minio_node_info
short_description: Say what a MinIO node's disks hold, and whether its service is older than its files
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Reads only, changes nothing, and needs nothing on the host before MinIO is installed.
  - The filter P(escala.ha.minio_refusals#filter) judges by it what a cluster must not become.
options:
  volumes:
    description: The folders that MinIO has or is to have.
    type: list
    elements: path
    required: true
  service:
    description: The service's unit, without C(.service).
    type: str
    default: minio
  shared:
    description: The files that the service reads when it starts, and that all nodes must have alike.
    type: list
    elements: path
    default: []
  own:
    description: The other files that it reads when it starts.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - plugin: escala.ha.minio_refusals
    plugin_type: filter
"""

EXAMPLES = r"""
- name: See what the node is
  escala.ha.minio_node_info:
    volumes: [/var/lib/minio]
    shared: [/usr/local/bin/minio, /etc/minio/environment]
    own: [/etc/systemd/system/minio.service]
  register: my_node
"""

RETURN = r"""
volumes:
  description:
    - For each folder whether it is on another file system than the root's, what in it is not MinIO's, and the pool it is a drive of.
    - The pool's identifier is empty where MinIO has not begun there; a position counts from 0.
  returned: success
  type: dict
  sample:
    /var/lib/minio:
      {own_file_system: true, foreign: [], deployment: 0ef24b28-6d8f-4d51-9fbd-1c2c3f5a9d1c, drives: 4, position: 0, problem: ""}
restart:
  description: How the service may be restarted to run with what is on disk, V(none), V(alone) or V(together) with the other nodes.
  returned: success
  type: str
restart_reason:
  description: Why.
  returned: success
  type: str
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._minio import observed
from ansible_collections.escala.ha.plugins.module_utils._minio_restart import PROPERTIES, changed_at, decide, started_at


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "volumes": {"type": "list", "elements": "path", "required": True},
            "service": {"type": "str", "default": "minio"},
            "shared": {"type": "list", "elements": "path", "default": []},
            "own": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    show = ["systemctl", "show", f"--property={','.join(PROPERTIES)}", f"{params['service']}.service"]
    started = started_at(module.run_command(show)[1], time.time(), time.monotonic())
    restart = decide(started, changed_at(params["shared"]), changed_at(params["own"]))
    module.exit_json(
        changed=False,
        volumes={path: observed(path) for path in params["volumes"]},
        restart=restart.how,
        restart_reason=restart.reason,
    )


if __name__ == "__main__":
    main()
