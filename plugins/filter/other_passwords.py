# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.escala.ha.plugins.module_utils._stored_passwords import other_passwords

DOCUMENTATION = r"""
name: other_passwords
short_description: Name the accounts of which PostgreSQL stores another password, or none
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - So that what a server stores of a password is only replaced by what another one stores of the same password.
positional: stored
options:
  _input:
    description: The accounts, each with its C(name) and C(password).
    type: list
    elements: dict
    required: true
  stored:
    description: Of each account that the server has its C(name), and what C(pg_authid.rolpassword) has as C(stored), by SCRAM-SHA-256 or md5.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse another password
  ansible.builtin.assert:
    that: my_accounts | escala.ha.other_passwords(asked.query_result) | length == 0
"""

RETURN = r"""
_value:
  description: The names of those that are not there, or have another password.
  type: list
  elements: str
"""


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {"other_passwords": other_passwords}
