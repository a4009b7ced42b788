# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

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

_SCRAM = re.compile(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)")


def password_matches(stored: str | None, password: str, user: str) -> bool:
    text = stored or ""
    if text.startswith("md5"):
        found = hashlib.md5((password + user).encode(), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(text[3:], found)
    parts = _SCRAM.fullmatch(text)
    if not parts:
        return False
    try:
        salt, key = base64.b64decode(parts[2], validate=True), base64.b64decode(parts[3], validate=True)
    except binascii.Error:
        return False
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, int(parts[1]))
    return hmac.compare_digest(hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest(), key)


def other_passwords(accounts: list[dict[str, str]], stored: list[dict[str, str]]) -> list[str]:
    kept = {row["name"]: row["stored"] for row in stored}
    return [
        account["name"]
        for account in accounts
        if not password_matches(kept.get(account["name"]), account["password"], account["name"])
    ]


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {"other_passwords": other_passwords}
