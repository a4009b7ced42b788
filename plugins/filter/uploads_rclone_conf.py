# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._uploads_places import rclone_conf

DOCUMENTATION = r"""
name: uploads_rclone_conf
short_description: The configuration of rclone for a migration of uploads
version_added: "0.6.0"
author:
  - The escala.ha contributors (@escala)
description:
  - The text of the file by which rclone reaches both places. It has their keys, so it belongs into a file that only rclone's user reads.
positional: target, places, folder
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
  folder:
    description: Where the key for an old server and the file of known hosts are.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Tell rclone of both places
  ansible.builtin.copy:
    content: "{{ 'old_server' | escala.ha.uploads_rclone_conf('s3', my_places, '/run/escala-uploads') }}"
    dest: /run/escala-uploads/rclone.conf
    owner: tenant-app
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""


def uploads_rclone_conf(source: t.Any, target: t.Any, places: t.Any, folder: t.Any) -> str:
    return rclone_conf(str(source), str(target), places, str(folder))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., str]]:
        return {"uploads_rclone_conf": uploads_rclone_conf}
