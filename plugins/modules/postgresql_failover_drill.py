#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_failover_drill
short_description: Judge a failover drill by what was measured, and write its report
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Works beside M(escala.ha.postgresql_ledger), which measures in the same folder on the same host.
  - With O(state=cleared), before the measurement is started, it removes what an earlier drill left in the folder, but for its report. With
    O(state=steady) it waits until rows are acknowledged one after the other from now on. With O(state=marked) it notes that something happens now; the
    first mark is the fault. With O(state=concluded) it waits until rows are acknowledged again, ends the measurement, looks for every acknowledged row
    through the pool and on every node, and writes C(report.json), C(report.txt) and C(report.html) into the folder.
  - RTO is the longest time between two acknowledged rows around the fault. RPO are acknowledged rows that are missing at the end, the detector's too.
    Two nodes are writers at once while commits return without a WARNING on both.
extends_documentation_fragment:
  - escala.ha.drill
options:
  state:
    description: What to do.
    type: str
    choices: [cleared, steady, marked, concluded]
    required: true
  what:
    description: What happens, for the timeline and as the name of the drill.
    type: str
    default: fault
  rto_seconds:
    description: The limit of the RTO; without one it is only reported.
    type: float
  rpo_rows:
    description: The limit of rows lost.
    type: int
    default: 0
  double_writer_seconds:
    description: The limit of the time with two writers.
    type: float
    default: 0
  lasts_seconds:
    description: How long the fault still lasts, which must be in force by now; it is measured until it is over.
    type: float
    default: 0
  settle_seconds:
    description: How long to wait for rows to be acknowledged one after the other.
    type: float
    default: 120
  rejoin_seconds:
    description: How long every node may take after that until it answers.
    type: float
    default: 60
  fail:
    description: Whether a limit that was missed fails the task, after the report was written.
    type: bool
    default: true
attributes:
  check_mode:
    support: none
    description: Is skipped in check mode, since there is nothing to judge.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.postgresql_ledger
  - module: escala.ha.postgresql_fault
"""

EXAMPLES = r"""
- name: Begin with an empty folder, and measure in it in the background after that
  escala.ha.postgresql_failover_drill:
    state: cleared
    directory: /srv/drills/today
    pool_address: 192.0.2.21
    nodes: {db1: 192.0.2.31, db2: 192.0.2.32, db3: 192.0.2.33}
    password: "{{ secret_postgresql_probe_password }}"
    ca_file: /srv/inventory/.state/pki/ca.pem

- name: Judge it
  escala.ha.postgresql_failover_drill:
    state: concluded
    what: kill -9 of the postmaster
    directory: /srv/drills/today
    pool_address: 192.0.2.21
    nodes: {db1: 192.0.2.31, db2: 192.0.2.32, db3: 192.0.2.33}
    password: "{{ secret_postgresql_probe_password }}"
    ca_file: /srv/inventory/.state/pki/ca.pem
    rto_seconds: 5
"""

RETURN = r"""
passed:
  description: Whether every limit was kept.
  returned: O(state=concluded)
  type: bool
  sample: true
msg:
  description: How many checks passed, and the name and reason of each that failed.
  returned: always
  type: str
  sample: 4 of 4 checks passed
report:
  description: The figures and the timeline as data; times are seconds since the first try.
  returned: O(state=concluded)
  type: dict
  sample: {"rto_seconds": 4.1, "rpo_rows": 0, "double_writer_seconds": 0.0}
lines:
  description: The report for a terminal.
  returned: O(state=concluded)
  type: list
  elements: str
  sample: ["RTO 4.1 s: no row was acknowledged from 5.02 s to 9.12 s"]
files:
  description: Where the report was written.
  returned: O(state=concluded)
  type: dict
  sample: {"html": "/srv/drills/today/report.html"}
verdicts:
  description: What was judged, as modules whose names end in C(_check) return it.
  returned: O(state=concluded)
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import HAS_PSYCOPG, SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_drill_run import DRILL_ARGUMENTS, act


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **DRILL_ARGUMENTS,
            "state": {"type": "str", "choices": ["cleared", "steady", "marked", "concluded"], "required": True},
            "what": {"type": "str", "default": "fault"},
            "rto_seconds": {"type": "float"},
            "rpo_rows": {"type": "int", "default": 0},
            "double_writer_seconds": {"type": "float", "default": 0},
            "lasts_seconds": {"type": "float", "default": 0},
            "settle_seconds": {"type": "float", "default": 120},
            "rejoin_seconds": {"type": "float", "default": 60},
            "fail": {"type": "bool", "default": True},
        },
        mutually_exclusive=[("password", "password_file")],
    )
    if not HAS_PSYCOPG:
        module.fail_json(msg=missing_required_lib("psycopg"))
    try:
        result = act(module.params)
    except (OSError, ValueError, SessionError) as error:
        module.fail_json(msg=f"The drill measured nothing: {error}")
    good = result.get("passed", True) or not module.params["fail"]
    (module.exit_json if good else module.fail_json)(**{**result, "changed": False})


if __name__ == "__main__":
    main()
