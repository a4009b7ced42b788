# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._backup_verdict import judge_backups
from ansible_collections.escala.ha.plugins.module_utils._verdict import Verdict

DOCUMENTATION = r"""
name: backup_verdicts
short_description: Judge whether the database can be restored
version_added: "0.8.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Takes what M(escala.ha.postgresql_backup_info) returned on the backup host and returns one verdict for M(escala.ha.verification_report), and none where
    the inventory has no such host.
options:
  _input:
    description: What the module returned, by the host's name.
    type: dict
    required: true
seealso:
  - module: escala.ha.postgresql_backup_info
"""

EXAMPLES = r"""
- name: Backups, or a message that says what they lack
  vars:
    my_verdict: "{{ {'backup1': my_backups} | escala.ha.backup_verdicts | first }}"
  ansible.builtin.assert:
    that: my_verdict.passed
    fail_msg: "{{ my_verdict.reason }}"
"""

RETURN = r"""
_value:
  description: The verdict, with the keys C(etapa), C(name), C(title), C(passed), C(reason) and C(evidence).
  type: list
  elements: dict
"""


def backup_verdicts(results: t.Any) -> t.List[Verdict]:
    if not isinstance(results, Mapping):
        raise AnsibleFilterError(f"backup_verdicts takes a dictionary of hosts, not {type(results).__name__}")
    return [judge_backups(results)] if results else []


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[Verdict]]]:
        return {"backup_verdicts": backup_verdicts}
