#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_guard_degrade
short_description: Have a PostgreSQL cluster go on without nodes that are powered off
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Takes nodes out of the quorum until they rejoin, which they do by themselves. Runs as root on each data node that is left.
  - Where one of these is the primary it does so there, and nothing on the others, since a primary changes the quorum itself.
  - B(The nodes must be powered off, not merely out of reach.) One that lives and is cut off has a primary of its own otherwise.
  - Refuses on a node that was not the last primary it knows of, unless O(accept_loss), since commits may be acknowledged that it does not have.
    The guard refuses to take out a node that it hears.
options:
  without:
    description: The nodes that are powered off.
    type: list
    elements: str
    required: true
  accept_loss:
    description: Whether to go on with a node that may lack acknowledged commits.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Says in check mode whether something would be done, and does nothing.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""

EXAMPLES = r"""
- name: Go on with what is left
  escala.ha.pg_guard_degrade:
    without: [db2, db3]
"""

RETURN = r"""
msg:
  description: What the guard said, or why there was nothing to be done.
  returned: always
  type: str
  sample: goes on without db2, db3; a primary is elected among those that are left, if there is none
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._pg_degrade import (
    PROGRAM,
    is_others_part,
    out_already,
    parsed,
    refusal,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "without": {"type": "list", "elements": "str", "required": True},
            "accept_loss": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    without = module.params["without"]
    code, said, errors = module.run_command([PROGRAM, "status", "--json"])
    if code != 0:
        module.fail_json(msg=f"The guard here does not answer: {(said + errors).strip()}")
    try:
        state, primary = parsed(said)
    except ValueError as error:
        module.fail_json(msg=str(error))
    if out_already(state, without):
        module.exit_json(changed=False, msg=f"the cluster goes on without {', '.join(without)} already")
    if is_others_part(state, primary, without):
        module.exit_json(
            changed=False, msg=f"{primary} is the primary, so this is for it to do; nothing is done on {state.node}"
        )
    reason = refusal(state, primary, without, module.params["accept_loss"])
    if reason:
        module.fail_json(msg=f"Nothing was changed: {reason}")
    if module.check_mode:
        module.exit_json(changed=True, msg=f"would go on without {', '.join(without)}")
    code, said, errors = module.run_command([PROGRAM, "degrade", "--without", *without])
    if code != 0:
        module.fail_json(msg=f"The guard refused: {(said + errors).strip()}")
    module.exit_json(changed=True, msg=said.strip())


if __name__ == "__main__":
    main()
