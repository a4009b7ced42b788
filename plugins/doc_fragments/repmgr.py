# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  config_file:
    description: The configuration of repmgr on this host.
    type: path
    default: /etc/repmgr.conf
  database:
    description: The database with repmgr's metadata.
    type: str
    default: repmgr
  user:
    description: As whom to ask the server through the socket.
    type: str
    default: escala_guard
  socket_directory:
    description: Where the server's socket is.
    type: path
    default: /run/postgresql
  port:
    description: The server's port, which is part of the socket's name.
    type: int
    default: 5432
  request_timeout_seconds:
    description: How long one question to the server may take.
    type: float
    default: 3
requirements:
  - psycopg 3.1 or newer
  - repmgr 5
notes:
  - Runs on a data node as root. The tool C(repmgr) is run as C(postgres), and takes passwords from the file that its configuration names.
"""
