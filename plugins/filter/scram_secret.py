# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import hmac

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: scram_secret
short_description: Turn a password into what PostgreSQL stores of it
version_added: "0.3.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Makes the SCRAM-SHA-256 secret of RFC 5803, the same for the same user, password and seed at each run.
  - The server makes one with a salt of its own from a password; PgBouncer can log in to a server with what it has of a client's login only where both
    have the very same secret. So it is made here, once for both, and no host needs the password.
positional: user, seed
options:
  _input:
    description: The password, in printable ASCII characters.
    type: str
    required: true
  user:
    description: Whose it is.
    type: str
    required: true
  seed:
    description: A random secret of the platform, from which the salt is made. Anybody who asks the server gets the salt, and learns nothing from it.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Have the account log in with the password
  community.postgresql.postgresql_user:
    name: app
    password: "{{ my_password | escala.ha.scram_secret('app', my_seed) }}"
"""

RETURN = r"""
_value:
  description: The secret, as it is in C(pg_authid) and in PgBouncer's C(auth_file).
  type: str
"""

# PostgreSQL's own number (scram_iterations).
_ITERATIONS = 4096


def scram_secret(password: str, user: str, seed: str) -> str:
    if not password or not seed:
        raise AnsibleFilterError(f"scram_secret: the password and the seed of {user} must not be empty")
    if not (password.isascii() and password.isprintable()):
        # Others are normalized before they are hashed (SASLprep), by rules that Python lacks.
        raise AnsibleFilterError(f"scram_secret: the password of {user} has characters that are not printable ASCII")
    salt = hmac.digest(seed.encode(), user.encode(), "sha256")[:16]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${_ITERATIONS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


class FilterModule:
    def filters(self) -> dict[str, object]:
        return {"scram_secret": scram_secret}
