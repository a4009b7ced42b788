#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uploads_copy
short_description: Copy the uploads that are new from one place to another
version_added: "0.6.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes one pass of a migration, by rclone - lists the old place, decides what is left, copies it, reads back what was copied on both sides, and remembers
    all that. A pass can be broken off anywhere, and the next one goes on.
  - A file comes into the new place with a rename or with the one request that completes it, so nobody meets half of one.
  - Runs as root on a host that reaches both places, and needs rclone and, with O(database_url), the package C(python3-psycopg).
extends_documentation_fragment:
  - escala.ha.uploads_migration
options:
  mode:
    description:
      - With V(catch_up) the new place follows the old one, deletions too. Needed as often as it takes until little is left.
      - With V(close_in) what is new is copied and not read back, in pass after pass without a pause, until one is within the limits.
        It fails when none is. Next comes the hold.
      - With V(held), for the time in which the balancers hold writes, only what is new is copied, at once and without a second look.
      - With V(after), when the new place is in use, what ended late in the old place is fetched, and what was not read back yet is.
    type: str
    choices: [catch_up, close_in, held, after]
    default: catch_up
  look:
    description: Whether to list the new place as well, as the first pass of a run has to.
    type: bool
    default: false
  seconds:
    description: When V(catch_up) begins no more, and when V(held) gives up and fails.
    type: float
    default: 30
  patience_seconds:
    description: How long V(after) waits for uploads that are under way in the old place.
    type: float
    default: 60
  under_way:
    description:
      - Whether there are any, as far as the balancers know.
      - Where the old place shows nothing of an upload that is not finished, V(after) then waits for the whole time.
    type: bool
    default: false
  limit_files:
    description: How many new files a pass may find for the next one to be made while writes are held.
    type: int
    default: 200
  limit_mib:
    description: How many MiB they may have.
    type: float
    default: 64
  limit_seconds:
    description: How long the pass may take.
    type: float
    default: 2
attributes:
  check_mode:
    support: none
    description: It is skipped, since both places would have to be opened for it.
  diff_mode:
    support: none
    description: RV(msg) says what was done.
seealso:
  - module: escala.ha.uploads_check
  - module: escala.ha.uploads_manifest
"""

EXAMPLES = r"""
- name: Copy what is new
  vars:
    my_ends: "{{ 'old_server' | escala.ha.uploads_pair('share', my_places) }}"
  escala.ha.uploads_copy:
    source: "{{ my_ends.from }}"
    target: "{{ my_ends.to }}"
    user: tenant-app
    run_folder: /run/escala-uploads
    state_folder: /var/lib/escala-uploads/old_server+share
"""

RETURN = r"""
copied:
  description: How many files were copied.
  returned: success
  type: int
  sample: 1000
mib:
  description: How many MiB they have.
  returned: success
  type: float
  sample: 104.2
removed:
  description: How many were removed from the new place because they were deleted in the old one.
  returned: success
  type: int
  sample: 2
left:
  description: How many files are known to be left to copy.
  returned: success
  type: int
  sample: 0
left_mib:
  description: How many MiB they have.
  returned: success
  type: float
  sample: 0
unfinished:
  description: How many uploads are under way in the old place, where that can be seen.
  returned: success
  type: int
  sample: 0
seconds:
  description: How long it took to list the old place and to copy.
  returned: success
  type: float
  sample: 0.9
enough:
  description: Whether C(catch_up) has done what it can, and it is time to close in.
  returned: success
  type: bool
  sample: true
kept:
  description: What the old place has no more and was left in the new one, because the database knows it.
  returned: success
  type: list
  elements: str
without_row:
  description: What was not fetched after the switch because no row of the database names it.
  returned: success
  type: list
  elements: str
msg:
  description: The progress in one line.
  returned: always
  type: str
  sample: 1000 files, 104.2 MiB copied in 4.1 s (25.4 MiB/s); 0 files, 0.0 MiB left
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._uploads import UploadsError
from ansible_collections.escala.ha.plugins.module_utils._uploads_copy import MODES
from ansible_collections.escala.ha.plugins.module_utils._uploads_run import ARGUMENTS, copied


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "mode": {"type": "str", "choices": list(MODES), "default": "catch_up"},
            "look": {"type": "bool", "default": False},
            "seconds": {"type": "float", "default": 30},
            "patience_seconds": {"type": "float", "default": 60},
            "under_way": {"type": "bool", "default": False},
            "limit_files": {"type": "int", "default": 200},
            "limit_mib": {"type": "float", "default": 64},
            "limit_seconds": {"type": "float", "default": 2},
        },
    )
    try:
        done = copied(module.params)
    except UploadsError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**done)


if __name__ == "__main__":
    main()
