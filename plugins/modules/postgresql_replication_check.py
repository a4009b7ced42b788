#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_replication_check
short_description: Judge a PostgreSQL cluster by what it does and what every node says
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Writes a token on the primary, waits until every standby has replayed its position, and reads it there. It is in a table of the monitoring
    account's own, C(escala_monitor.token), and is deleted an hour later. It never counts as changed, and in check mode none is written.
  - Beside C(postgresql_token_arrives) the verdicts are C(postgresql_nodes_answer), C(one_postgresql_primary) (two writers fail it),
    C(postgresql_one_history) (system identifier and timeline), C(postgresql_standbys_stream), C(postgresql_synchronous_commit), C(postgresql_lag),
    C(postgresql_slots), C(postgresql_settings), and where O(guard_certificate_file) is given C(postgresql_guards_agree) and
    C(postgresql_certificates).
extends_documentation_fragment:
  - escala.ha.check
  - escala.ha.postgresql_servers
options:
  lag_limit_bytes:
    description: How much of the primary's WAL a standby may not have replayed yet.
    type: int
    default: 16777216
  lag_limit_seconds:
    description: How long a standby may take to replay what the primary commits.
    type: float
    default: 5
  guard_limit_seconds:
    description: How long ago at most one guard may have heard another.
    type: float
    default: 2
  certificate_days_left:
    description: For how many days at least the certificates of the nodes must still be valid.
    type: int
    default: 14
  checksums:
    description: Whether the data must have checksums. Those of a server that was adopted may have none.
    type: bool
    default: true
    version_added: "0.8.0"
attributes:
  check_mode:
    support: full
    description: Can run in check mode. No token is written then, which the verdict says; the standbys must come to the primary's present position.
seealso:
  - module: escala.ha.postgresql_replication_info
  - module: escala.ha.verification_report
"""

EXAMPLES = r"""
- name: The cluster is whole, or a message says what is not
  escala.ha.postgresql_replication_check:
    nodes:
      db1: 192.0.2.31
      db2: 192.0.2.32
      db3: 192.0.2.33
    passfile: /etc/escala/postgresql.pgpass
    ca_file: /etc/ssl/escala/ca.pem
    guard_certificate_file: /etc/ssl/escala/postgresql.crt
    guard_key_file: /etc/ssl/escala/postgresql.key
    timeout_seconds: 30
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
  sample: 1 of 1 checks passed
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
    - etapa: 3
      name: postgresql_lag
      title: No standby is further behind the primary than allowed
      passed: true
      reason: at most 0 s behind (limit 5 s)
      evidence: {"lags": {"db2": {"bytes": 0, "seconds": 0.0}}, "limit_bytes": 16777216, "limit_seconds": 5.0}
"""

import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.escala.ha.plugins.module_utils._postgresql_replication import ARGUMENTS, HAS_PSYCOPG
from ansible_collections.escala.ha.plugins.module_utils._postgresql_token import Clock, replication_checks
from ansible_collections.escala.ha.plugins.module_utils._waiting import CHECK_ARGUMENTS, conclude


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **ARGUMENTS,
            "lag_limit_bytes": {"type": "int", "default": 16777216},
            "lag_limit_seconds": {"type": "float", "default": 5},
            "guard_limit_seconds": {"type": "float", "default": 2},
            "certificate_days_left": {"type": "int", "default": 14},
            "checksums": {"type": "bool", "default": True},
            **CHECK_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    if not HAS_PSYCOPG:
        module.fail_json(msg=missing_required_lib("psycopg"))
    checks = replication_checks(module.params, module.check_mode, Clock(time.monotonic, time.sleep))
    conclude(checks, module.params, module.fail_json, module.exit_json)


if __name__ == "__main__":
    main()
