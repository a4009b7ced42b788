# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: environment_file
short_description: Write variables as a file that systemd reads by EnvironmentFile
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Writes one line for each variable, ordered by name, quoted such that the program gets each value exactly as it is.
  - Refuses what the file cannot hold, which systemd would skip without an error.
options:
  _input:
    description: The variables. Numbers are written as they are, booleans as V(true) and V(false).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: The environment of a service
  ansible.builtin.copy:
    content: "{{ {'LOG_LEVEL': 'info', 'WORKERS': 4} | escala.ha.environment_file }}"
    dest: /etc/my-service/environment
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The file's text.
  type: string
"""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPECIAL = re.compile(r'(["\\$`])')


def _line(name: str, value: t.Any) -> str:
    if not _NAME.fullmatch(name):
        raise AnsibleFilterError(f"environment_file: {name!r} is no name for an environment variable")
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise AnsibleFilterError(
            f"environment_file: the value of {name} must be a text or a number, not {type(value).__name__}"
        )
    if any(ord(character) < 32 for character in str(value)):
        raise AnsibleFilterError(f"environment_file: the value of {name} has a line break or another control character")
    return '{}="{}"\n'.format(name, _SPECIAL.sub(r"\\\1", str(value)))


def environment_file(variables: t.Mapping[str, t.Any]) -> str:
    return "".join(_line(str(name), variables[name]) for name in sorted(variables))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., str]]:
        return {"environment_file": environment_file}
