#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_migration
short_description: Carry a database from an old server into the cluster, and back
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Runs on the cluster's primary, as root. It carries a database by logical replication, so that the servers' versions and systems may differ.
  - One of the two ends serves the application, the other follows it and lets nobody in. Who serves is kept in the cluster, where every guard reads it and
    tells the poolers, also after a failover.
  - Each O(state) looks at what is there first and can be repeated after any interruption.
options:
  state:
    description:
      - V(seen) says what there is of a migration.
      - V(begun) refuses what cannot be carried, has the poolers go to the old server, and has the cluster copy and follow it.
      - V(copied) waits until every table is copied, for O(wait_seconds) at most, and says how far it is.
      - V(compared) compares every row of O(table) on both ends while clients write.
      - V(ready) brings to its end what a run has left that was broken off, and refuses what is in the way of an exchange.
      - V(switched) waits until no pooler is connected to the end that serves, and has the other one serve. The first one follows from then on.
      - V(ended) has whoever serves go on alone. The copy in the cluster is dropped where the old server serves.
    type: str
    choices: [seen, begun, copied, compared, ready, switched, ended]
    required: true
  to:
    description: Who is to serve, for V(ready) and V(switched).
    type: str
    choices: [cluster, source]
    default: cluster
  source:
    description: The old server's name, for people.
    type: str
    required: true
  source_address:
    description: Its address, which its certificate has; or those of all nodes of the cluster before this one, separated by commas.
    type: str
    required: true
  source_is_cluster:
    description:
      - Whether it is the cluster before this one, whichever of its nodes is the primary. The poolers know both clusters then, and are told by a setting of this
        one's database, C(escala.outside), which of them has the data.
    type: bool
    default: false
    version_added: "0.4.0"
  source_port:
    description: Its port.
    type: int
    default: 5432
  nodes:
    description: The addresses of all data nodes, among which the old server finds the primary when it follows.
    type: list
    elements: str
    required: true
  database:
    description: The database, of the same name on both ends.
    type: str
    default: app
  passfile:
    description: The file with the password of C(escala_migration), at this path on every data node and on the old server.
    type: path
    default: /etc/escala/migration.pgpass
  ca_file:
    description: The authority of both ends' certificates, at this path on every data node and on the old server.
    type: path
    default: /etc/ssl/escala/ca.pem
  programs:
    description: Where C(pg_dump) and C(pg_restore) of the cluster's version are.
    type: path
    required: true
  table:
    description: The table to compare, with its schema.
    type: str
  free_bytes:
    description: The free space of each data node by its name, for V(begun).
    type: dict
    default: {}
  pool_connections:
    description: How many connections all poolers together may make, for V(begun).
    type: int
    default: 0
  poolers:
    description: The poolers' addresses.
    type: list
    elements: str
    default: []
  connected:
    description: Who was connected to whoever serves, as RV(connections) had it, for V(ready).
    type: list
    elements: str
    default: []
  pooled:
    description:
      - Which connections the poolers had when they were asked after that, as C(address:port).
      - While one of O(connected) is there from a pooler's address that no pooler had, V(ready) refuses.
    type: list
    elements: str
    default: []
  host_ports:
    description:
      - Which ports anybody on the host of each pooler used then, by its address, as M(escala.ha.tcp_connections_info) has it.
      - One of O(connected) of which its own host knows nothing is of a client that has lost its power. V(ready) ends it, and says so.
    type: dict
    default: {}
  clients_may_end:
    description: Whether clients of the end that serves may be shut out that do not come by a pooler.
    type: bool
    default: false
  users:
    description: The accounts that enter through the poolers.
    type: list
    elements: str
    default: [app, escala_probe]
  wait_seconds:
    description: How long V(copied) waits before it says how far it is.
    type: float
    default: 20
  stall_seconds:
    description: How long clients may wait while the ends change places.
    type: float
    default: 5
  begin_seconds:
    description: How long to wait for the poolers.
    type: float
    default: 30
  lag_bytes:
    description: How much WAL the end that follows may have to confirm yet, to count as copied and to take over.
    type: int
    default: 1048576
  socket_directory:
    description: Where the cluster's unix socket is.
    type: path
    default: /var/run/postgresql
  port:
    description: Its port, which is part of the socket's name, and that of every data node.
    type: int
    default: 5432
  user:
    description: As whom to ask through the socket.
    type: str
    default: escala_guard
requirements:
  - psycopg >= 3.1
notes:
  - M(community.postgresql.postgresql_publication), M(community.postgresql.postgresql_subscription) and M(community.postgresql.postgresql_slot) make the parts;
    what is ours is the order in which two servers change places while clients wait, and how that is taken up again after an interruption.
attributes:
  check_mode:
    support: full
    description: Refuses in check mode what it would refuse, and changes nothing.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.pgbouncer_hold
"""

EXAMPLES = r"""
- name: Have the cluster copy the old server's database and follow it
  escala.ha.postgresql_migration:
    state: begun
    source: old
    source_address: 192.0.2.71
    nodes: [192.0.2.31, 192.0.2.32, 192.0.2.33]
    programs: /usr/lib/postgresql/17/bin
"""

RETURN = r"""
serves:
  description: Who serves the application, V(source) or V(cluster); null where no migration has begun.
  returned: O(state=seen), O(state=ready) and O(state=switched)
  type: str
  sample: source
tables:
  description: What is carried.
  returned: O(state=seen)
  type: list
  elements: str
  sample: [public.notes]
connections:
  description: Who is connected to whoever serves and no superuser, as C(address:port).
  returned: O(state=seen)
  type: list
  elements: str
  sample: ["192.0.2.21:40312"]
seconds:
  description: How long it took from when the last pooler had let go.
  returned: O(state=switched), not in check mode
  type: float
  sample: 0.2
done:
  description: Whether all tables are copied, or the end asked for serves already.
  returned: O(state=copied) and O(state=ready)
  type: bool
  sample: true
msg:
  description: What was found or done.
  returned: always
  type: str
  sample: "public.notes: 60000 rows, the same"
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import HAS_PSYCOPG, SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_migration import MigrationError
from ansible_collections.escala.ha.plugins.module_utils._pg_migration_steps import MIGRATION_ARGUMENTS, carry_out
from ansible_collections.escala.ha.plugins.module_utils._pg_switchover import SwitchoverError


def main() -> None:
    module = AnsibleModule(
        argument_spec=MIGRATION_ARGUMENTS, supports_check_mode=True, required_if=[("state", "compared", ["table"])]
    )
    if not HAS_PSYCOPG:
        module.fail_json(msg=missing_required_lib("psycopg"))
    try:
        found = carry_out(module.params, module.check_mode)
    except (MigrationError, SwitchoverError, SessionError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**found)


if __name__ == "__main__":
    main()
