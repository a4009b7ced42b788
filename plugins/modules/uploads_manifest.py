#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uploads_manifest
short_description: Account for every upload after a migration
version_added: "0.6.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Lists the new place, compares it with the database and with what was read back on both sides, and writes C(manifest.json) and the page C(manifest.md).
  - They are written once for a switch, and again when O(moved) says that something was moved since; the verdicts are of now.
  - Runs as root on a host that reaches the new place, and needs rclone and, with O(database_url), the package C(python3-psycopg).
extends_documentation_fragment:
  - escala.ha.uploads_migration
options:
  moved:
    description: Whether something was moved since the account was written.
    type: bool
    default: false
  tolerated:
    description: How many uploads may have been missing or damaged before the migration.
    type: int
    default: 0
attributes:
  check_mode:
    support: none
    description: It is skipped, since the new place would have to be opened for it.
  diff_mode:
    support: none
    description: The page says what became of each object.
seealso:
  - module: escala.ha.uploads_copy
"""

EXAMPLES = r"""
- name: Account for every upload
  escala.ha.uploads_manifest:
    source: "{{ my_ends.from }}"
    target: "{{ my_ends.to }}"
    user: tenant-app
    run_folder: /run/escala-uploads
    state_folder: /var/lib/escala-uploads/old_server+share
"""

RETURN = r"""
file:
  description: The account as data; beside it is the page.
  returned: success
  type: str
  sample: /var/lib/escala-uploads/old_server+share/manifest.json
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
from ansible_collections.escala.ha.plugins.module_utils._uploads_run import ARGUMENTS, accounted
from ansible_collections.escala.ha.plugins.module_utils._verdict import summary


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "moved": {"type": "bool", "default": False},
            "tolerated": {"type": "int", "default": 0},
        },
    )
    try:
        found = accounted(module.params)
    except UploadsError as error:
        module.fail_json(msg=str(error), passed=False, verdicts=[])
    module.exit_json(msg=summary(found["verdicts"]), **found)


if __name__ == "__main__":
    main()
