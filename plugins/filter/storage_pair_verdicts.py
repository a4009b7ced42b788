# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._storage_pair import judge_pair
from ansible_collections.escala.ha.plugins.module_utils._verdict import Verdict

DOCUMENTATION = r"""
name: storage_pair_verdicts
short_description: Judge whether either host of a pair of storage servers may fail
version_added: "0.5.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Takes what M(escala.ha.storage_pair_info) returned on both hosts and returns one verdict for M(escala.ha.verification_report), and none where the
    task was skipped, since the storage's servers are no pair.
  - A host that was unreachable or could not be asked fails the verdict, and so does each fault that P(escala.ha.storage_pair_faults#filter) finds.
options:
  _input:
    description: What the module returned, by the host's name.
    type: dict
    required: true
seealso:
  - module: escala.ha.storage_pair_info
  - plugin: escala.ha.storage_pair_faults
    plugin_type: filter
"""

EXAMPLES = r"""
- name: A pair, or a message that says what it lacks
  vars:
    my_verdict: "{{ {'nas1': my_first, 'nas2': my_second} | escala.ha.storage_pair_verdicts | first }}"
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


def storage_pair_verdicts(results: t.Any) -> t.List[Verdict]:
    if not isinstance(results, Mapping):
        raise AnsibleFilterError(f"storage_pair_verdicts takes a dictionary of hosts, not {type(results).__name__}")
    asked = {host: result for host, result in results.items() if not result.get("skipped")}
    return [judge_pair(asked)] if asked else []


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[Verdict]]]:
        return {"storage_pair_verdicts": storage_pair_verdicts}
