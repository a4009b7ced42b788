# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._verdict import Verdict
from ansible_collections.escala.ha.plugins.module_utils._virtual_ip import judge_witnesses

DOCUMENTATION = r"""
name: virtual_ip_witness_verdict
short_description: Judge whether every witness sees one holder of a virtual address
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Takes what M(escala.ha.virtual_ip_witness_info) returned on every witness and returns a verdict for M(escala.ha.verification_report).
  - Two holders fail, and so do none, witnesses that see different ones, and a witness that was unreachable, is absent or has not looked for 5 s.
positional: address
options:
  _input:
    description: What each witness returned, by the host's name.
    type: dict
    required: true
  address:
    description: The virtual address, without its prefix length.
    type: str
    required: true
seealso:
  - plugin: escala.ha.virtual_ip_witness_info
    plugin_type: module
"""

EXAMPLES = r"""
- name: One holder, or a message that says who else
  vars:
    my_verdict: "{{ {'app1': my_witness} | escala.ha.virtual_ip_witness_verdict('192.0.2.100') }}"
  ansible.builtin.assert:
    that: my_verdict.passed
    fail_msg: "{{ my_verdict.reason }}"
"""

RETURN = r"""
_value:
  description: The verdict, with the keys C(etapa), C(name), C(title), C(passed), C(reason) and C(evidence).
  type: dict
"""


def virtual_ip_witness_verdict(observations: t.Any, address: t.Any) -> Verdict:
    if not isinstance(observations, Mapping):
        raise AnsibleFilterError(
            f"virtual_ip_witness_verdict takes a dictionary of hosts, not {type(observations).__name__}"
        )
    return judge_witnesses(str(address), observations)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., Verdict]]:
        return {"virtual_ip_witness_verdict": virtual_ip_witness_verdict}
