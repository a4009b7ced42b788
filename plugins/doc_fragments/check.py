# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  timeout_seconds:
    description:
      - How long a check that does not pass is taken again before its verdict stands.
      - With V(0) everything is looked at exactly once.
    type: float
    default: 10
  request_timeout_seconds:
    description: How long one request may take.
    type: float
    default: 3
  fail:
    description:
      - Whether a failed verdict fails the task, with the reasons in the message.
      - Set it to V(false) to gather the verdicts of several checks first and judge them together,
        as M(escala.ha.verification_report) does.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Can run in check mode, since nothing is ever changed.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""
