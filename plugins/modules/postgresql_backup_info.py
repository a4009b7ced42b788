#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_backup_info
short_description: Say how the backups of a PostgreSQL cluster stand
version_added: "0.8.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Asks C(escala-pg-backup) on the host that the role P(escala.ha.postgresql_backup#role) made how old the last backup that can be restored is, how far the
    archived WAL reaches, and how the last drill went.
  - Reads only, and changes nothing but the metrics that are written each minute anyway. It fails only where the program cannot be run.
options:
  program:
    description: The program.
    type: path
    default: /usr/sbin/escala-pg-backup
  user:
    description: The account that keeps backups.
    type: str
    default: escala-backup
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.wal_archive_info
  - plugin: escala.ha.backup_verdicts
    plugin_type: filter
"""

EXAMPLES = r"""
- name: See how backups stand
  escala.ha.postgresql_backup_info:
  register: my_backups
"""

RETURN = r"""
problems:
  description: What is wrong, in words that say what to do; empty where a restore would go well.
  returned: success
  type: list
  elements: str
backup_age_seconds:
  description: The age of the last backup that can be restored, V(null) where there is none.
  returned: success
  type: float
drill_age_seconds:
  description: How long ago a restored backup last passed its drill, V(null) for never.
  returned: success
  type: float
drill_passed:
  description: Whether the last drill passed, V(null) where there was none.
  returned: success
  type: bool
archived_lsn:
  description: All WAL before this position is in the archive, or being received.
  returned: success
  type: str
written_lsn:
  description: Up to where the primary has written, V(null) where it does not answer.
  returned: success
  type: str
archive_age_seconds:
  description: How long ago the archive's last segment was written.
  returned: success
  type: float
gaps:
  description: Segments that are missing between others.
  returned: success
  type: list
  elements: str
free_bytes:
  description: What is free where backups are kept.
  returned: success
  type: int
stored_bytes:
  description: What the largest backup takes as it is kept.
  returned: success
  type: int
receiving:
  description: Whether WAL is received as it is written, V(null) where that was not asked for.
  returned: success
  type: bool
"""

import json

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "path", "default": "/usr/sbin/escala-pg-backup"},
            "user": {"type": "str", "default": "escala-backup"},
        },
        supports_check_mode=True,
    )
    program, user = module.params["program"], module.params["user"]
    code, out, error = module.run_command(["runuser", "-u", user, "--", program, "status"], handle_exceptions=True)
    try:
        said = json.loads(out)
        problems = said["problems"]
    except (KeyError, TypeError, ValueError):
        module.fail_json(msg=f"{program} did not say how backups stand ({code}): {(error or out).strip()[-300:]}")
    module.exit_json(changed=False, **{**said, "problems": problems})


if __name__ == "__main__":
    main()
