#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets_file
short_description: Generate the secrets that a file of variables lacks, or renew those that it has
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Adds a strong random value for each name that has none yet, gives each another, or takes their lines out. All else that the file holds stays as it is,
    comments included.
  - The file belongs to its owner alone, mode V(0600), and is replaced in one step.
  - No value is ever returned, logged or shown as a difference.
  - A file that C(ansible-vault) has encrypted as a whole is left alone, and is an error when a name is missing, or is to be renewed or removed.
  - The lookup P(ansible.builtin.password#lookup) does not serve for this. It keeps a file of its own for each secret, which the inventory does not
    load as variables and C(ansible-vault) cannot encrypt; it generates at whatever moment a template is evaluated, in check mode too; and two
    hosts that ask at once race for it.
options:
  path:
    description: The file on the host where the module runs, which is the controller.
    type: path
    required: true
  names:
    description: The variables that are to have a value, another value or none.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(present) gives those a value that have none.
      - V(renewed) gives each another value, and refuses where the file does not set one. It does so at every run.
      - V(absent) takes out those that are there.
    type: str
    choices: [present, renewed, absent]
    default: present
    version_added: "0.8.0"
  defined:
    description: Those of O(names) that are known to be set, in this file or another. Of an encrypted file nothing else can be known.
    type: list
    elements: str
    default: []
  length:
    description: How many random bytes a value has.
    type: int
    default: 32
attributes:
  check_mode:
    support: full
    description: Says in check mode what would be added, and adds nothing.
  diff_mode:
    support: none
    description: A difference would show the secrets.
requirements:
  - PyYAML
seealso:
  - plugin: ansible.builtin.password
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Generate the secrets that are absent
  escala.ha.secrets_file:
    path: "{{ inventory_dir }}/group_vars/all/secrets.yml"
    names:
      - secret_database_app_password
    defined: "{{ ['secret_database_app_password'] | select('in', hostvars[inventory_hostname]) }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
added:
  description: The names for which a value was generated.
  returned: success
  type: list
  elements: str
  sample: [secret_database_app_password]
renewed:
  description: The names that were given another value.
  returned: success
  type: list
  elements: str
  sample: []
removed:
  description: The names that were taken out.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.escala.ha.plugins.module_utils._secrets_file import (
    HAS_YAML,
    MODE,
    SecretsFileError,
    changed_text,
    read,
    write,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            # The values are nowhere among the arguments: these are names.
            "names": {"type": "list", "elements": "str", "required": True, "no_log": False},
            "state": {"type": "str", "choices": ["present", "renewed", "absent"], "default": "present"},
            "defined": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "length": {"type": "int", "default": 32},
        },
        supports_check_mode=True,
    )
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    path = module.params["path"]
    try:
        text, mode = read(path)
        after, done = changed_text(
            text, **{name: module.params[name] for name in ("state", "names", "defined", "length")}
        )
        changed = after != text or mode not in (MODE, None)
        if changed and not module.check_mode:
            write(path, after)
    except (SecretsFileError, OSError) as error:
        module.fail_json(msg=f"{path}: {error}")
    module.exit_json(changed=changed, **done)


if __name__ == "__main__":
    main()
