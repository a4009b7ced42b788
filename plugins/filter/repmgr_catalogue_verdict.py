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
name: repmgr_catalogue_verdict
short_description: Judge whether repmgr's catalogue has every data node as it is
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Takes what M(escala.ha.repmgr_cluster_info) returned on every data node and returns a verdict for M(escala.ha.verification_report).
  - What differs is said once, with the hosts that were told so. A host that was unreachable is left to the other verdicts, as long as another was not.
options:
  _input:
    description: What each data node returned, by the host's name.
    type: dict
    required: true
seealso:
  - module: escala.ha.repmgr_cluster_info
"""

EXAMPLES = r"""
- name: The catalogue is right, or a message says what is not
  vars:
    my_verdict: "{{ {'db1': my_catalogue} | escala.ha.repmgr_catalogue_verdict }}"
  ansible.builtin.assert:
    that: my_verdict.passed
    fail_msg: "{{ my_verdict.reason }}"
"""

RETURN = r"""
_value:
  description: The verdict, with the keys C(etapa), C(name), C(title), C(passed), C(reason) and C(evidence).
  type: dict
"""


def repmgr_catalogue_verdict(results: t.Any) -> Verdict:
    if not isinstance(results, Mapping):
        raise AnsibleFilterError(f"repmgr_catalogue_verdict takes a dictionary of hosts, not {type(results).__name__}")
    return _database_verdicts.judge_catalogue(results)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., Verdict]]:
        return {"repmgr_catalogue_verdict": repmgr_catalogue_verdict}
