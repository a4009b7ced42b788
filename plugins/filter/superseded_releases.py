# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._deployment import superseded

DOCUMENTATION = r"""
name: superseded_releases
short_description: Which folders of releases may go
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Keeps the folders that are needed and the newest of the others, as many as are to be kept in all, and returns the rest.
positional: kept, needed
options:
  _input:
    description: The folders, as M(ansible.builtin.find) returns them.
    type: list
    elements: dict
    required: true
  kept:
    description: How many to keep.
    type: int
    required: true
  needed:
    description: The paths that stay in any case.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: One of two may go
  vars:
    my_found: [{"path": "/opt/app/releases/a", "ctime": 1.0}, {"path": "/opt/app/releases/b", "ctime": 2.0}]
  ansible.builtin.debug:
    msg: "{{ my_found | escala.ha.superseded_releases(1, []) }}"
"""

RETURN = r"""
_value:
  description: The paths.
  type: list
  elements: str
"""


def superseded_releases(found: t.Any, kept: t.Any, needed: t.Any) -> t.List[str]:
    return superseded(found, int(kept), needed)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"superseded_releases": superseded_releases}
