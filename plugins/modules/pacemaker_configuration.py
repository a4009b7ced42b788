#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pacemaker_configuration
short_description: Have a Pacemaker cluster be configured as a file says
version_added: "0.5.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Compares the options, resources and constraints of a file with those of the running cluster, by their identifiers, and changes what differs in one step.
  - What the file does not name stays as it is, such as the constraints that DRBD and operators place for a while.
  - C(community.general.pacemaker_resource) makes what is absent and never changes what is there.
options:
  path:
    description: The file on the host, a whole CIB as XML.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Says in check mode what would be changed, and changes nothing. Without a cluster that answers, that is all.
  diff_mode:
    support: full
    description: Shows each element that differs.
seealso:
  - module: escala.ha.storage_pair_info
"""

EXAMPLES = r"""
- name: Have the cluster serve
  escala.ha.pacemaker_configuration:
    path: /etc/pacemaker/escala.xml
"""

RETURN = r"""
changes:
  description: The names of the options and the identifiers of the elements that were not as the file has them.
  returned: success
  type: list
  elements: str
  sample: [stonith-watchdog-timeout, shared_storage]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._pacemaker_configuration import bring_up_to_date


def main() -> None:
    module = AnsibleModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)

    def run(command: list[str]) -> tuple[int, str, str]:
        try:
            return module.run_command(list(command), handle_exceptions=False)
        except OSError as error:
            return 127, "", str(error)

    try:
        changes = bring_up_to_date(module.params["path"], run, module.tmpdir, module.check_mode)
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    diff = [{"header": name, "before": f"{was}\n", "after": f"{now}\n"} for name, (was, now) in changes.items()]
    module.exit_json(changed=bool(changes), changes=list(changes), diff=diff)


if __name__ == "__main__":
    main()
