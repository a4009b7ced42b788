# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL is set to: sizes from a host's memory and cores, and the file that says it."""

from __future__ import annotations

import re
import typing as t

_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?\Z")
_MIB_AT_LEAST = 256


def sizes(memory_mib: int, cores: int, max_connections: int) -> t.Dict[str, t.Any]:
    """Settings for a host that runs nothing else of size. Raises ValueError where there is too little of something.

    A quarter of the memory is PostgreSQL's own cache, as its manual advises, and the rest mostly the kernel's. What sessions may take
    to sort and to join is bounded by another quarter, were all of them to do so at once, and what maintenance takes by a sixteenth.
    """
    if memory_mib < _MIB_AT_LEAST:
        raise ValueError(
            f"a host with {memory_mib} MiB of memory is too small, at least {_MIB_AT_LEAST} MiB are needed"
        )
    if cores < 1 or max_connections < 1:
        raise ValueError(f"there must be a core and a connection, and these are {cores} and {max_connections}")
    return {
        "shared_buffers": f"{memory_mib // 4}MB",
        "effective_cache_size": f"{memory_mib * 3 // 4}MB",
        "work_mem": f"{_between(1024, memory_mib * 1024 // 4 // max_connections, 65536)}kB",
        "maintenance_work_mem": f"{_between(16, memory_mib // 16, 2048)}MB",
        "max_parallel_workers": cores,
        "max_parallel_workers_per_gather": _between(0, cores // 2, 4),
        "max_parallel_maintenance_workers": _between(1, cores // 2, 4),
    }


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))


def rendered(settings: t.Mapping[str, t.Any]) -> str:
    """The lines of a configuration file. Raises ValueError for what could not be one."""
    return "".join(f"{_name(name)} = {_value(name, value)}\n" for name, value in sorted(settings.items()))


def raised(settings: t.Mapping[str, t.Any], least: t.Mapping[str, int]) -> t.Dict[str, t.Any]:
    """The settings, with no value of `least` below it. Raises ValueError for one of its names that is no number."""
    too_low = {name: least[name] for name, value in _numbers(settings, least).items() if value < least[name]}
    return {**settings, **too_low}


def rising(settings: t.Mapping[str, t.Any], least: t.Mapping[str, int]) -> t.Dict[str, int]:
    """Which settings are higher than they were, with what they are to be. Raises ValueError for one that is no number."""
    return {name: value for name, value in _numbers(settings, least).items() if value > least[name]}


def _numbers(settings: t.Mapping[str, t.Any], names: t.Iterable[str]) -> t.Dict[str, int]:
    try:
        return {name: int(settings[name]) for name in names if name in settings}
    except (TypeError, ValueError) as error:
        raise ValueError(f"one of {', '.join(sorted(names))} is no whole number: {error}") from error


def _name(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError(f"{name!r} is no name of a setting; write it in lower case, as in the manual")
    return name


def _value(name: str, value: t.Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str) or "\n" in value:
        raise ValueError(f"{name} is {value!r}, and must be a text of one line, a number, true or false")
    # A backslash begins an escape inside quotes.
    text = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{text}'"
