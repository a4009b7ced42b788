# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._uploads_places import faults

DOCUMENTATION = r"""
name: uploads_faults
short_description: What went wrong on which host in one task
version_added: "0.6.0"
author:
  - The escala.ha contributors (@escala)
description:
  - While uploads are held, a task that fails on one host must end what is done on all, and a rescue is each host's own. So the tasks go on, and this says
    in words which of the hosts failed at it, were not reached, or have no result at all.
positional: hostvars, name
options:
  _input:
    description: The hosts that had to do it.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts.
    type: dict
    required: true
  name:
    description: The variable under which the task registered its result.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Go on only when all have done it
  ansible.builtin.assert:
    that: groups.load_balancers | escala.ha.uploads_faults(hostvars, 'my_result') | length == 0
"""

RETURN = r"""
_value:
  description: One sentence for each host that did not do it.
  type: list
  elements: str
"""


def uploads_faults(hosts: t.Any, hostvars: t.Any, name: t.Any) -> t.List[str]:
    return faults({host: hostvars[host].get(str(name)) for host in hosts})


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"uploads_faults": uploads_faults}
