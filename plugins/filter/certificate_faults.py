# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.module_utils._certificate import HAS_CRYPTOGRAPHY, faults_of

DOCUMENTATION = r"""
name: certificate_faults
short_description: Say what keeps a certificate and its key from serving
version_added: "0.2.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Tells a certificate that has expired, is not valid yet, does not cover the names, is no server's, belongs to another key, is in the wrong order with
    its authorities, or is too weak; and a key that cannot be read or has a passphrase.
  - Neither key nor certificate is part of what it says.
positional: key, names
options:
  _input:
    description: The server's certificate, any intermediate authorities after it, in PEM format.
    type: string
    required: true
  key:
    description: The certificate's private key, in PEM format.
    type: string
    required: true
  names:
    description: The names and addresses that clients ask for.
    type: list
    elements: string
    required: true
requirements:
  - cryptography on the controller
"""

EXAMPLES = r"""
- name: Refuse a certificate that would not serve
  ansible.builtin.assert:
    that: faults | length == 0
    fail_msg: "{{ faults | join('\n') }}"
  vars:
    faults: "{{ lookup('ansible.builtin.file', 'edge.crt') | escala.ha.certificate_faults(lookup('ansible.builtin.file', 'edge.key'), ['app.example.com']) }}"
"""

RETURN = r"""
_value:
  description: Every fault with what to do about it, none for a certificate that serves.
  type: list
  elements: string
"""


def certificate_faults(
    certificate: t.Any, key: t.Any, names: t.Sequence[str], now: t.Optional[float] = None
) -> t.List[str]:
    if not HAS_CRYPTOGRAPHY:
        raise AnsibleFilterError("certificate_faults needs the Python package cryptography on the controller")
    faults = faults_of(str(certificate), str(key), [str(name) for name in names], time.time() if now is None else now)
    return [f"{problem}; {remedy}" for problem, remedy in faults]


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.List[str]]]:
        return {"certificate_faults": certificate_faults}
