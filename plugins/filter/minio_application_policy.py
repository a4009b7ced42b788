# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

DOCUMENTATION = r"""
name: minio_application_policy
short_description: The policy of a key by which an application stores its files in one bucket
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Exactly what the application's contract names. The key can make no bucket, change no bucket's settings and see no other bucket.
  - Whoever copies files into or out of the bucket needs no more.
options:
  _input:
    description: The bucket.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: What the application may
  ansible.builtin.debug:
    msg: "{{ 'uploads' | escala.ha.minio_application_policy }}"
"""

RETURN = r"""
_value:
  description: The policy's document, as S3 has it.
  type: dict
"""

_ON_OBJECTS = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:GetObject",
    "s3:PutObject",
)


def minio_application_policy(bucket: str) -> t.Dict[str, t.Any]:
    arn = f"arn:aws:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [arn]},
            {"Effect": "Allow", "Action": list(_ON_OBJECTS), "Resource": [f"{arn}/*"]},
        ],
    }


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, t.Any]]]:
        return {"minio_application_policy": minio_application_policy}
