# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  directory:
    description: The folder of the drill, on the host that measures. Every try is in a log there, and so is the report.
    type: path
    required: true
  pool_address:
    description: The address of a PgBouncer, which the ledger writes through as the application does.
    type: str
    required: true
  pool_port:
    description: Its port.
    type: int
    default: 6432
  nodes:
    description: The data nodes, each with the address at which PostgreSQL itself is reached. The fault must not cut the way there.
    type: dict
    required: true
  node_port:
    description: The port of PostgreSQL on the nodes.
    type: int
    default: 5432
  database:
    description: The database with the schema C(escala_probe), by the name that PgBouncer has for its writer.
    type: str
    default: app
  user:
    description: An account that may make tables in that schema.
    type: str
    default: escala_probe
  password:
    description: Its password.
    type: str
  password_file:
    description: A file with the password as libpq reads it, instead of O(password).
    type: path
  ca_file:
    description: The authority whose certificates PgBouncer and the nodes have.
    type: path
    required: true
requirements:
  - psycopg >= 3.1
"""
