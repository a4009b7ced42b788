# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils import _shared_storage_verdicts
from ansible_collections.escala.ha.plugins.module_utils._verdict import Verdict

DOCUMENTATION = r"""
name: storage_verdicts
short_description: Make one verdict of each check from what all hosts of a shared storage judged
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Takes what M(escala.ha.shared_storage_check) returned on every host, and returns its verdicts for M(escala.ha.verification_report).
  - A check passes where it passes on all. Hosts that each have a storage of their own are told so, which none of them can see alone.
  - A host that was unreachable, or on which the module could not run, fails C(shared_storage_writes).
options:
  _input:
    description: What each host returned, by the host's name.
    type: dict
    required: true
seealso:
  - plugin: escala.ha.shared_storage_check
    plugin_type: module
"""

EXAMPLES = r"""
- name: One verdict a check
  vars:
    my_results: {"app1": "{{ my_storage }}", "app2": {"unreachable": true}}
  ansible.builtin.debug:
    msg: "{{ my_results | escala.ha.storage_verdicts }}"
"""

RETURN = r"""
_value:
  description: The verdicts.
  type: list
  elements: dict
"""


def storage_verdicts(results: t.Any) -> t.List[Verdict]:
    if not isinstance(results, Mapping):
        raise AnsibleFilterError(f"storage_verdicts takes a dictionary of hosts, not {type(results).__name__}")
    try:
        return _shared_storage_verdicts.storage_verdicts(results)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[Verdict]]]:
        return {"storage_verdicts": storage_verdicts}
