#!/usr/bin/python
# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: verification_report
short_description: Write the verdicts on a platform as a report
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Writes C(report.json) for programs and C(report.html) for people, each whole or not at all. The page needs no other file, and prints well.
  - A report is the record of a look at the platform and no part of it, and it says when that look was. Writing one therefore never counts as changed.
  - Failed verdicts do not fail the task, so that the report is always written. Judge RV(passed) afterwards, with RV(msg) as the message.
  - In check mode nothing is written.
options:
  verdicts:
    description:
      - The verdicts, as C(*_check) modules return them, of all etapas together.
      - Anything else in the list fails the task, as do two verdicts of one name and an empty list.
    type: list
    elements: dict
    required: true
  directory:
    description: The folder for both files, which is made where it is absent.
    type: path
    required: true
  platform:
    description: The name of the platform, for the page's heading.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Can run in check mode; the files are not written then.
  diff_mode:
    support: none
    description: There is nothing to compare.
seealso:
  - module: escala.ha.application_check
  - module: escala.ha.load_balancer_check
"""

EXAMPLES = r"""
- name: Write the report
  escala.ha.verification_report:
    platform: production
    directory: /srv/reports
    verdicts: "{{ my_balancer.verdicts + my_application.verdicts }}"
  delegate_to: localhost
  register: my_report

- name: End with what failed
  ansible.builtin.assert:
    that: my_report.passed
    fail_msg: "{{ my_report.msg }}"
"""

RETURN = r"""
passed:
  description: Whether every verdict passed.
  returned: success
  type: bool
  sample: true
msg:
  description: How many checks passed, and the name and reason of each that failed.
  returned: success
  type: str
  sample: 8 of 8 checks passed
lines:
  description: One line a verdict, for a terminal.
  returned: success
  type: list
  elements: str
  sample: ["ok     https_redirect: 301 to https://app.example.com/"]
report_json:
  description: The file for programs.
  returned: success
  type: str
  sample: /srv/reports/report.json
report_html:
  description: The file for people.
  returned: success
  type: str
  sample: /srv/reports/report.html
"""

import datetime

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.escala.ha.plugins.module_utils import _report, _verdict


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "verdicts": {"type": "list", "elements": "dict", "required": True},
            "directory": {"type": "path", "required": True},
            "platform": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    directory = module.params["directory"]
    try:
        now = datetime.datetime.now(datetime.timezone.utc)
        report = _report.build(module.params["platform"], module.params["verdicts"], now)
        if not module.check_mode:
            _report.write(directory, report)
    except (ValueError, OSError) as error:
        module.fail_json(msg=f"The report was not written: {error}")
    report_json, report_html = _report.paths(directory)
    module.exit_json(
        changed=False,
        passed=report["passed"],
        msg=_verdict.summary(report["verdicts"]),
        lines=[_verdict.line(verdict) for verdict in report["verdicts"]],
        report_json=report_json,
        report_html=report_html,
    )


if __name__ == "__main__":
    main()
