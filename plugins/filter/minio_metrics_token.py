# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hmac
import json
import typing as t

DOCUMENTATION = r"""
name: minio_metrics_token
short_description: The bearer token by which Prometheus reads a MinIO's figures
version_added: "0.4.0"
author:
  - The escala.ha contributors (@escala)
description:
  - A JSON Web Token that is signed with a user's secret key (HS512), always the same for the same keys. MinIO takes it as long as the user is there, has
    this secret key, and may C(admin:Prometheus).
positional: secret_key
options:
  _input:
    description: The user's access key.
    type: str
    required: true
  secret_key:
    description: His secret key.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Let Prometheus in
  ansible.builtin.copy:
    content: "{{ 'metrics' | escala.ha.minio_metrics_token(my_secret_key) }}"
    dest: /etc/prometheus/minio.token
    mode: "0640"
  no_log: true
"""

RETURN = r"""
_value:
  description: The token.
  type: str
"""

# MinIO wants an end; the user's own is what counts. 2100-01-01.
_EXPIRES = 4102444800


def minio_metrics_token(access_key: str, secret_key: str) -> str:
    claims = {"sub": access_key, "iss": "prometheus", "exp": _EXPIRES}
    told = b".".join(_part(json.dumps(part).encode()) for part in ({"alg": "HS512", "typ": "JWT"}, claims))
    return (told + b"." + _part(hmac.digest(secret_key.encode(), told, "sha512"))).decode()


def _part(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., str]]:
        return {"minio_metrics_token": minio_metrics_token}
