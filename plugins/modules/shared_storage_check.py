#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: shared_storage_check
short_description: Judge whether several hosts have one storage together
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Runs on all hosts of the storage at once. Each stores a token, reads every other's, has a file appear by one rename and sees that the others' are whole,
    holds a lock that the others are refused, deletes what another stored, and leaves nothing. In a bucket nothing is renamed or locked.
  - The verdicts of a directory are C(shared_storage_mounted), C(shared_storage_space), C(shared_storage_writes), C(shared_storage_shared),
    C(shared_storage_locks) and C(shared_storage_latency). A bucket has C(shared_storage_answers) in place of the first two, and no locks.
  - A host waits for the others in the storage itself, for O(timeout_seconds) in all, so every host must run it at the same time. The play needs as many
    C(forks) as it has hosts.
  - A directory is looked at by a process of its own, which is left behind when the storage hangs; the module itself always ends.
  - Only needs Python's standard library on the hosts. It has to run as root to act as O(user).
extends_documentation_fragment:
  - escala.ha.check
  - escala.ha.shared_storage
options:
  host:
    description: The name of this host.
    type: str
    required: true
  peers:
    description: The names of all hosts that take part. This one may be among them.
    type: list
    elements: str
    default: []
  run:
    description: A name for this run that all hosts share and no other run has.
    type: str
    required: true
  user:
    description: The user that the application runs as. Without it, the one that the module runs as.
    type: str
    default: ""
  owner_id:
    description:
      - The number of the user to whom all files in the directory must belong, for a server that does everything as one account.
      - Without it, that of O(user).
    type: int
  filesystems:
    description: The types of which the directory's file system must be one, such as V(nfs4). Without any, it only must not be the host's own root disk.
    type: list
    elements: str
    default: []
  mount_options:
    description: The options that the mount must have, as C(/proc/self/mountinfo) shows them.
    type: list
    elements: str
    default: []
  minimum_free_percent:
    description: How much of the directory's volume must be free, in space and in inodes.
    type: float
    default: 10
  latency_limit_ms:
    description: How long each step of this host may take.
    type: float
    default: 1000
attributes:
  check_mode:
    support: full
    description: Can run in check mode. Nothing is written then, which the verdict says, and what takes several hosts is not judged.
seealso:
  - module: escala.ha.shared_storage_info
  - plugin: escala.ha.storage_verdicts
    plugin_type: filter
  - module: escala.ha.verification_report
"""

EXAMPLES = r"""
- name: All application hosts have the same directory, or a message says who has not
  escala.ha.shared_storage_check:
    backend: directory
    path: /srv/uploads
    filesystems: [nfs4]
    host: "{{ inventory_hostname }}"
    peers: "{{ ansible_play_hosts }}"
    run: "{{ my_run }}"
    user: my-app
    timeout_seconds: 20

- name: All application hosts have the same bucket
  escala.ha.shared_storage_check:
    backend: s3
    endpoint: https://192.0.2.41:9000
    ca_file: /etc/ssl/escala/ca.pem
    bucket: uploads
    access_key: "{{ my_access_key }}"
    secret_key: "{{ my_secret_key }}"
    host: "{{ inventory_hostname }}"
    peers: "{{ ansible_play_hosts }}"
    run: "{{ my_run }}"
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
  sample: 6 of 6 checks passed
verdicts:
  description: What was judged, and why it was judged so.
  returned: always
  type: list
  elements: dict
  contains:
    etapa:
      description: The stage of the roadmap that the verdict proves.
      type: int
    name:
      description: A name for programs.
      type: str
    title:
      description: What must hold, in one sentence.
      type: str
    passed:
      description: Whether it holds.
      type: bool
    reason:
      description: What was seen against which limit, and the next step where the check failed.
      type: str
    evidence:
      description: The values behind the verdict.
      type: dict
  sample:
    - etapa: 2
      name: shared_storage_shared
      title: What one application host stores every other reads, and whole
      passed: true
      reason: app1 read whole what app2 stored
      evidence: {"wrote": true, "peers": {"app2": "seen"}}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils import _shared_storage
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_checks import judge
from ansible_collections.escala.ha.plugins.module_utils._verdict import outcome
from ansible_collections.escala.ha.plugins.module_utils._waiting import CHECK_ARGUMENTS


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **_shared_storage.ARGUMENTS,
            "host": {"type": "str", "required": True},
            "peers": {"type": "list", "elements": "str", "default": []},
            "run": {"type": "str", "required": True},
            "user": {"type": "str", "default": ""},
            "owner_id": {"type": "int"},
            "filesystems": {"type": "list", "elements": "str", "default": []},
            "mount_options": {"type": "list", "elements": "str", "default": []},
            "minimum_free_percent": {"type": "float", "default": 10},
            "latency_limit_ms": {"type": "float", "default": 1000},
            **CHECK_ARGUMENTS,
        },
        required_if=_shared_storage.REQUIRED_IF,
        supports_check_mode=True,
    )
    misuse = _shared_storage.misuse(module.params)
    if misuse:
        module.fail_json(msg=misuse)
    seen = _shared_storage.take_part(module.params, module.check_mode)
    result = outcome(judge(seen, module.params, module.check_mode))
    (module.fail_json if module.params["fail"] and not result["passed"] else module.exit_json)(**result)


if __name__ == "__main__":
    main()
