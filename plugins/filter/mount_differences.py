# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._mounts import Mount, differences

DOCUMENTATION = r"""
name: mount_differences
short_description: Say in what a mounted file system is not the one that should be
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - A unit that has changed on disk says nothing of what was mounted before, and what somebody else mounted there has no unit at all.
  - Where nothing is mounted, or an automount still waits, nothing differs.
options:
  _input:
    description: What P(escala.ha.mounts_at#filter) found at the path.
    type: list
    elements: dict
    required: true
  source:
    description: What should be mounted there.
    type: str
    required: true
  options:
    description: Options that it should be mounted with, as the kernel shows them.
    type: list
    elements: str
    required: true
seealso:
  - plugin: escala.ha.mounts_at
    plugin_type: filter
"""

EXAMPLES = r"""
- name: That it is mounted without softerr
  ansible.builtin.debug:
    msg: >-
      {{ [{'type': 'nfs4', 'source': '192.0.2.41:/srv/shared/uploads', 'options': ['rw', 'hard']}]
         | escala.ha.mount_differences('192.0.2.41:/srv/shared/uploads', ['softerr']) }}
"""

RETURN = r"""
_value:
  description: A sentence for each difference.
  type: list
  elements: str
"""


def mount_differences(mounts: t.Sequence[t.Mapping[str, t.Any]], source: str, options: t.Sequence[str]) -> t.List[str]:
    seen = [Mount(mount["type"], mount["source"], tuple(mount["options"])) for mount in mounts]
    return differences(seen, source, options)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"mount_differences": mount_differences}
