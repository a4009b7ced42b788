# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._nfs_server import differences

DOCUMENTATION = r"""
name: nfs_server_differences
short_description: Say in what the kernel's NFS server does not run with its configuration
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - The server reads its configuration only when it starts. What it runs with stands in the files below C(/proc/fs/nfsd).
options:
  _input:
    description: These files as C(grep --with-filename) shows them, each line with the file's name, a colon and what it says.
    type: str
    required: true
  wanted:
    description: What each file is to say.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Nothing, since it runs with eight threads
  ansible.builtin.debug:
    msg: "{{ 'threads:8' | escala.ha.nfs_server_differences({'threads': 8}) }}"
"""

RETURN = r"""
_value:
  description: A sentence for each difference.
  type: list
  elements: str
"""


def nfs_server_differences(shown: str, wanted: t.Mapping[str, t.Any]) -> t.List[str]:
    try:
        return differences(shown, wanted)
    except ValueError as lacking:
        raise AnsibleFilterError(f"nfs_server_differences: {lacking}") from lacking


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"nfs_server_differences": nfs_server_differences}
