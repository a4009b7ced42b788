#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_programs
short_description: Have the code of the collection's programs on a host
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - The guard of a PostgreSQL node, the follower beside a pooler and what tries a pooler's configuration are made of this collection's own code. This
    module carries what they import, as every module does, and leaves it on the host as a library.
  - M(ansible.builtin.copy) would take a run of its own for each of some thirty files, and a list of them that grows old.
options:
  directory:
    description: Where the library is, for a program's C(sys.path). Files of the collection that no program imports any more are removed from it.
    type: path
    default: /usr/lib/escala
attributes:
  check_mode:
    support: full
    description: Says in check mode what would be written, and writes nothing.
  diff_mode:
    support: full
    description: Names the files, and does not show their lines.
"""

EXAMPLES = r"""
- name: Have the code of the daemons
  escala.ha.host_programs:
"""

RETURN = r"""
written:
  description: The files that were not there as they should be.
  returned: success
  type: list
  elements: str
removed:
  description: The files that no program needs any more.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils import (
    _pg_backup,
    _pg_follow_service,
    _pg_guard,
    _pgbouncer_trial,
)
from ansible_collections.escala.ha.plugins.module_utils._host_programs import Library, sources


def main() -> None:
    module = AnsibleModule(
        argument_spec={"directory": {"type": "path", "default": "/usr/lib/escala"}}, supports_check_mode=True
    )
    library = Library(
        module.params["directory"], sources([_pg_guard, _pg_follow_service, _pgbouncer_trial, _pg_backup])
    )
    try:
        written, removed = library.differences()
        if not module.check_mode:
            library.bring(written, removed)
    except OSError as error:
        module.fail_json(msg=f"The library of the daemons cannot be written: {error}")
    changes = [*(f"written: {name}" for name in written), *(f"removed: {name}" for name in removed)]
    module.exit_json(
        changed=bool(changes),
        written=written,
        removed=removed,
        diff={"before": "", "after": "".join(f"{change}\n" for change in changes)},
    )


if __name__ == "__main__":
    main()
