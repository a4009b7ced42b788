#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: known_good
short_description: Keep what a service was made of when it was well, and put it back
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - With O(state=kept) copies files, folders and links, owners and modes included, into a folder of root's own. Call it when the service has been seen well.
  - With O(state=restored) puts them back where they differ. What was not there when it was kept is removed.
  - A call that is killed leaves the copy before, or the new one.
options:
  paths:
    description: The files, folders and links that the service is made of. A link is kept as a link.
    type: list
    elements: path
    required: true
  directory:
    description: The folder for the copy.
    type: path
    required: true
  state:
    description: Whether to keep what is there, or to put back what was kept.
    type: str
    choices: [kept, restored]
    required: true
  replace:
    description: Whether what is there replaces a copy that there is; used with O(state=kept).
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Says in check mode what would be copied, and copies nothing.
  diff_mode:
    support: none
    description: The files may hold secrets.
seealso:
  - module: escala.ha.rolling_restart
"""

EXAMPLES = r"""
- name: Keep what runs well
  escala.ha.known_good:
    paths: [/etc/my-app, /opt/my-app/current]
    directory: /opt/my-app/last_ready
    state: kept

- name: Go back to it
  escala.ha.known_good:
    paths: [/etc/my-app, /opt/my-app/current]
    directory: /opt/my-app/last_ready
    state: restored
"""

RETURN = r"""
paths:
  description: The paths that were another.
  returned: success
  type: list
  elements: str
  sample: [/opt/my-app/current]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._known_good import NothingKeptError, keep, restore


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["kept", "restored"], "required": True},
            "replace": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        if params["state"] == "kept":
            changed = keep(params["paths"], params["directory"], params["replace"], module.check_mode)
        else:
            changed = restore(params["paths"], params["directory"], module.check_mode)
    except (NothingKeptError, OSError) as error:
        module.fail_json(msg=f"{params['directory']}: {error}")
    module.exit_json(changed=bool(changed), paths=changed)


if __name__ == "__main__":
    main()
