# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a server stores of a password is of a known one, so that it is only replaced by what another server stores of the same."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import typing as t

_SCRAM = re.compile(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)")


def password_matches(stored: t.Optional[str], password: str, user: str) -> bool:
    """Whether `stored`, by SCRAM-SHA-256 or md5, is of this password."""
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


def other_passwords(accounts: t.Sequence[t.Mapping[str, str]], stored: t.Sequence[t.Mapping[str, str]]) -> t.List[str]:
    """The names of those accounts that are not there, or have another password."""
    kept = {row["name"]: row["stored"] for row in stored}
    return [
        account["name"]
        for account in accounts
        if not password_matches(kept.get(account["name"]), account["password"], account["name"])
    ]
