#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: object_storage_check
short_description: Judge whether an object storage keeps what the application gives it
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Looks at the bucket or container with the application's own key, writes a small object below C(.probe/), reads it back, asks for it without a key,
    and deletes it, its version included.
  - Says which of these keeps it from being used, with the variable of the role C(object_storage) to correct. The address that does not answer,
    the certificate that is not trusted, the clock that is off, the key that is unknown or whose secret is another, the bucket that is missing or somebody
    else's, the region, the right that the key lacks, the container or bucket that is open to everybody.
  - Only needs Python's standard library on the host on which it runs, so it shows what an application's host sees.
extends_documentation_fragment:
  - escala.ha.check
options:
  provider:
    description: Which storage it is. V(minio) is any that speaks S3 at O(endpoint).
    type: str
    choices: [s3, minio, azure_blob]
    required: true
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
    required: true
  access_key:
    description: The name of the key for S3.
    type: str
    default: ""
  access_key_secret:
    description: The secret of that key.
    type: str
    default: ""
  session_token:
    description: What goes with a key of AWS that is good for some hours only.
    type: str
    default: ""
  key_of:
    description: Whose key it is. A message names the variable accordingly.
    type: str
    choices: [application, administrator]
    default: application
  expected_owner:
    description: The number of the AWS account that must own the bucket. Every request that writes tells AWS so.
    type: str
    default: ""
  connection_string:
    description: Azure's connection string.
    type: str
    default: ""
  ca_file:
    description: The file of the authority to trust on the host; without it, those that the host trusts.
    type: path
    default: ""
  clock_limit_seconds:
    description: How far this host's clock may be from the storage's. S3 and Azure refuse every request from 900 s on.
    type: float
    default: 300
  bucket_may_be_missing:
    description: Whether a bucket that is missing passes, and is told in the evidence as C(found). Somebody else's does not.
    type: bool
    default: false
  write:
    description: Whether an object is written. In check mode none is.
    type: bool
    default: true
  seen_from:
    description:
      - The host from which the storage is seen.
      - It becomes part of the verdict's name and title, so that the verdicts of several hosts stay apart.
    type: str
    default: ""
seealso:
  - module: escala.ha.azure_blob_container
  - module: escala.ha.verification_report
"""

EXAMPLES = r"""
- name: The application's host can use its bucket
  escala.ha.object_storage_check:
    provider: minio
    endpoint: https://192.0.2.41:9000
    ca_file: /etc/ssl/escala/ca.pem
    bucket: uploads
    access_key: "{{ my_access_key }}"
    access_key_secret: "{{ my_secret_key }}"
    seen_from: "{{ inventory_hostname }}"
"""

RETURN = r"""
passed:
  description: Whether every verdict passed.
  returned: always
  type: bool
  sample: true
msg:
  description: How many checks passed, and the name and reason of each that failed.
  returned: always
  type: str
  sample: 1 of 1 checks passed
verdicts:
  description: What was judged, and why it was judged so.
  returned: always
  type: list
  elements: dict
  contains:
    etapa:
      description: The stage of the roadmap that the verdict proves.
      type: int
    name:
      description: A name for programs.
      type: str
    title:
      description: What must hold, in one sentence.
      type: str
    passed:
      description: Whether it holds.
      type: bool
    reason:
      description: What was seen against which limit, and the next step where the check failed.
      type: str
    evidence:
      description: The values behind the verdict.
      type: dict
  sample:
    - etapa: 2
      name: object_storage_from_app1
      title: The object storage takes, returns and deletes an object, for nobody without a key, seen from app1
      passed: true
      reason: at https://192.0.2.41:9000 an object was written in 9 ms, read in 3 ms, deleted in 4 ms; without a key it was refused
      evidence:
        endpoint: https://192.0.2.41:9000
        clock_offset_seconds: 0
        found: true
        milliseconds: {written: 9.1, read: 3.0, deleted: 4.2}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._object_storage_check import storage_checks
from ansible_collections.escala.ha.plugins.module_utils._waiting import CHECK_ARGUMENTS, conclude


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "provider": {"type": "str", "choices": ["s3", "minio", "azure_blob"], "required": True},
            "endpoint": {"type": "str", "default": ""},
            "region": {"type": "str", "default": "us-east-1"},
            "bucket": {"type": "str", "required": True},
            # A name, and no secret: a message that cannot say which key was refused helps nobody.
            "access_key": {"type": "str", "default": "", "no_log": False},
            "access_key_secret": {"type": "str", "default": "", "no_log": True},
            "session_token": {"type": "str", "default": "", "no_log": True},
            "key_of": {
                "type": "str",
                "choices": ["application", "administrator"],
                "default": "application",
                "no_log": False,
            },
            "expected_owner": {"type": "str", "default": ""},
            "connection_string": {"type": "str", "default": "", "no_log": True},
            "ca_file": {"type": "path", "default": ""},
            "clock_limit_seconds": {"type": "float", "default": 300},
            "bucket_may_be_missing": {"type": "bool", "default": False},
            "write": {"type": "bool", "default": True},
            "seen_from": {"type": "str", "default": ""},
            **CHECK_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    checks = storage_checks(module.params, module.check_mode)
    conclude(checks, module.params, module.fail_json, module.exit_json)


if __name__ == "__main__":
    main()
