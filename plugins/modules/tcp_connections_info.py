#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tcp_connections_info
short_description: Say which TCP ports anybody on a host uses
version_added: "0.8.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Lists the local ports of all TCP connections of programs on the host, of those in its containers, and of those whose address it translates.
  - A server does not notice that a client's host has lost its power, and keeps the connection for hours. Asked for its ports, the host shows that nobody
    has it any more.
  - M(community.general.listen_ports_facts) lists the connections of the host's own network alone, and a container's would look as if nobody had them.
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
notes:
  - Runs as root, since others see only their own network.
seealso:
  - module: escala.ha.postgresql_migration
  - module: community.general.listen_ports_facts
"""

EXAMPLES = r"""
- name: See which connections the host knows of
  escala.ha.tcp_connections_info:
  register: my_connections
"""

RETURN = r"""
local_ports:
  description: The ports on this host, in order.
  returned: always
  type: list
  elements: int
  sample: [40312, 40318]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils._tcp_connections import ports_used


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        found = ports_used()
    except OSError as error:
        module.fail_json(msg=f"/proc: {error}")
    module.exit_json(changed=False, local_ports=found)


if __name__ == "__main__":
    main()
