#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: shared_storage_info
short_description: Observe a shared storage from one of its hosts
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Says of a directory what it is mounted from, how, and how much of it is free; of a bucket whether it opens to a key, and what that key may see of it.
  - Observes only, writes nothing, and never fails on what it finds. A storage that hangs is given up after O(timeout_seconds).
  - Only needs Python's standard library on the host.
extends_documentation_fragment:
  - escala.ha.shared_storage
options:
  timeout_seconds:
    description: How long to wait for the storage in all.
    type: float
    default: 10
  request_timeout_seconds:
    description: How long one request to a bucket may take.
    type: float
    default: 3
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.shared_storage_check
"""

EXAMPLES = r"""
- name: See what is mounted
  escala.ha.shared_storage_info:
    backend: directory
    path: /srv/uploads
  register: my_storage
"""

RETURN = r"""
answers:
  description: Whether the storage answered.
  returned: success
  type: bool
problem:
  description: Why it did not, V(null) where it did.
  returned: success
  type: str
  sample: /srv/uploads has a stale handle
kind:
  description: >-
    The same in one word, such as V(hangs), V(missing), V(stale), V(away), V(bucket) (there is none), V(foreign), V(refused), V(clock) or V(options).
  returned: success
  type: str
directory:
  description: >-
    For a directory C(mount) with its C(point), C(type), C(source) and C(options); C(mounted), whether that is not the host's root disk;
    C(is_mount_point), whether it is mounted at this very path; C(read_only); C(capacity_mib), C(free_mib), C(free_percent); C(inodes), C(inodes_free),
    C(inodes_free_percent), V(null) where none are counted; and C(first_names), some of what is in it, V(null) where that may not be seen.
  returned: when it answered
  type: dict
bucket:
  description: >-
    For a bucket C(where) it is; C(healthy), what a MinIO says of its disks; and C(versioning). V(null) where it is not known.
  returned: when it answered
  type: dict
clock_ahead_seconds:
  description: By how much the host's clock is ahead of that of the bucket's server.
  returned: for a bucket
  type: int
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils import _shared_storage


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_shared_storage.ARGUMENTS,
            "timeout_seconds": {"type": "float", "default": 10},
            "request_timeout_seconds": {"type": "float", "default": 3},
        },
        required_if=_shared_storage.REQUIRED_IF,
        supports_check_mode=True,
    )
    seen = _shared_storage.observe(module.params)
    module.exit_json(changed=False, **_shared_storage.shown(seen))


if __name__ == "__main__":
    main()
