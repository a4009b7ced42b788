# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils import _database_verdicts
from ansible_collections.escala.ha.plugins.module_utils._verdict import Verdict

DOCUMENTATION = r"""
name: pooler_verdicts
short_description: Judge whether every pooler sends writes to the primary and reads from the standbys
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Takes what M(escala.ha.pgbouncer_info) returned on every host with a pooler, and who is primary from what
    M(escala.ha.postgresql_replication_check) returned on the data nodes. Returns two verdicts for M(escala.ha.verification_report).
  - A pooler that could not be asked fails both, and so does a cluster in which no primary is known.
positional: replication, database
options:
  _input:
    description: What each pooler's host returned, by the host's name.
    type: dict
    required: true
  replication:
    description: What each data node returned, by the host's name.
    type: dict
    required: true
  database:
    description: The pooler's database for writes; the one for reads has the same name and ends in C(_ro).
    type: str
    default: app
seealso:
  - module: escala.ha.pgbouncer_info
"""

EXAMPLES = r"""
- name: Writes go to the primary, or a message says where they go
  vars:
    my_verdicts: "{{ {'app1': my_pooler} | escala.ha.pooler_verdicts({'db1': my_replication}) }}"
  ansible.builtin.assert:
    that: my_verdicts.0.passed
    fail_msg: "{{ my_verdicts.0.reason }}"
"""

RETURN = r"""
_value:
  description: The verdicts C(pooler_writes) and C(pooler_reads).
  type: list
  elements: dict
"""


def pooler_verdicts(poolers: t.Any, replication: t.Any, database: t.Any = "app") -> t.List[Verdict]:
    for results in (poolers, replication):
        if not isinstance(results, Mapping):
            raise AnsibleFilterError(f"pooler_verdicts takes dictionaries of hosts, not {type(results).__name__}")
    cluster = _database_verdicts.cluster_from(replication)
    return _database_verdicts.judge_poolers(poolers, cluster, str(database))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[Verdict]]]:
        return {"pooler_verdicts": pooler_verdicts}
