# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rules of the preflight judge, and what they say."""

from __future__ import annotations

import ipaddress
import re
import typing as t

ADDRESS = "platform_address"
BALANCERS, APPLICATIONS = "load_balancers", "app_servers"
DATA, WITNESSES = "postgres_servers", "postgres_witnesses"
STORAGE = "storage_servers"
# Where uploads go, and what there is to choose.
BACKEND, BACKENDS = "shared_storage_backend", ("nfs", "smb", "minio", "s3", "azure_blob")


class Fault(t.NamedTuple):
    """One thing that is wrong: where, what it is set to, and what to do."""

    host: str
    variable: str
    value: t.Any
    problem: str
    remedy: str

    def __str__(self) -> str:
        shown = "" if self.value is None else f" = {self.value}:"
        return f"{self.host}: {self.variable}{shown} {self.problem}; {self.remedy}"


class Host(t.NamedTuple):
    """What is known of a host.

    `sealed` names what is set but not to be shown, `problems` why something could not be evaluated, `defaults` what the roles
    take where nothing is set. `observed` is what preflight_info saw there, None where it saw nothing for the reason in `absent`.
    """

    name: str
    values: t.Mapping[str, t.Any]
    sealed: t.Collection[str] = ()
    problems: t.Mapping[str, str] = {}
    defaults: t.Mapping[str, t.Any] = {}
    observed: t.Optional[t.Mapping[str, t.Any]] = None
    absent: str = ""

    def has(self, variable: str) -> bool:
        return variable in self.sealed or self.values.get(variable) not in (None, "", [], {})

    def setting(self, variable: str) -> t.Any:
        """What will be in force."""
        value = self.values.get(variable)
        return self.defaults.get(variable) if value is None else value

    def number(self, variable: str) -> t.Optional[float]:
        """What will be in force, None for what is no number: a rule of its own says so."""
        value = self.setting(variable)
        return None if isinstance(value, bool) or not isinstance(value, (int, float)) else value

    def saw(self, what: str) -> t.Any:
        return None if self.observed is None else self.observed.get(what)


class Demands(t.NamedTuple):
    """What a platform must have, group by group."""

    systems: t.Mapping[str, t.Sequence[str]] = {}
    minimum: t.Mapping[str, int] = {}
    required: t.Mapping[str, t.Sequence[str]] = {}
    secrets: t.Sequence[str] = ()
    files: t.Sequence[str] = ()


class Controller(t.NamedTuple):
    """What the controller is asked: whether it has a file, what is in one, and which addresses each of some names has."""

    is_file: t.Callable[[str], bool]
    text_of: t.Callable[[str], str]
    addresses_of: t.Callable[[t.Sequence[str]], t.Mapping[str, t.Collection[str]]]
    now: float


class Platform(t.NamedTuple):
    """The description that is judged, by what is demanded and what the controller knows."""

    groups: t.Mapping[str, t.Sequence[str]]
    hosts: t.Mapping[str, Host]
    demands: Demands
    controller: Controller

    def members(self, group: str) -> t.List[Host]:
        return members(self.groups, self.hosts, group)

    def with_variable(self, variable: str) -> t.List[t.Tuple[Host, t.Any]]:
        return [
            (host, host.values[variable])
            for host in self.hosts.values()
            if variable in host.values and host.has(variable)
        ]


Faults = t.Iterator[Fault]
Rule = t.Callable[[Platform], Faults]


def members(groups: t.Mapping[str, t.Sequence[str]], hosts: t.Mapping[str, Host], group: str) -> t.List[Host]:
    """The hosts of a group that something is known of."""
    return [hosts[name] for name in groups.get(group, ()) if name in hosts]


def address(value: t.Any) -> t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address, None]:
    try:
        return ipaddress.ip_address(str(value))
    except ValueError:
        return None


def whole(value: t.Any) -> t.Optional[int]:
    """A whole number, also one that is written as text, as roles take it; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return value if isinstance(value, int) else int(value) if re.fullmatch(r"[0-9]{1,9}", value) else None


def numbers(value: t.Any) -> t.List[int]:
    """Those parts of a list that are numbers, as far as it is a list at all."""
    parts = value if isinstance(value, (list, tuple)) else ()
    return [part for part in parts if isinstance(part, int) and not isinstance(part, bool)]
