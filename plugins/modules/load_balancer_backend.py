#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: load_balancer_backend
short_description: Take backends out of a balancer's rotation, or put them back
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Runs on the balancer, as root. Returns when the balancer itself says that the backends are out of its rotation, or in it again.
  - Refuses to drain when no other backend would be left in rotation.
  - With HAProxy it also waits for the requests that the drained backends are at, up to O(timeout_seconds), and says in RV(in_flight) what is left.
    nginx cannot tell those; there the application's own way to finish what it has begun when it is stopped covers them.
  - In a pool that only some instances serve, such as the one for uploads while storage is not shared, the last one is left in.
  - With nginx a drain lasts until it is undone, over reloads and restarts. HAProxy keeps it over reloads, and forgets it when it is restarted.
options:
  names:
    description: The backends' names in the balancer's configuration.
    type: list
    elements: str
    required: true
  state:
    description: Whether they shall get no new requests, or be in rotation.
    type: str
    choices: [drained, active]
    required: true
  engine:
    description: The program that balances.
    type: str
    choices: [nginx, haproxy]
    required: true
  address:
    description: The balancer's status address, which is asked for what is so; for nginx only.
    type: str
    default: 127.0.0.1
  port:
    description: Its port there.
    type: int
    default: 8405
  timeout_seconds:
    description: How long to wait.
    type: float
    default: 30
  drained_file:
    description: Where the checker beside nginx reads what is drained.
    type: path
    default: /var/lib/escala-backend-health/drained.json
  socket:
    description: HAProxy's admin socket.
    type: path
    default: /run/haproxy/admin.sock
attributes:
  check_mode:
    support: full
    description: Says in check mode what would be done, refuses what would be refused, and does nothing.
  diff_mode:
    support: none
    description: RV(backends) says what is so afterwards.
seealso:
  - module: escala.ha.load_balancer_info
"""

EXAMPLES = r"""
- name: Take an application host out before its instances are stopped
  escala.ha.load_balancer_backend:
    names: [app1-3001, app1-3002]
    state: drained
    engine: nginx
    address: 192.0.2.11

- name: Put it back
  escala.ha.load_balancer_backend:
    names: [app1-3001, app1-3002]
    state: active
    engine: haproxy
"""

RETURN = r"""
names:
  description: The backends for which something had to be done.
  returned: success
  type: list
  elements: str
  sample: [app1-3001, app1-3002]
in_flight:
  description: How many requests drained backends are still at, or null where the engine cannot tell.
  returned: success
  type: int
  sample: 0
backends:
  description: Every backend as it is afterwards, as M(escala.ha.load_balancer_info) returns them.
  returned: success
  type: list
  elements: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils import _load_balancer_drain as drain
from ansible_collections.escala.ha.plugins.module_utils._load_balancer_state import ENGINES, shown


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["drained", "active"], "required": True},
            "engine": {"type": "str", "choices": list(ENGINES), "required": True},
            "address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 8405},
            "timeout_seconds": {"type": "float", "default": 30},
            "drained_file": {"type": "path", "default": drain.DRAINED_FILE},
            "socket": {"type": "path", "default": drain.ADMIN_SOCKET},
        },
        supports_check_mode=True,
    )
    params = module.params
    pace = drain.Pace(params["timeout_seconds"], time.monotonic, time.sleep)
    engine = drain.engine_from(params, time.time)
    try:
        done = drain.bring(params["names"], params["state"] == "drained", engine, pace, module.check_mode)
    except drain.DrainError as error:
        module.fail_json(msg=str(error))
    if done.in_flight:
        module.warn(f"{done.in_flight} requests are still under way at {', '.join(params['names'])}")
    module.exit_json(
        changed=bool(done.changed),
        names=done.changed,
        in_flight=done.in_flight,
        backends=[shown(backend, time.time()) for backend in done.backends],
    )


if __name__ == "__main__":
    main()
