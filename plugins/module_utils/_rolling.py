# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the instances of a systemd template unit up to date, one after another, each ready before the next."""

from __future__ import annotations

import os
import typing as t
from urllib.parse import urlsplit

from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint, get, problem

PROPERTIES = ("Id", "ActiveState", "UnitFileState", "ExecMainStartTimestampMonotonic")

Systemctl = t.Callable[..., str]
Probe = t.Callable[[str], t.Optional[str]]


class RollError(Exception):
    """An instance did not come up; those after it were not touched."""


class Unit(t.NamedTuple):
    """What systemd says of one unit; `started_at` is on the clock that the files' times are on."""

    name: str
    active: bool
    enabled: bool
    started_at: float


class Source(t.NamedTuple):
    """A file, link or folder that a running instance was made from, and when it last changed."""

    path: str
    changed_at: float


class Plan(t.NamedTuple):
    """What to do with which unit; `restart` says why for each."""

    enable: t.List[str]
    restart: t.Dict[str, str]
    stop: t.List[str]

    @property
    def empty(self) -> bool:
        return not (self.enable or self.restart or self.stop)


class Pace(t.NamedTuple):
    """The time that an instance has to become ready, and the rest after one before the next that runs is stopped."""

    ready_timeout: float
    pause: float
    clock: t.Callable[[], float]
    sleep: t.Callable[[float], None]


def unit_name(template: str, instance: str) -> str:
    return f"{template}@{instance}.service"


def parse_units(shown: str, now: float, monotonic_now: float) -> t.Dict[str, Unit]:
    """The units in what `systemctl show` wrote of several."""
    units = {}
    for block in shown.strip().split("\n\n"):
        facts = dict(line.partition("=")[::2] for line in block.splitlines())
        if facts.get("Id"):
            started = int(facts.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
            units[facts["Id"]] = Unit(
                name=facts["Id"],
                active=facts.get("ActiveState") == "active",
                enabled=facts.get("UnitFileState") == "enabled",
                started_at=now - (monotonic_now - started),
            )
    return units


def units_of(
    template: str, wanted: t.Iterable[str], systemctl: Systemctl, now: float, monotonic_now: float
) -> t.Dict[str, Unit]:
    """The wanted units and every other one of the template that systemd has loaded."""
    listed = systemctl("list-units", "--all", "--plain", "--no-legend", unit_name(template, "*"))
    names = sorted({line.split()[0] for line in listed.splitlines()} | set(wanted))
    return parse_units(systemctl("show", "--property=" + ",".join(PROPERTIES), *names), now, monotonic_now)


def source_at(path: str, may_be_missing: bool) -> Source:
    """What changed last at the path; one that a run in check mode has not written counts as newer than anything."""
    if not os.path.lexists(path):
        if may_be_missing:
            return Source(path, float("inf"))
        raise RollError(f"{path} does not exist, and the instances are made of it")
    found = [path]
    if not os.path.islink(path):
        for folder, _folders, files in os.walk(path):
            found += [folder, *(os.path.join(folder, file) for file in files)]
    # A file that was replaced and one that was removed both change their folder's time.
    return max((Source(name, os.lstat(name).st_mtime) for name in found), key=lambda source: source.changed_at)


def plan(wanted: t.Sequence[str], units: t.Mapping[str, Unit], sources: t.Sequence[Source]) -> Plan:
    """Restart what does not run or is older than a source of it; stop the template's units that are not wanted.

    RollError where all that are wanted are new and others run: whoever sends requests knows only these, and would be left with none.
    """
    enable = [name for name in wanted if name not in units or not units[name].enabled]
    leaving = [name for name, unit in units.items() if name not in wanted and unit.active]
    if leaving and len(enable) == len(wanted):
        raise RollError(
            f"{', '.join(leaving)} run, and of those there would be instead, {', '.join(wanted)}, none was there before:"
            " the balancers know none of them yet; add the new ones in one run and remove the old ones in the next"
        )
    newest = max(sources, key=lambda source: source.changed_at)
    restart = {}
    for name in wanted:
        unit = units.get(name)
        if unit is None or not unit.active:
            restart[name] = "it does not run"
        elif unit.started_at < newest.changed_at:
            restart[name] = f"it is older than {newest.path}"
    return Plan(
        enable=enable,
        restart=restart,
        stop=[name for name, unit in units.items() if name not in wanted and (unit.active or unit.enabled)],
    )


def ready_problem(url: str) -> t.Optional[str]:
    """Why the instance behind the URL is not ready, or None when it answers 2xx."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        answer = get(Endpoint(host, parts.port or 80, host, 5), parts.path)
    except OSError as error:
        return f"{url}: {problem(error)}"
    said = " ".join(answer.body[:400].decode("utf-8", "replace").split())
    return None if answer.good else f"{url} said {answer.status} {said}".rstrip()


def wait_until_ready(name: str, probe: Probe, systemctl: Systemctl, pace: Pace) -> None:
    """Return once the probe finds no problem; raise with the last one when the time is over or systemd has given up."""
    deadline = pace.clock() + pace.ready_timeout
    problem = probe(name)
    while problem is not None:
        if systemctl("show", "--property=ActiveState", "--value", name).strip() == "failed":
            raise RollError(f"{name} has failed and systemd does not start it again: {problem}")
        if pace.clock() >= deadline:
            raise RollError(f"{name} is not ready after {pace.ready_timeout:g} s: {problem}")
        pace.sleep(0.2)
        problem = probe(name)


def roll(
    wanted: t.Sequence[str], units: t.Mapping[str, Unit], todo: Plan, systemctl: Systemctl, probe: Probe, pace: Pace
) -> None:
    """Carry the plan out. Every wanted instance is seen ready, also one that had nothing to be done."""
    if todo.restart or todo.stop:
        systemctl("daemon-reload")
    if todo.enable:
        systemctl("enable", *todo.enable)
    restarted = False
    for name in wanted:
        if name in todo.restart:
            # Balancers may still count the one before as failed: stopping the next right away could leave them with none.
            if restarted and name in units and units[name].active:
                pace.sleep(pace.pause)
            systemctl("restart", name)
            restarted = True
        wait_until_ready(name, probe, systemctl, pace)
    if todo.stop:
        systemctl("disable", "--now", *todo.stop)
