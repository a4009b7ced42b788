#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_fault
short_description: Break PostgreSQL or its host on purpose, for a time
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Puts one fault in force on the host that it runs on. B(It breaks what it runs on.)
  - A fault that lasts is undone by a timer of the host's own systemd, which is armed before the fault is put in force.
  - What cannot be done or undone here is refused before anything is touched.
options:
  fault:
    description:
      - V(postmaster_killed) kills the server's first process with SIGKILL.
      - V(host_power_off) runs O(power_off_command), or else has the kernel reset the host at once, which boots again.
      - V(isolated) lets nothing pass between the host and any other, O(reachable_addresses) and the address of this very ssh connection excepted.
      - V(frozen) freezes every process of the unit.
      - V(postmaster_stopped) stops the first process alone; sessions that exist go on.
      - V(standby_down) kills every process of the unit, which is for a standby's.
    type: str
    choices: [frozen, host_power_off, isolated, postmaster_killed, postmaster_stopped, standby_down]
    required: true
  unit:
    description: The unit of PostgreSQL.
    type: str
    default: postgresql@17-main.service
  data_directory:
    description: Where the data are of a server that runs in another program's unit, as under Patroni. The faults of processes are its alone then.
    type: path
    default: ""
  seconds:
    description: How long a fault lasts that can be undone, at most 600 seconds.
    type: int
    default: 60
  reachable_addresses:
    description: Addresses that an isolated host still talks to, which is where the detector of the drill is.
    type: list
    elements: str
    default: []
  power_off_command:
    description: The operator's command, with its arguments, that takes the host's power away. Delegate the task to where it is.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Says what it would run, and breaks nothing.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.postgresql_failover_drill
"""

EXAMPLES = r"""
- name: Freeze PostgreSQL for a minute
  escala.ha.postgresql_fault:
    fault: frozen
    seconds: 60
"""

RETURN = r"""
commands:
  description: What was run, in this order.
  returned: success
  type: list
  elements: list
  sample: [["systemctl", "kill", "--signal=KILL", "--kill-whom=main", "postgresql@17-main.service"]]
what:
  description: The fault in words.
  returned: success
  type: str
  sample: kill -9 of the postmaster
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils import _pg_fault


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "fault": {"type": "str", "choices": sorted(_pg_fault.FAULTS), "required": True},
            "unit": {"type": "str", "default": "postgresql@17-main.service"},
            "data_directory": {"type": "path", "default": ""},
            "seconds": {"type": "int", "default": 60},
            "reachable_addresses": {"type": "list", "elements": "str", "default": []},
            "power_off_command": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    options = module.params
    group, container = "", 1
    # Where the operator's own command runs there may be no systemd.
    if not (options["fault"] == "host_power_off" and options["power_off_command"]):
        shown = ["systemctl", "show", "--property=ControlGroup", "--value", options["unit"]]
        _code, group, _said = module.run_command(shown)
        container, _out, _said = module.run_command(["systemd-detect-virt", "--container", "--quiet"])
    reachable = [*options["reachable_addresses"], *_pg_fault.controller(_pg_fault.environments_above())]
    order = _pg_fault.Order(
        options["fault"], options["unit"], options["seconds"], reachable, options["power_off_command"]
    )
    try:
        commands = _pg_fault.plan(
            order, _pg_fault.look(group, container == 0, data_directory=options["data_directory"])
        )
    except ValueError as error:
        module.fail_json(msg=f"Nothing was broken: {error}")
    for command in commands if not module.check_mode else []:
        code, _out, said = module.run_command(command.argv, data=command.stdin)
        if code != 0:
            module.fail_json(msg=f"`{' '.join(command.argv)}` ended with {code}: {said.strip()}")
    module.exit_json(changed=True, commands=[each.argv for each in commands], what=_pg_fault.FAULTS[order.fault])


if __name__ == "__main__":
    main()
