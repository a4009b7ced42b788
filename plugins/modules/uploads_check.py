#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uploads_check
short_description: Judge whether a migration of uploads may begin, or may switch
version_added: "0.6.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Before the begin both places must answer, the new one must take a file, have room, and hold nothing that is not known; and every upload
    that the database knows of must have its file in the old one.
  - Before the switch everything copied must have been read back, the same on both sides and as the database knows it.
  - Runs as root on a host that reaches both places, and needs rclone and, with O(database_url), the package C(python3-psycopg).
extends_documentation_fragment:
  - escala.ha.uploads_migration
options:
  question:
    description: What is to be judged, whether the migration may begin or whether it may switch.
    type: str
    choices: [begin, switch]
    required: true
  others_in_target:
    description: Whether the new place may hold files of which nothing is known. They are left alone.
    type: bool
    default: false
  tolerated:
    description: How many uploads may be missing or damaged in the old place already.
    type: int
    default: 0
  fail:
    description: Whether a failed verdict fails the task, with the reasons in the message.
    type: bool
    default: true
attributes:
  check_mode:
    support: none
    description: It is skipped, since both places would have to be opened for it.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.uploads_copy
"""

EXAMPLES = r"""
- name: May it begin?
  escala.ha.uploads_check:
    source: "{{ my_ends.from }}"
    target: "{{ my_ends.to }}"
    user: tenant-app
    run_folder: /run/escala-uploads
    state_folder: /var/lib/escala-uploads/old_server+share
    question: begin
"""

RETURN = r"""
passed:
  description: Whether every verdict passed.
  returned: always
  type: bool
  sample: true
msg:
  description: How many checks passed, and the name and reason of each that failed.
  returned: always
  type: str
  sample: 3 of 3 checks passed
verdicts:
  description: What was judged, and why it was judged so; each with etapa, name, title, passed, reason and evidence.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._uploads import UploadsError
from ansible_collections.escala.ha.plugins.module_utils._uploads_run import ARGUMENTS, checked
from ansible_collections.escala.ha.plugins.module_utils._verdict import outcome


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "question": {"type": "str", "choices": ["begin", "switch"], "required": True},
            "others_in_target": {"type": "bool", "default": False},
            "tolerated": {"type": "int", "default": 0},
            "fail": {"type": "bool", "default": True},
        },
    )
    try:
        result = outcome(checked(module.params))
    except UploadsError as error:
        module.fail_json(msg=str(error), passed=False, verdicts=[])
    (module.fail_json if module.params["fail"] and not result["passed"] else module.exit_json)(**result)


if __name__ == "__main__":
    main()
