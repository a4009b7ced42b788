# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._object_storage_bucket import bucket_changes

DOCUMENTATION = r"""
name: object_storage_changes
short_description: What a run would change at a bucket
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Takes a bucket that M(amazon.aws.s3_bucket_info) has shown, and says where it differs from what it should be.
  - M(amazon.aws.s3_bucket) and M(community.aws.s3_lifecycle) do nothing and say nothing in check mode.
positional: wanted
options:
  _input:
    description: >-
      The bucket, with its C(bucket_versioning), C(bucket_lifecycle_configuration), C(bucket_encryption), C(bucket_ownership_controls), C(bucket_policy)
      and C(public_access_block).
    type: dict
    required: true
  wanted:
    description: What it should be.
    type: dict
    required: true
    suboptions:
      versioning:
        description: Whether versions are kept.
        type: bool
      on_aws:
        description: Whether it is at AWS, where it has encryption, ownership, a policy and a public access block.
        type: bool
      policy:
        description: The bucket's policy.
        type: dict
      rules:
        description: The rules of its life cycle, with C(rule_id), C(prefix), C(abort_days), C(expire_days) and C(noncurrent_days); 0 for what a rule lacks.
        type: list
        elements: dict
"""

EXAMPLES = r"""
- name: What would change
  ansible.builtin.debug:
    msg: "{{ my_info.buckets[0] | escala.ha.object_storage_changes(my_wanted) }}"
"""

RETURN = r"""
_value:
  description: What would be changed, a sentence each.
  type: list
  elements: str
"""


def object_storage_changes(found: t.Any, wanted: t.Any) -> t.List[str]:
    if not isinstance(found, Mapping) or not isinstance(wanted, Mapping):
        raise AnsibleFilterError("object_storage_changes takes a bucket and what it should be, both dictionaries")
    return bucket_changes(found, wanted)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"object_storage_changes": object_storage_changes}
