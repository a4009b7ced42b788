# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a service run with what is on disk, whoever wrote it and however that run ended."""

from __future__ import annotations

import typing as t

from ansible_collections.escala.ha.plugins.module_utils._rolling import Source

PROPERTIES = ("ActiveState", "UnitFileState", "NeedDaemonReload", "StateChangeTimestampMonotonic")


class Service(t.NamedTuple):
    """What systemd says of a service; `loaded_at`, its last start or reload, is on the clock that the files' times are on."""

    active: bool
    enabled: bool
    unit_changed: bool
    loaded_at: float


class Step(t.NamedTuple):
    """One call of systemctl and the reason for it."""

    verb: str
    reason: str


def parse_service(shown: str, now: float, monotonic_now: float) -> Service:
    """The service in what `systemctl show` wrote of it."""
    facts = dict(line.partition("=")[::2] for line in shown.splitlines())
    changed = int(facts.get("StateChangeTimestampMonotonic") or 0) / 1e6
    return Service(
        active=facts.get("ActiveState") == "active",
        enabled=facts.get("UnitFileState") == "enabled",
        unit_changed=facts.get("NeedDaemonReload") == "yes",
        loaded_at=now - (monotonic_now - changed),
    )


def plan(service: Service, sources: t.Sequence[Source]) -> t.List[Step]:
    """What to do, in order: a service that runs is reloaded and never restarted, one that does not is started."""
    steps = []
    if service.unit_changed:
        steps.append(Step("daemon-reload", "its unit changed on disk"))
    elif not service.active:
        # systemd may not have seen a drop-in yet whose folder is new (252 does not), and would start the unit without it.
        steps.append(Step("daemon-reload", "what is new on disk is part of it from its first start"))
    if not service.enabled:
        steps.append(Step("enable", "it would not start at boot"))
    newest = max(sources, key=lambda source: source.changed_at)
    if not service.active:
        steps.append(Step("start", "it does not run"))
    elif service.loaded_at < newest.changed_at:
        steps.append(Step("reload", f"it has run since before {newest.path} changed"))
    return steps


def loads(steps: t.Iterable[Step]) -> bool:
    """Whether the steps have the service read its configuration, which is then to be checked before."""
    return any(step.verb in ("start", "reload") for step in steps)
