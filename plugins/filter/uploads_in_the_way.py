# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._uploads_places import in_the_way

DOCUMENTATION = r"""
name: uploads_in_the_way
short_description: What must be mended before uploads can be moved
version_added: "0.6.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Judges what the balancers and the servers of the application have said, and returns a sentence for each fault with what to do about it.
positional: routes, seen, switched
options:
  _input:
    description: Both ends, as P(escala.ha.uploads_pair#filter) gives them.
    type: dict
    required: true
  routes:
    description: Where the balancers send uploads, as M(escala.ha.load_balancer_uploads) says, each once.
    type: list
    elements: str
    required: true
  seen:
    description: Under C(old) and C(new) what M(escala.ha.uploads_setting) returned, under C(upload_servers) the balancers' own.
    type: dict
    required: true
  switched:
    description: Whether the new place is in use already.
    type: bool
    required: true
"""

EXAMPLES = r"""
- name: Refuse what could not be switched
  ansible.builtin.assert:
    that: my_ends | escala.ha.uploads_in_the_way(['upload_servers'], my_seen, false) | length == 0
"""

RETURN = r"""
_value:
  description: The sentences.
  type: list
  elements: str
"""


def uploads_in_the_way(ends: t.Any, routes: t.Any, seen: t.Any, switched: t.Any) -> t.List[str]:
    return in_the_way(ends, list(routes), seen, bool(switched))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"uploads_in_the_way": uploads_in_the_way}
