# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  backend:
    description: What the storage is. V(s3) is any that speaks S3, MinIO among them.
    type: str
    choices: [directory, s3, azure_blob]
    required: true
  path:
    description: The directory, for O(backend=directory).
    type: path
  endpoint:
    description: Where S3 is, as V(https://host:port); without it, AWS in O(region).
    type: str
    default: ""
  region:
    description: The bucket's region.
    type: str
    default: us-east-1
  bucket:
    description: The bucket, or Azure's container.
    type: str
  access_key:
    description: The name of the application's key for S3.
    type: str
  secret_key:
    description: The secret of that key.
    type: str
  connection_string:
    description: Azure's connection string.
    type: str
  expected_owner:
    description: The number of the AWS account that must own the bucket.
    type: str
    default: ""
  ca_file:
    description: The file of the authority to trust on the host; without it, those that the host trusts.
    type: path
    default: ""
"""
