# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._postgresql_access import HAS_NETADDR, rules

DOCUMENTATION = r"""
name: postgresql_access
short_description: Write the rules of pg_hba.conf for accounts
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Lets each account into its databases from its addresses, by TLS and with a password only; whoever has no rule stays outside.
  - Neighbouring addresses become one network; an address that is none, or that means everywhere, is refused.
options:
  _input:
    description: Accounts with the keys C(name), C(databases) and C(addresses).
    type: list
    elements: dict
    required: true
requirements:
  - netaddr on the controller
seealso:
  - name: community.postgresql.postgresql_pg_hba
    description: Changes single rules of a file; what else the file has stays.
    link: https://docs.ansible.com/ansible/latest/collections/community/postgresql/postgresql_pg_hba_module.html
"""

EXAMPLES = r"""
- name: See who may enter
  ansible.builtin.debug:
    msg: "{{ [{'name': 'app', 'databases': ['app'], 'addresses': ['192.0.2.21', '192.0.2.22']}] | escala.ha.postgresql_access }}"
"""

RETURN = r"""
_value:
  description: The rules, a line each.
  type: list
  elements: string
"""


def postgresql_access(accounts: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[str]:
    if not HAS_NETADDR:
        raise AnsibleFilterError("postgresql_access needs the Python package netaddr on the controller")
    try:
        return [str(rule) for rule in rules(accounts)]
    except ValueError as error:
        raise AnsibleFilterError(f"postgresql_access: {error}") from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"postgresql_access": postgresql_access}
