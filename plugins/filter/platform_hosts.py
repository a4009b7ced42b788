# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from pathlib import Path

import yaml
from ansible.errors import AnsibleError
from ansible.vars.hostvars import HostVars, HostVarsVars
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
  - What roles of this collection take where nothing is set is read from their defaults.
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
  roles:
    description: The roles that the hosts of each group get. For a host of several groups, those of a later one count.
    type: dict
    default: {}
  defaults:
    description: Further defaults for the hosts of each group.
    type: dict
    default: {}
  registered:
    description: The variable in which M(escala.ha.preflight_info) was registered.
    type: str
    default: ''
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
    For each host C(values); C(sealed), the names of sealed variables that have a value in every part; C(problems), why a variable could
    not be evaluated; C(defaults), those that are no template; C(observed), what was registered, V(null) where that failed, and then
    C(absent), why.
  type: dict
"""

_MISSING = object()
_ROLES = Path(__file__).resolve().parents[2] / "roles"


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


def _variables_of(hostvars: t.Mapping[str, t.Mapping[str, t.Any]], host: str) -> t.Mapping[str, t.Any]:
    """As tasks on the host see them: what `hostvars[host]` gives knows no `hostvars`, by which inventories name other hosts' addresses."""
    if not isinstance(hostvars, HostVars):
        return hostvars[host]
    return HostVarsVars({**hostvars.raw_get(host), "hostvars": hostvars}, loader=hostvars._loader, host=host)


def _role_defaults(role: str) -> t.Dict[str, t.Any]:
    file = _ROLES / role / "defaults" / "main.yml"
    values = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {name: value for name, value in (values or {}).items() if "{{" not in str(value)}


def _defaults_of(
    groups: t.Container[str], roles: t.Mapping[str, t.Iterable[str]], defaults: t.Mapping[str, t.Mapping[str, t.Any]]
) -> t.Dict[str, t.Any]:
    found: t.Dict[str, t.Any] = {}
    for group in (group for group in {**roles, **defaults} if group in groups):
        for role in roles.get(group, ()):
            found.update(_role_defaults(role))
        found.update(defaults.get(group, {}))
    return found


def _observed(registered: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    if registered.get("unreachable"):
        return {"observed": None, "absent": "unreachable"}
    if "clock" not in registered:
        return {"observed": None, "absent": str(registered.get("msg", "it was not asked")).strip()}
    return {"observed": dict(registered), "absent": ""}


def platform_hosts(
    hosts: t.Iterable[str],
    hostvars: t.Mapping[str, t.Mapping[str, t.Any]],
    names: t.Sequence[str],
    sealed: t.Sequence[str] = (),
    roles: t.Optional[t.Mapping[str, t.Sequence[str]]] = None,
    defaults: t.Optional[t.Mapping[str, t.Mapping[str, t.Any]]] = None,
    registered: str = "",
) -> t.Dict[str, t.Dict[str, t.Any]]:
    found: t.Dict[str, t.Dict[str, t.Any]] = {}
    for host in hosts:
        variables = _variables_of(hostvars, host)
        problems: t.Dict[str, str] = {}
        values = {name: _evaluated(variables, name, problems) for name in names}
        closed = {name: _evaluated(variables, name, problems) for name in sealed}
        found[host] = {
            "values": {name: value for name, value in values.items() if value is not _MISSING},
            "sealed": [name for name, value in closed.items() if value is not _MISSING and _has_a_value(value)],
            "problems": problems,
            "defaults": _defaults_of(variables.get("group_names", ()), roles or {}, defaults or {}),
            **_observed(variables.get(registered) or {}),
        }
    return found


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Dict[str, t.Dict[str, t.Any]]]]:
        return {"platform_hosts": platform_hosts}
