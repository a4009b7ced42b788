# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils import _share_fault

DOCUMENTATION = r"""
name: share_fault
short_description: Say why a share cannot be used, and what to do
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Mounting and writing fail with an error number and few words, and the same words mean another thing for each.
options:
  _input:
    description: What was said by the mount or by what wrote there.
    type: str
    required: true
  share:
    description: The share, with the keys C(kind), C(address), C(name), C(path), C(user), C(unit) and C(account).
    type: dict
    required: true
  writing:
    description: Whether it was mounted, and writing failed.
    type: bool
    required: true
"""

EXAMPLES = r"""
- name: That it is full
  ansible.builtin.debug:
    msg: "{{ 'dd: No space left on device' | escala.ha.share_fault(share, writing=true) }}"
  vars:
    share:
      kind: nfs
      address: 192.0.2.41
      name: /srv/shared/uploads
      path: /srv/uploads
      user: tenant-app
      unit: srv-uploads
      account: ""
"""

RETURN = r"""
_value:
  description: What is wrong and what to do.
  type: str
"""


def share_fault(said: str, share: t.Mapping[str, str], writing: bool) -> str:
    return _share_fault.share_fault(said, _share_fault.Share(**share), writing=writing)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., str]]:
        return {"share_fault": share_fault}
