# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  source:
    description: The old place, one of both ends that the filter P(escala.ha.uploads_pair#filter) gives.
    type: dict
    required: true
  target:
    description: The new place, the other end.
    type: dict
    required: true
  user:
    description: The user of the application, who shall own the files. rclone runs as that user.
    type: str
    required: true
  run_folder:
    description: The folder that holds C(rclone.conf), the file with the keys of both places, which only O(user) reads.
    type: path
    required: true
  state_folder:
    description: The folder in which the migration remembers what it has done. Only one call at a time is at it; another waits up to two minutes.
    type: path
    required: true
  ca_file:
    description: The authority that signed the certificate of an S3 server; empty for those that the host trusts.
    type: path
    default: ""
  database_url:
    description: Where the application's database is, as the application itself has it; empty to do without.
    type: str
    default: ""
  query:
    description: What gives a row for each upload there, with its key, its size and its SHA-256; empty to do without.
    type: str
    default: ""
"""
