# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  nodes:
    description:
      - The address of each data node by its name. The name is what its certificate is verified for, and by which it streams.
      - List all of them, in the order that the guards have; one that is missing here is missed by nobody.
    type: dict
    required: true
  witnesses:
    description: The address of each node that votes and has no data, by its name; only its guard is asked.
    type: dict
    default: {}
  port:
    description: The servers' port.
    type: int
    default: 5432
  database:
    description: The database to connect to.
    type: str
    default: app
  user:
    description: The account, a member of C(pg_monitor).
    type: str
    default: escala_monitor
  password:
    description: Its password; without it the one in O(passfile) is taken.
    type: str
  passfile:
    description: A file with the password as libpq reads it, on the host on which the module runs; by default C(~/.pgpass).
    type: path
  ca_file:
    description: The file of the authority that must have signed the certificates of servers and guards.
    type: path
    required: true
  guard_port:
    description: The guards' port.
    type: int
    default: 5433
  guard_certificate_file:
    description: The certificate with which the guards are asked, of the same authority; without it they are not asked.
    type: path
  guard_key_file:
    description: Its key.
    type: path
requirements:
  - psycopg 3.1 or newer
notes:
  - Works from any host that reaches the servers; every server is asked directly, by TLS with C(sslmode=verify-full), and all at once.
"""
