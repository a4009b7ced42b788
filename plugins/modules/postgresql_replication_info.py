#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_replication_info
short_description: Say what every node of a PostgreSQL cluster is, and who is primary
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Asks every data node, and every guard, what it is, and lists the answers side by side.
  - Observes only, changes nothing, and never fails on what it finds. A node that does not answer says why in RV(nodes[].problem).
  - Who is primary is decided as the guards and PgBouncer's follower decide it. Several nodes that are out of recovery are all in RV(claimants).
extends_documentation_fragment:
  - escala.ha.postgresql_servers
options:
  request_timeout_seconds:
    description: How long one question may take.
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
  - module: escala.ha.postgresql_replication_check
  - module: escala.ha.postgresql_node_info
  - module: escala.ha.repmgr_cluster_info
"""

EXAMPLES = r"""
- name: See what the cluster is
  escala.ha.postgresql_replication_info:
    nodes:
      db1: 192.0.2.31
      db2: 192.0.2.32
      db3: 192.0.2.33
    password: "{{ my_monitor_password }}"
    ca_file: /etc/ssl/private-ca.pem
  register: my_cluster

- name: Name the primary
  ansible.builtin.debug:
    msg: "{{ my_cluster.primary }}: {{ my_cluster.reason }}"
"""

RETURN = r"""
primary:
  description: The node that takes writes, V(null) where there is none or two claim one timeline.
  returned: always
  type: str
  sample: db1
reason:
  description: Why it is this one, or why it is none.
  returned: always
  type: str
  sample: db1 is the primary of timeline 1, confirmed by db2, db3
claimants:
  description: All nodes that are out of recovery. More than one is a split brain, even where RV(primary) is clear.
  returned: always
  type: list
  elements: str
  sample: [db1]
synchronous_standby_names:
  description: What this setting is to be on every node, by the cluster's size and who is out of the quorum.
  returned: always
  type: str
  sample: 'ANY 1 ("db1", "db2", "db3")'
nodes:
  description: What each data node says, in the order of O(nodes). What is not known is V(null).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The node's name.
      type: str
    address:
      description: Its address.
      type: str
    reachable:
      description: Whether it answered.
      type: bool
    problem:
      description: Why it did not.
      type: str
    answered_in_seconds:
      description: How long the question took.
      type: float
    in_recovery:
      description: Whether it is a standby.
      type: bool
    version:
      description: Its version as a number.
      type: int
    started_seconds_ago:
      description: How long it has been running.
      type: float
    system_identifier:
      description: Which cluster its data belongs to.
      type: str
    timeline:
      description: The timeline on which it writes or receives.
      type: int
    lsn:
      description: How far its WAL goes, in bytes.
      type: int
    replay_lsn:
      description: How far a standby has replayed it.
      type: int
    replayed_seconds_ago:
      description: The age of the last transaction that it replayed.
      type: float
    replay_paused:
      description: Whether someone has paused the replay.
      type: bool
    lag_bytes:
      description: How much of the primary's WAL it has not replayed.
      type: int
    lag_seconds:
      description: How long it takes to replay what the primary commits; 0 for one that has everything.
      type: float
    upstream:
      description: The node from which it receives.
      type: str
    receiver:
      description: The process that receives, with C(status), C(host), C(port), C(slot), C(timeline), C(sslmode) and C(last_message_seconds_ago).
      type: dict
    standbys:
      description: >-
        To whom it sends, each with C(name), C(address), C(state), C(sync_state), C(sent_lsn), C(flush_lsn), C(replay_lsn), C(replay_lag_seconds)
        and C(tls), the version in use.
      type: list
      elements: dict
    slots:
      description: Its replication slots, each with C(name), C(type), C(active), C(temporary), C(wal_status) and C(retained_bytes).
      type: list
      elements: dict
    settings:
      description: The settings that durability and rejoining depend on.
      type: dict
    pending_restart:
      description: The settings that take effect only at the next start.
      type: list
      elements: str
    checksums:
      description: Whether its data has checksums.
      type: bool
    tls:
      description: The C(version) and C(cipher) of the connection on which it was asked.
      type: dict
    guard:
      description: What its guard says, as the guard says it.
      type: dict
    guard_problem:
      description: Why its guard said nothing.
      type: str
    certificate_days_left:
      description: For how many whole days the certificate is still valid that its guard showed, which is its server's too.
      type: int
  sample:
    - name: db2
      address: 192.0.2.32
      reachable: true
      in_recovery: true
      timeline: 1
      lag_bytes: 0
      upstream: db1
witnesses:
  description: What the guards of O(witnesses) say, each with C(name), C(guard), C(guard_problem) and C(certificate_days_left).
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.escala.ha.plugins.module_utils._postgresql_replication import (
    ARGUMENTS,
    HAS_PSYCOPG,
    Servers,
    as_result,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={**ARGUMENTS, "request_timeout_seconds": {"type": "float", "default": 3}},
        supports_check_mode=True,
    )
    if not HAS_PSYCOPG:
        module.fail_json(msg=missing_required_lib("psycopg"))
    servers = Servers(module.params, module.params["request_timeout_seconds"])
    module.exit_json(changed=False, **as_result(servers.observe()))


if __name__ == "__main__":
    main()
