#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: wal_archive_info
short_description: Say what an archive of PostgreSQL's WAL is good for
version_added: "0.8.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Says of each base backup whether the archive has the WAL that makes it consistent, and up to which position and time it can be brought; which segments
    are missing on the way to the newest timeline, over all failovers; and which a primary wrote after the others had left it.
  - Goes by the files' names, the timelines' histories and the backups' manifests. Whether the files' content is right only a restore shows.
  - Reads only, changes nothing, and never fails on what it finds in a directory that it can read.
options:
  path:
    description:
      - The archive's directory. Its C(wal) has, also in folders, files with the names that PostgreSQL's C(archive_command) gives, compressed ones with
        C(.zst), C(.lz4) or C(.gz) behind, or as the role P(escala.ha.postgresql_backup#role) keeps them.
      - Its C(backups) has a directory for each base backup with a record C(backup.json) that has C(stopped_at), in seconds since 1970, and C(parent), the name
        of the backup that an incremental one builds on; and with C(backup_manifest), where the record has no C(wal_ranges).
    type: path
    required: true
  identity_file:
    description: The identity of age's with which histories are read that are encrypted.
    type: path
  timeline:
    description: To which timeline backups are to be brought. The newest one in the archive unless set.
    type: int
  written_lsn:
    description: Up to where the primary has written, by C(pg_current_wal_lsn()). With it the module says how far the archive is behind.
    type: str
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""

EXAMPLES = r"""
- name: See what could be restored
  escala.ha.wal_archive_info:
    path: /srv/postgresql_archive
  register: my_archive

- name: See that there is no gap
  ansible.builtin.assert:
    that: my_archive.gaps == [] and my_archive.faults == []
"""

RETURN = r"""
segment_bytes:
  description: The size of one segment, by most of those that are not compressed.
  returned: success
  type: int
segments:
  description: How many whole segments there are, of all timelines.
  returned: success
  type: int
size_bytes:
  description: What the files of C(wal) take.
  returned: success
  type: int
timelines:
  description: >-
    For each timeline its number C(timeline), where it C(begins_at) (V(null) for the first), its C(first) and C(last) segment, how many C(segments), and
    those that are C(partial).
  returned: success
  type: list
  elements: dict
timeline:
  description: The timeline that gaps, stale segments and backups are judged by.
  returned: success
  type: int
gaps:
  description: Segments that are missing on the way to the newest timeline while earlier and later ones are there.
  returned: success
  type: list
  elements: str
stale:
  description: Segments that lie on no way to the newest timeline, as a primary writes them that the others have left.
  returned: success
  type: list
  elements: str
backups:
  description: >-
    The newest first, each with its C(name), C(parent), C(timeline), C(start_lsn) and C(stop_lsn), whether it is C(restorable), C(until_lsn), the C(from_time)
    and C(until_time) between which any moment can be restored (in seconds since 1970, V(null) for one that cannot be), the segment that is C(missing), and
    C(why) it ends there.
  returned: success
  type: list
  elements: dict
from_time:
  description: The earliest moment that can be restored, in seconds since 1970; V(null) where nothing can be.
  returned: success
  type: float
until_time:
  description: >-
    The latest moment up to which everything committed can be restored, by when the last segment was written; V(null) where nothing can be.
  returned: success
  type: float
lag_bytes:
  description: How much the primary has written after the last segment, V(null) without O(written_lsn).
  returned: success
  type: int
faults:
  description: Files, histories and backups that are not as they should be, in words.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._pg_wal import parse_lsn
from ansible_collections.escala.ha.plugins.module_utils._wal_archive_files import account, read_backups, read_wal


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "identity_file": {"type": "path"},
            "timeline": {"type": "int"},
            "written_lsn": {"type": "str"},
        },
        supports_check_mode=True,
    )
    path, written_lsn = module.params["path"], module.params["written_lsn"]
    try:
        if written_lsn is not None:
            parse_lsn(written_lsn)
    except ValueError as error:
        module.fail_json(msg=f"written_lsn: {error}; give what pg_current_wal_lsn() says")
    try:
        wal = read_wal(os.path.join(path, "wal"), module.params["identity_file"])
        backups, faults = read_backups(os.path.join(path, "backups"))
    except OSError as error:
        module.fail_json(msg=f"{path} cannot be read as an archive: {error}; name the directory that has 'wal' in it")
    module.exit_json(changed=False, **account(wal, backups, faults, module.params["timeline"], written_lsn))


if __name__ == "__main__":
    main()
