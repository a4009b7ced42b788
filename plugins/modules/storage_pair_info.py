#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_pair_info
short_description: Observe one host of a pair of storage servers
version_added: "0.5.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Says what the host's device holds, how DRBD replicates it, whether the host has quorum, and what its cluster manager sees of the pair.
  - Reads only, changes nothing, and never fails on what it finds. Before anything is installed most of it is V(null) or empty.
  - The filters P(escala.ha.storage_pair_refusals#filter), P(escala.ha.storage_pair_step#filter), P(escala.ha.storage_pair_faults#filter) and
    P(escala.ha.storage_pair_verdicts#filter) judge what both hosts say.
options:
  name:
    description: The name by which the cluster is to know the host.
    type: str
    required: true
  device:
    description: The block device that is replicated.
    type: path
    required: true
  resource:
    description: DRBD's name for it.
    type: str
    default: uploads
  address:
    description: The address that moves between the hosts.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.pacemaker_configuration
  - plugin: escala.ha.storage_pair_faults
    plugin_type: filter
"""

EXAMPLES = r"""
- name: See how the host is
  escala.ha.storage_pair_info:
    name: nas1
    device: /dev/disk/by-id/virtio-uploads
    address: 192.0.2.50
  register: my_host
"""

RETURN = r"""
name:
  description: What was asked for.
  returned: success
  type: str
hostname:
  description: What the host calls itself, which is what DRBD and the cluster go by.
  returned: success
  type: str
device:
  description: >-
    C(path); C(is_block_device); C(content), V(empty), V(drbd) or V(foreign); C(holds), what a foreign one has; and C(just_created), whether DRBD's block
    was written and nobody has vouched for the data yet.
  returned: success
  type: dict
replication:
  description: What DRBD says, C(connection), C(role), C(peer_role), C(disk) and C(peer_disk); all are V(null) where its device is not up.
  returned: success
  type: dict
  sample: {connection: Connected, role: Primary, peer_role: Secondary, disk: UpToDate, peer_disk: UpToDate}
quorum:
  description: Whether the host is C(quorate), how many C(votes) it sees, and whether the quorum host votes for it, C(device_votes).
  returned: success
  type: dict
cluster:
  description: >-
    Whether the cluster manager C(answers), which hosts are C(online), which is C(promoted), on which hosts each of C(resources) runs, what C(failures) it
    remembers, and whether it is in C(maintenance).
  returned: success
  type: dict
fencing:
  description: Whether sbd runs, which has the watchdog reset a host without quorum.
  returned: success
  type: bool
made:
  description: Whether the cluster's configuration has the replicated device.
  returned: success
  type: bool
holds_address:
  description: Whether the host has the address.
  returned: success
  type: bool
watchdog:
  description: The C(device) of the host's watchdog, V(null) where it has none, and whether that C(is_hardware).
  returned: success
  type: dict
restart_reason:
  description: Why the cluster's programs have to be restarted to run with what is on disk, empty where they have not.
  returned: success
  type: str
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._storage_pair_observed import observe


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "device": {"type": "path", "required": True},
            "resource": {"type": "str", "default": "uploads"},
            "address": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )

    def run(command: list[str]) -> tuple[int, str]:
        try:
            return module.run_command(list(command), handle_exceptions=False)[:2]
        except OSError:
            return 127, ""

    module.exit_json(changed=False, **observe(module.params, run, time.time(), time.monotonic()))


if __name__ == "__main__":
    main()
