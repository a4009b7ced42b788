# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._postgresql_access import password_line

DOCUMENTATION = r"""
name: postgresql_pgpass
short_description: Write accounts and their passwords as libpq reads them
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes one line of a password file for each account, for any server and any database.
options:
  _input:
    description: Accounts with the keys C(name) and C(password).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Write a password file
  ansible.builtin.copy:
    content: "{{ [{'name': 'replicator', 'password': my_password}] | escala.ha.postgresql_pgpass | join('\n') }}\n"
    dest: /etc/my.pgpass
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: string
"""


def postgresql_pgpass(accounts: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[str]:
    return [password_line(account["name"], account["password"]) for account in accounts]


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"postgresql_pgpass": postgresql_pgpass}
