#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_ledger
short_description: Write one row after the other, and note what is acknowledged and which nodes are writers
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Writes a row every 50 ms through PgBouncer, and tries a commit every 100 ms on each data node itself, until somebody ends it or O(seconds) are over.
  - A commit that returned with a WARNING counts as not certain. A try that has no answer in time ends with its socket and is never cancelled.
  - Run it in the background (C(async), C(poll=0)) on the host that measures, and let M(escala.ha.postgresql_failover_drill) end and judge it.
  - The rows are in tables of their own, and those of older runs are deleted after a day, so a run never counts as changed.
extends_documentation_fragment:
  - escala.ha.drill
options:
  seconds:
    description: How long it goes on at most.
    type: int
    default: 900
  statement_seconds:
    description:
      - How long the ledger waits for one commit before it begins anew.
      - Longer than the stall of a switchover where clients are to wait through it.
    type: float
    default: 1
attributes:
  check_mode:
    support: none
    description: Is skipped in check mode, since measuring writes rows.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.postgresql_failover_drill
  - module: escala.ha.postgresql_fault
"""

EXAMPLES = r"""
- name: Measure in the background
  escala.ha.postgresql_ledger:
    directory: /srv/drills/today
    pool_address: 192.0.2.21
    nodes: {db1: 192.0.2.31, db2: 192.0.2.32, db3: 192.0.2.33}
    password: "{{ secret_postgresql_probe_password }}"
    ca_file: /srv/inventory/.state/pki/ca.pem
  async: 900
  poll: 0
"""

RETURN = r"""
run:
  description: The name that the rows of this run have.
  returned: success
  type: str
  sample: 3f2a9c01d4be
log:
  description: The log of every try, one JSON object a line.
  returned: success
  type: str
  sample: /srv/drills/today/log.jsonl
tries:
  description: How many tries are in it.
  returned: success
  type: int
  sample: 4210
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import HAS_PSYCOPG, SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_drill_run import DRILL_ARGUMENTS, measure, ways


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **DRILL_ARGUMENTS,
            "seconds": {"type": "int", "default": 900},
            "statement_seconds": {"type": "float", "default": 1},
        },
        mutually_exclusive=[("password", "password_file")],
    )
    if not HAS_PSYCOPG:
        module.fail_json(msg=missing_required_lib("psycopg"))
    options = module.params
    try:
        made = measure(options["directory"], ways(options), options["seconds"], options["statement_seconds"])
    except SessionError as error:
        module.fail_json(msg=f"Nothing was measured, since the pool leads to no writer: {error}")
    except OSError as error:
        module.fail_json(msg=f"Nothing was measured: {error}")
    module.exit_json(changed=False, **made)


if __name__ == "__main__":
    main()
