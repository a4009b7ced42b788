#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: azure_blob_container
short_description: A private container of Azure Blob, by a connection string alone
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes the container where it is missing, and takes the public's access from one that is open. Its stored access policies stay as they are.
  - C(azure.azcollection) does the like through Azure's management plane, which takes a subscription and some 130 Python packages. This needs what the
    application has, a connection string, and Python's standard library.
options:
  connection_string:
    description: Azure's connection string, with the account's key, or with a shared access signature that may make containers.
    type: str
    required: true
  container:
    description: The name of the container.
    type: str
    required: true
  ca_file:
    description: The file of the authority to trust on the host; without it, those that the host trusts.
    type: path
    default: ""
  request_timeout_seconds:
    description: How long one request may take.
    type: float
    default: 10
attributes:
  check_mode:
    support: full
    description: Says whether it would change something.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.object_storage_check
"""

EXAMPLES = r"""
- name: A container for uploads
  escala.ha.azure_blob_container:
    connection_string: "{{ my_connection_string }}"
    container: uploads
"""

RETURN = r"""
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._object_storage_check import RefusedError, close_container


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "connection_string": {"type": "str", "required": True, "no_log": True},
            "container": {"type": "str", "required": True},
            "ca_file": {"type": "path", "default": ""},
            "request_timeout_seconds": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    try:
        changed = close_container(module.params, module.check_mode)
    except (ValueError, RefusedError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
