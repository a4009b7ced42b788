# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

DOCUMENTATION = r"""
name: uploads_servers
short_description: Where each instance of the application is asked directly
version_added: "0.6.0"
author:
  - The escala.ha contributors (@escala)
description:
  - The addresses that M(escala.ha.uploads_setting) takes, from the instances as P(escala.ha.application_instances#filter) gives them.
options:
  _input:
    description: The instances, each with C(name), C(address) and C(port).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Have all instances use one place
  escala.ha.uploads_setting:
    servers: "{{ groups.app_servers | escala.ha.application_instances(hostvars) | escala.ha.uploads_servers }}"
    setting: {driver: s3}
    location: https://192.0.2.41:9000/uploads
    login_body: "{{ my_login }}"
"""

RETURN = r"""
_value:
  description: The addresses by the instances' names.
  type: dict
"""


def uploads_servers(instances: t.Any) -> t.Dict[str, str]:
    return {one["name"]: f"http://{one['address']}:{one['port']}" for one in instances}


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, str]]]:
        return {"uploads_servers": uploads_servers}
