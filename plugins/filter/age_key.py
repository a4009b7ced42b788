# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._age_key import key_pair, private_key

try:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

DOCUMENTATION = r"""
name: age_key
short_description: Make a key pair for age of a secret
version_added: "0.8.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Backups are encrypted by C(age), whose keys have a form of their own. The same secret always gives the same keys, so the secret is all that has to be kept.
requirements:
  - cryptography, on the controller
options:
  _input:
    description: The secret, at least 32 characters, such as P(escala.ha.secrets_file#module) generates.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Keep the key with which backups are read
  ansible.builtin.copy:
    content: "{{ (secret_postgresql_backup_key | escala.ha.age_key).identity }}\n"
    dest: /etc/escala/pg-backup.identity
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_value:
  description: C(identity), which reads and must stay secret, and C(recipient), with which anybody encrypts.
  type: dict
"""

_LEAST_CHARACTERS = 32


def age_key(secret: t.Any) -> t.Dict[str, str]:
    if not HAS_CRYPTOGRAPHY:
        raise AnsibleFilterError("age_key: the controller's Python lacks cryptography; install it beside Ansible")
    if not isinstance(secret, str) or len(secret) < _LEAST_CHARACTERS:
        raise AnsibleFilterError(f"age_key: the secret must be a text of at least {_LEAST_CHARACTERS} characters")
    private = private_key(secret)
    public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    return key_pair(private, public)._asdict()


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[[t.Any], t.Dict[str, str]]]:
        return {"age_key": age_key}
