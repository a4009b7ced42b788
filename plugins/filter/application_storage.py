# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._application_storage import Storage, told_of

DOCUMENTATION = r"""
name: application_storage
short_description: Tell an application where the shared storage is
version_added: "0.6.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes what P(escala.ha.app#role) takes in O(escala.ha.app#role:main:app_platform) of the backends that a host is ready for, as
    C(docs/application-contract.md) names it.
  - Files can be moved from one backend to another while the application is configured for both. It uses the first, until the setting on its
    page C(/settings/storage) says otherwise.
positional: storage, files_directory
options:
  _input:
    description: The backends, each one of V(nfs), V(smb), V(minio), V(s3) and V(azure_blob). Two must be of different drivers.
    type: list
    elements: str
    required: true
  storage:
    description:
      - C(path) for a share. C(bucket), C(region), C(endpoint), C(access_key) and C(secret_key) for S3; C(ca), a text in PEM, for MinIO.
        C(bucket) and C(connection_string) for Azure. What is not needed may be absent.
    type: dict
    required: true
  files_directory:
    description: Where the host keeps the application's files.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Run the application on a share
  ansible.builtin.include_role:
    name: escala.ha.app
  vars:
    app_platform: "{{ ['nfs'] | escala.ha.application_storage({'path': '/srv/uploads'}, '/etc/my-app/files') }}"
"""

RETURN = r"""
_value:
  description: A dict with C(environment), C(secrets), C(files) and C(writable_paths); empty without a backend.
  type: dict
"""


def application_storage(
    backends: t.Sequence[str], storage: t.Mapping[str, str], files_directory: str
) -> t.Dict[str, t.Any]:
    try:
        return told_of(backends, Storage(**storage), files_directory)
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"application_storage: {error}") from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, t.Any]]]:
        return {"application_storage": application_storage}
