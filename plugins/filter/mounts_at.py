# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils import _mounts

DOCUMENTATION = r"""
name: mounts_at
short_description: Say what is mounted at a path
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Reads what the kernel lists, and not the path, which would wait for a server that is away.
  - An automount counts as one, of the type V(autofs), with what it has mounted after it.
options:
  _input:
    description: What C(/proc/self/mountinfo) says.
    type: str
    required: true
  path:
    description: The path, without a slash at its end.
    type: path
    required: true
seealso:
  - plugin: escala.ha.mount_differences
    plugin_type: filter
"""

EXAMPLES = r"""
- name: See what is mounted
  ansible.builtin.slurp:
    src: /proc/self/mountinfo
  register: mountinfo

- name: Say whether it is a mount of its own
  ansible.builtin.debug:
    msg: "{{ mountinfo.content | b64decode | escala.ha.mounts_at('/srv/shared') | length > 0 }}"
"""

RETURN = r"""
_value:
  description: The mounts, the one that is seen last.
  type: list
  elements: dict
  contains:
    type:
      description: The file system's type.
      type: str
    source:
      description: The device, or what a server calls it.
      type: str
    options:
      description: The options of the mount and of its file system.
      type: list
      elements: str
"""


def mounts_at(mountinfo: str, path: str) -> t.List[t.Dict[str, t.Any]]:
    try:
        found = _mounts.mounts_at(mountinfo, path)
    except ValueError as misread:
        raise AnsibleFilterError(f"mounts_at: {misread}") from misread
    return [{"type": mount.type, "source": mount.source, "options": list(mount.options)} for mount in found]


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[t.Dict[str, t.Any]]]]:
        return {"mounts_at": mounts_at}
