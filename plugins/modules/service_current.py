#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service_current
short_description: Have a service run with what is on disk
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Starts and enables the service, and reloads it when one of O(sources) changed after the service last started or reloaded. It is never restarted.
  - A handler is lost when a run is interrupted between the change of a file and the end of the play, and the next run finds nothing changed. This module
    looks at what is, so the next run makes that good.
options:
  name:
    description: The service's unit, without C(.service).
    type: str
    required: true
  sources:
    description: The files, links and folders that the service reads when it starts or reloads. A folder counts with all that is in it.
    type: list
    elements: path
    required: true
  check:
    description: A command and its arguments that fails when the configuration is broken; it runs before a start or a reload, which then does not happen.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Says in check mode what would be done, and does nothing.
  diff_mode:
    support: none
    description: RV(steps) says why for each.
"""

EXAMPLES = r"""
- name: Load what changed
  escala.ha.service_current:
    name: nginx
    sources: [/etc/nginx, /etc/ssl/escala/edge.crt]
    check: [nginx, -t, -q]
"""

RETURN = r"""
steps:
  description: What systemctl was asked for, and why.
  returned: success
  type: list
  elements: str
  sample: ["reload: it has run since before /etc/nginx/nginx.conf changed"]
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._loading import PROPERTIES, loads, parse_service, plan
from ansible_collections.escala.ha.plugins.module_utils._rolling import RollError, source_at


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "sources": {"type": "list", "elements": "path", "required": True},
            "check": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    unit = f"{module.params['name']}.service"
    show = ["systemctl", "show", f"--property={','.join(PROPERTIES)}", unit]
    service = parse_service(module.run_command(show, check_rc=True)[1], time.time(), time.monotonic())
    try:
        sources = [source_at(path, may_be_missing=module.check_mode) for path in module.params["sources"]]
    except RollError as error:
        module.fail_json(msg=f"{unit} cannot be started: {error}")
    steps = plan(service, sources)
    if not module.check_mode:
        if loads(steps) and module.params["check"]:
            module.run_command(module.params["check"], check_rc=True)
        for step in steps:
            target = [] if step.verb == "daemon-reload" else [unit]
            module.run_command(["systemctl", step.verb, *target], check_rc=True)
    module.exit_json(changed=bool(steps), steps=[f"{step.verb}: {step.reason}" for step in steps])


if __name__ == "__main__":
    main()
