#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rolling_restart
short_description: Bring the instances of a systemd template unit up to date, one after another
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Restarts an instance only when it does not run, or when it was started before one of O(sources) last changed. A run that was interrupted between the
    change of a file and the restart is therefore made good by the next, which a handler would forget.
  - Waits for each instance to be ready before it touches the next, and fails at the first that is not. Those after it go on as they are.
  - Enables every instance in O(instances), and stops and disables the template's others.
options:
  template:
    description: The template unit's name without C(@.service).
    type: str
    required: true
  instances:
    description: What the instances are called, in the order in which they are restarted.
    type: list
    elements: str
    required: true
  sources:
    description: The files, links and folders that an instance is made of when it starts. A link counts as itself, a folder with all that is in it.
    type: list
    elements: path
    required: true
  ready_url:
    description: Where an instance answers 2xx when it is ready; C(%i) stands for the instance.
    type: str
    required: true
  ready_timeout:
    description: How many seconds an instance has to become ready.
    type: float
    default: 60
  pause:
    description: How many seconds to rest after an instance that was restarted before the next running one is stopped.
    type: float
    default: 0
  advice:
    description: What to do when an instance does not become ready; the end of the message.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Says in check mode what would be restarted, and restarts nothing.
  diff_mode:
    support: none
    description: RV(restarted) says why for each.
"""

EXAMPLES = r"""
- name: Bring both instances up to date
  escala.ha.rolling_restart:
    template: my-app
    instances: ["3001", "3002"]
    sources:
      - /etc/systemd/system/my-app@.service
      - /etc/my-app
      - /opt/my-app/current
    ready_url: http://127.0.0.1:%i/health/ready
"""

RETURN = r"""
restarted:
  description: Why each instance was started or restarted, by its unit.
  returned: success
  type: dict
  sample: {"my-app@3001.service": "it is older than /opt/my-app/current"}
stopped:
  description: The units that were stopped because they are no longer wanted.
  returned: success
  type: list
  elements: str
  sample: ["my-app@3003.service"]
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._rolling import (
    Pace,
    RollError,
    plan,
    ready_problem,
    roll,
    source_at,
    unit_name,
    units_of,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "template": {"type": "str", "required": True},
            "instances": {"type": "list", "elements": "str", "required": True},
            "sources": {"type": "list", "elements": "path", "required": True},
            "ready_url": {"type": "str", "required": True},
            "ready_timeout": {"type": "float", "default": 60},
            "pause": {"type": "float", "default": 0},
            "advice": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    params = module.params

    def systemctl(*arguments: str) -> str:
        return module.run_command(["systemctl", *arguments], check_rc=True)[1]

    instances = {unit_name(params["template"], instance): instance for instance in params["instances"]}
    try:
        units = units_of(params["template"], list(instances), systemctl, time.time(), time.monotonic())
        sources = [source_at(path, may_be_missing=module.check_mode) for path in params["sources"]]
        todo = plan(list(instances), units, sources)
        if not module.check_mode:
            roll(
                list(instances),
                units,
                todo,
                systemctl,
                lambda name: ready_problem(params["ready_url"].replace("%i", instances[name])),
                Pace(params["ready_timeout"], params["pause"], time.monotonic, time.sleep),
            )
    except RollError as error:
        module.fail_json(msg=f"{error}. {params['advice']}".strip())
    module.exit_json(changed=not todo.empty, restarted=todo.restart, stopped=todo.stop)


if __name__ == "__main__":
    main()
