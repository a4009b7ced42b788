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
name: replication_verdicts
short_description: Make one verdict of each check from what several data nodes judged
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Takes what M(escala.ha.postgresql_replication_check) returned on every data node, and returns its verdicts for M(escala.ha.verification_report).
  - A check passes where it passes from everywhere. A reason that only some hosts have names them, since a network that is closed between two nodes is
    not seen by a third.
  - A host that was unreachable, or on which the module could not run, fails C(postgresql_nodes_answer).
options:
  _input:
    description: What each data node returned, by the host's name.
    type: dict
    required: true
seealso:
  - module: escala.ha.postgresql_replication_check
"""

EXAMPLES = r"""
- name: One verdict a check
  vars:
    my_results: {"db1": "{{ my_replication }}", "db2": {"unreachable": true}}
  ansible.builtin.debug:
    msg: "{{ my_results | escala.ha.replication_verdicts }}"
"""

RETURN = r"""
_value:
  description: The verdicts.
  type: list
  elements: dict
"""


def replication_verdicts(results: t.Any) -> t.List[Verdict]:
    if not isinstance(results, Mapping):
        raise AnsibleFilterError(f"replication_verdicts takes a dictionary of hosts, not {type(results).__name__}")
    try:
        return _database_verdicts.replication_verdicts(results)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[Verdict]]]:
        return {"replication_verdicts": replication_verdicts}
