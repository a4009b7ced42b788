#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_node_info
short_description: Observe the PostgreSQL of the host itself, whether it runs or not
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Says whether the host has a data directory and of which cluster, and of a server that runs whether it can write, who streams from it, and which
    settings wait for a restart.
  - Observes only, changes nothing, and never fails on what it finds. Runs on the data node, and needs nothing before PostgreSQL is installed.
  - The collection community.postgresql can ask a server, but not look at one that does not run.
options:
  version:
    description: The major version.
    type: int
    required: true
  data_directory:
    description: Where the data is.
    type: path
    required: true
  port:
    description: The port, which is part of the socket's name.
    type: int
    default: 5432
  user:
    description: As whom to ask through the socket.
    type: str
    default: escala_guard
  configuration_file:
    description: Where its configuration is.
    type: path
  own_settings_file:
    description: A file that is there as soon as whoever asks has configured this PostgreSQL.
    type: path
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - plugin: escala.ha.postgresql_plan
    plugin_type: filter
"""

EXAMPLES = r"""
- name: See what the node is
  escala.ha.postgresql_node_info:
    version: 17
    data_directory: /var/lib/postgresql/17/main
  register: my_node
"""

RETURN = r"""
data:
  description: Whether there is a data directory.
  returned: success
  type: bool
version:
  description: The major version that made it.
  returned: success
  type: str
versions:
  description: The major versions of what data there is, by directory, also where Debian has the cluster of the same name of another version.
  returned: success
  type: dict
  sample: {/var/lib/postgresql/17/main: "17"}
system_identifier:
  description: Which cluster it belongs to.
  returned: success
  type: str
running:
  description: Whether a server answers.
  returned: success
  type: bool
writable:
  description: Whether it is out of recovery.
  returned: success
  type: bool
timeline:
  description: The timeline of its last checkpoint.
  returned: success
  type: int
streaming:
  description: Whether it streams from another node.
  returned: success
  type: bool
standbys:
  description: Who streams from it, by their application names.
  returned: success
  type: list
  elements: str
invalid_settings:
  description: What the configuration files have wrong.
  returned: success
  type: list
  elements: str
pending_restart:
  description: The settings that take effect only at the next start.
  returned: success
  type: list
  elements: str
collations:
  description: By which collations databases sort that differ between versions of the library that has them; C(ICU) for all of that one.
  returned: success
  type: list
  elements: str
locales:
  description: The locales that databases need, beside C and POSIX.
  returned: success
  type: list
  elements: str
library:
  description: The C library of the host, which has the collations.
  returned: success
  type: str
  sample: glibc 2.41
available_locales:
  description: The locales that the host has, as C(locale -a) names them.
  returned: success
  type: list
  elements: str
foreign:
  description: Whether there is data, or O(configuration_file), and O(own_settings_file) is not there, so that somebody else has made it.
  returned: success
  type: bool
least:
  description: Settings of which a standby must not have less than its primary, as the data was last used with.
  returned: success
  type: dict
  sample: {max_connections: 200}
problem:
  description: Why the data could not be looked at, V(null) where it could.
  returned: success
  type: str
"""

import functools
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import (
    QUERY,
    attempted,
    observed,
    question,
    versions_beside,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "int", "required": True},
            "data_directory": {"type": "path", "required": True},
            "port": {"type": "int", "default": 5432},
            "user": {"type": "str", "default": "escala_guard"},
            "configuration_file": {"type": "path"},
            "own_settings_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    programs = f"/usr/lib/postgresql/{params['version']}/bin"
    versions = versions_beside(params["data_directory"])
    version = versions.get(os.path.normpath(params["data_directory"]))
    language = {"LC_ALL": "C", "PGCONNECT_TIMEOUT": "5"}
    run = functools.partial(attempted, module.run_command, environ_update=language, handle_exceptions=False)
    made = version is not None or os.path.exists(params["configuration_file"] or "")
    host = {
        "versions": versions,
        "library": os.confstr("CS_GNU_LIBC_VERSION"),
        "available_locales": run(["locale", "-a"])[1].split(),
        "foreign": made and not os.path.exists(params["own_settings_file"] or ""),
    }
    if version is None:
        module.exit_json(changed=False, **host, **observed(None, (0, "", ""), (0, "", "")))
    control = run([f"{programs}/pg_controldata", params["data_directory"]])
    answer = run(question(QUERY, params["port"], params["user"]))
    module.exit_json(changed=False, **host, **observed(version, control, answer))


if __name__ == "__main__":
    main()
