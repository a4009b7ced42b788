# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._verdict import Verdict, gather

DOCUMENTATION = r"""
name: verdicts
short_description: Gather the verdicts that one task registered on several hosts
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Takes the results of C(*_check) modules by the hosts on which they ran, and returns their verdicts in one list.
  - A host that could not be reached adds a failed verdict of its own. A result without verdicts is an error.
options:
  _input:
    description: What was registered on each host, by the host's name; a list where several tasks registered something.
    type: dict
    required: true
seealso:
  - plugin: escala.ha.verification_report
    plugin_type: module
"""

EXAMPLES = r"""
- name: Two verdicts, one of them on the host that is away
  vars:
    my_results: {"lb1": "{{ my_readiness }}", "lb2": {"unreachable": true}}
  ansible.builtin.debug:
    msg: "{{ my_results | escala.ha.verdicts }}"
"""

RETURN = r"""
_value:
  description: The verdicts.
  type: list
  elements: dict
"""


def verdicts(results: t.Any) -> t.List[Verdict]:
    if not isinstance(results, Mapping):
        raise AnsibleFilterError(f"verdicts takes a dictionary of hosts, not {type(results).__name__}")
    try:
        return gather(results)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[Verdict]]]:
        return {"verdicts": verdicts}
