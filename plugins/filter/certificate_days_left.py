# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleFilterError

try:
    from cryptography import x509
except ImportError:
    x509 = None

DOCUMENTATION = r"""
name: certificate_days_left
short_description: Say how many days a certificate is still valid
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Counts the days from now to the end of a certificate's validity; less than zero when it is over.
options:
  _input:
    description: The certificate, or a chain that begins with it, in PEM format.
    type: string
    required: true
requirements:
  - cryptography on the controller
"""

EXAMPLES = r"""
- name: Refuse a certificate that ends soon
  ansible.builtin.assert:
    that: lookup('ansible.builtin.file', 'edge.crt') | escala.ha.certificate_days_left > 30
"""

RETURN = r"""
_value:
  description: The days, with their fraction.
  type: float
"""


def certificate_days_left(pem: t.Any, now: t.Optional[datetime.datetime] = None) -> float:
    if x509 is None:
        raise AnsibleFilterError("certificate_days_left needs the Python package cryptography on the controller")
    try:
        end = x509.load_pem_x509_certificate(str(pem).encode()).not_valid_after_utc
    except ValueError as unreadable:
        raise AnsibleFilterError(
            f"certificate_days_left takes a certificate in PEM format: {unreadable}"
        ) from unreadable
    return (end - (now or datetime.datetime.now(datetime.timezone.utc))).total_seconds() / 86400


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., float]]:
        return {"certificate_days_left": certificate_days_left}
