# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._uploads_places import pair

DOCUMENTATION = r"""
name: uploads_pair
short_description: Both ends of a migration of uploads
version_added: "0.6.0"
author:
  - The escala.ha contributors (@escala)
description:
  - What tasks need to know of the old and the new place - their types, how rclone and how the application call them. No key is in it.
  - Fails with the variable's name where a place is none, or both are one.
positional: target, places
options:
  _input:
    description: The name of the old place.
    type: str
    required: true
  target:
    description: The name of the new place.
    type: str
    required: true
  places:
    description: All places by their names, each with V(type) and what that needs.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say where the application will have its uploads
  ansible.builtin.debug:
    msg: "{{ ('old_server' | escala.ha.uploads_pair('share', my_places)).to.location }}"
"""

RETURN = r"""
_value:
  description: Under V(from) and V(to) the ends, each with name, type, remote, staging, renamed, path, sees_unfinished, setting and location.
  type: dict
"""


def uploads_pair(source: t.Any, target: t.Any, places: t.Any) -> t.Dict[str, t.Any]:
    return pair(str(source), str(target), places)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, t.Any]]]:
        return {"uploads_pair": uploads_pair}
