# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleError
from jinja2 import Undefined, UndefinedError

DOCUMENTATION = r"""
name: platform_hosts
short_description: Gather what is known of hosts, such that a missing variable is found and not tripped over
version_added: "0.1.0"
author:
  - The escala.ha contributors (@escala)
description:
  - Evaluates variables for each host, as the host would see them, for M(escala.ha.preflight_check).
  - A variable that cannot be evaluated, since something that it is made of is missing, is reported and not an error.
positional: hostvars, names
options:
  _input:
    description: The names of the hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  names:
    description: The variables to evaluate.
    type: list
    elements: str
    required: true
  sealed:
    description: Further variables to evaluate whose values are not to be returned.
    type: list
    elements: str
    default: []
seealso:
  - plugin: escala.ha.preflight_check
    plugin_type: module
"""

EXAMPLES = r"""
- name: See the ports and whether the secrets are set
  ansible.builtin.debug:
    msg: "{{ groups.app_servers | escala.ha.platform_hosts(hostvars, ['app_ports'], ['app_secrets']) }}"
"""

RETURN = r"""
_value:
  description: >-
    For each host C(system), the distribution and its major version, V(null) when its facts are not known; C(values); C(sealed), the names of
    sealed variables that have a value in every part; C(problems), why a variable could not be evaluated.
  type: dict
"""

_MISSING = object()


def _has_a_value(value: t.Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(_has_a_value(part) for part in value.values())
    return value is not None and str(value).strip() != ""


def _whole(value: t.Any) -> t.Any:
    """The value with all of its parts evaluated, which Ansible leaves until they are looked at."""
    if isinstance(value, Undefined):
        raise AnsibleError(value._undefined_message)
    if isinstance(value, Mapping):
        return {str(key): _whole(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(part) for part in value]
    return value


def _evaluated(variables: t.Mapping[str, t.Any], name: str, problems: t.Dict[str, str]) -> t.Any:
    if name not in variables:
        return _MISSING
    try:
        return _whole(variables[name])
    except (AnsibleError, UndefinedError) as error:
        problems[name] = "cannot be evaluated, " + " ".join(str(error.message).split())
        return _MISSING


def _known_of(variables: t.Mapping[str, t.Any], names: t.Iterable[str], sealed: t.Iterable[str]) -> t.Dict[str, t.Any]:
    facts = variables.get("ansible_facts") or {}
    problems: t.Dict[str, str] = {}
    values = {name: _evaluated(variables, name, problems) for name in names}
    closed = {name: _evaluated(variables, name, problems) for name in sealed}
    return {
        "system": "{distribution} {distribution_major_version}".format(**facts) if "distribution" in facts else None,
        "values": {name: value for name, value in values.items() if value is not _MISSING},
        "sealed": [name for name, value in closed.items() if value is not _MISSING and _has_a_value(value)],
        "problems": problems,
    }


def platform_hosts(
    hosts: t.Iterable[str],
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    names: t.Sequence[str],
    sealed: t.Sequence[str] = (),
) -> t.Dict[str, t.Dict[str, t.Any]]:
    return {host: _known_of(hostvars[host], names, sealed) for host in hosts}


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, t.Dict[str, t.Any]]]]:
        return {"platform_hosts": platform_hosts}
