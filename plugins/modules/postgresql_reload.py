#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_reload
short_description: Have the PostgreSQL of the host itself read its files again when they changed
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Compares when the server last read its files with when O(sources) changed, so what an interrupted run did not load, the next one does. A handler is lost.
  - A file that the server would not understand is an error, and nothing is loaded then. A server that does not run is left alone.
options:
  sources:
    description: The files and folders that the server reads.
    type: list
    elements: path
    required: true
  port:
    description: The port, which is part of the socket's name.
    type: int
    default: 5432
  user:
    description: As whom to ask through the socket.
    type: str
    default: escala_guard
attributes:
  check_mode:
    support: full
    description: Says in check mode whether it would have them read.
  diff_mode:
    support: none
    description: RV(reason) says why.
"""

EXAMPLES = r"""
- name: Load what changed
  escala.ha.postgresql_reload:
    sources: [/etc/postgresql/17/main, /etc/ssl/escala/postgresql.crt]
"""

RETURN = r"""
reason:
  description: Why they were read, empty where they were not.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import attempted, question
from ansible_collections.escala.ha.plugins.module_utils._postgresql_loading import QUERY, RELOAD, parsed, stale
from ansible_collections.escala.ha.plugins.module_utils._rolling import RollError, source_at


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "sources": {"type": "list", "elements": "path", "required": True},
            "port": {"type": "int", "default": 5432},
            "user": {"type": "str", "default": "escala_guard"},
        },
        supports_check_mode=True,
    )
    place = (module.params["port"], module.params["user"])
    status, answer, _errors = attempted(module.run_command, question(QUERY, *place), handle_exceptions=False)
    if status != 0:
        module.exit_json(changed=False, reason="")
    loaded = parsed(answer)
    if loaded.faults:
        module.fail_json(msg=f"the server would not understand its files: {'; '.join(loaded.faults)}")
    try:
        sources = [source_at(path, may_be_missing=module.check_mode) for path in module.params["sources"]]
    except RollError as error:
        module.fail_json(msg=f"there is nothing to load: {error}")
    reason = stale(loaded, sources)
    if reason and not module.check_mode:
        module.run_command(question(RELOAD, *place), check_rc=True)
    module.exit_json(changed=bool(reason), reason=reason or "")


if __name__ == "__main__":
    main()
