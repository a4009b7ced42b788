#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: load_balancer_uploads
short_description: Choose where a balancer sends uploads, and hold them for a moment
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Runs on the balancer, as root. Uploads are what goes to C(load_balancer_upload_paths). What is asked for is in force for every new request when the
    module returns, with no reload, and requests under way go on to their end.
  - While they are held, requests that write (all but C(GET), C(HEAD) and C(OPTIONS)) get a 503 with C(Retry-After) and the code C(uploads_held) at once.
  - A hold ends by itself O(hold_seconds) after it was asked for last, whether or not anything of the run, of this module or of a helper is still
    alive; the engine compares the time itself. Uploads then flow again to where the route leads.
  - Route and hold outlast reloads, restarts, a reboot and runs of the role load_balancer. Uploads that have moved to the application stay there whatever
    C(load_balancer_upload_servers) says, until this module leads them back.
  - Without O(route) and O(held) it only says what is so.
options:
  route:
    description: Where uploads go, to C(load_balancer_upload_servers) or to the application's instances like everything else.
    type: str
    choices: [upload_servers, application]
  held:
    description: Whether uploads that write are held. Asked for again, a hold lasts from then on, which is no change.
    type: bool
  hold_seconds:
    description: How long a hold lasts at most, 1 to 600.
    type: int
    default: 30
  only_while_held:
    description:
      - Refuse, and change nothing, unless the balancer holds uploads already and for a second more. For a change of the route after what was there has
        been copied; a hold that ended meanwhile let through what was not.
    type: bool
    default: false
  wait_seconds:
    description:
      - How long to wait until no request that writes is under way where none can begin any more; while uploads are held that is everywhere,
        and else where the route does not lead.
      - What is left then does not fail the task; look at RV(in_flight).
    type: float
    default: 0
  engine:
    description: The program that balances.
    type: str
    choices: [nginx, haproxy]
    required: true
  address:
    description: The balancer's status address.
    type: str
    default: 127.0.0.1
  port:
    description: Its port there.
    type: int
    default: 8405
  directory:
    description: Where the balancer keeps what is so. The engine's configuration names it.
    type: path
    default: /var/lib/escala-uploads
  master_socket:
    description: The socket of HAProxy's master process.
    type: path
    default: /run/haproxy-master.sock
notes:
  - Requests that began before the role load_balancer first brought the switch are not counted. They are gone
    C(load_balancer_shutdown_timeout_seconds) after that.
  - The end of a hold goes by the balancer's clock.
attributes:
  check_mode:
    support: full
    description: Says in check mode what would be done, refuses what would be refused, and does nothing.
  diff_mode:
    support: none
    description: RV(route) and RV(held) say what is so afterwards.
seealso:
  - module: escala.ha.load_balancer_info
"""

EXAMPLES = r"""
- name: Hold uploads, and wait for those under way
  escala.ha.load_balancer_uploads:
    held: true
    wait_seconds: 3
    engine: nginx
    address: 192.0.2.11

- name: Have them go to the application from now on
  escala.ha.load_balancer_uploads:
    route: application
    held: false
    only_while_held: true
    engine: haproxy
    address: 192.0.2.11
"""

RETURN = r"""
route:
  description: Where the engine says that it sends uploads.
  returned: success
  type: str
  sample: application
held:
  description: Whether it says that it holds those that write.
  returned: success
  type: bool
  sample: false
held_seconds_left:
  description: In how many seconds the hold ends by itself, or 0.
  returned: success
  type: float
  sample: 27.5
upload_servers:
  description: The upload servers in its configuration; they get nothing while RV(route) is V(application).
  returned: success
  type: list
  elements: str
  sample: [legacy1]
in_flight:
  description:
    - How many requests that write are under way to C(upload_servers) and to C(application).
    - nginx only tells none from some; with it V(1) means at least one.
  returned: success
  type: dict
  sample: {"application": 0, "upload_servers": 2}
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils import _load_balancer_uploads as uploads
from ansible_collections.escala.ha.plugins.module_utils._load_balancer_drain import Pace
from ansible_collections.escala.ha.plugins.module_utils._load_balancer_state import ENGINES, ROUTES


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "route": {"type": "str", "choices": list(ROUTES)},
            "held": {"type": "bool"},
            "hold_seconds": {"type": "int", "default": 30},
            "only_while_held": {"type": "bool", "default": False},
            "wait_seconds": {"type": "float", "default": 0},
            "engine": {"type": "str", "choices": list(ENGINES), "required": True},
            "address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 8405},
            "directory": {"type": "path", "default": uploads.STATE_DIRECTORY},
            "master_socket": {"type": "path", "default": uploads.MASTER_SOCKET},
        },
        supports_check_mode=True,
    )
    params = module.params
    wanted = uploads.Wanted(params["route"], params["held"], params["hold_seconds"], params["only_while_held"])
    pace = Pace(params["wait_seconds"], time.monotonic, time.sleep)
    files = uploads.Files(params["directory"])
    try:
        done = uploads.switch(wanted, uploads.engine_from(params), files, time.time, pace, module.check_mode)
    except uploads.UploadsError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=done.changed,
        route=done.in_force.route,
        held=done.in_force.held,
        held_seconds_left=round(max(0.0, done.record.held_until - time.time()), 1),
        upload_servers=done.in_force.upload_servers,
        in_flight=done.in_flight,
    )


if __name__ == "__main__":
    main()
