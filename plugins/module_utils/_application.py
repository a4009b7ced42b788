# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the instances of an application by what each answers at its own address."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint, Response, get, problem
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

ANSWERED_BY = "x-served-by"
_AT_ONCE = 16


class Instance(t.NamedTuple):
    name: str
    address: str
    port: int


def instances_of(hosts: t.Iterable[t.Tuple[str, str, t.Sequence[int]]]) -> t.List[Instance]:
    """The instances on hosts that are given by name, address and ports, with the names that the role gives them.

    Neighbours in the list are on different hosts: a balancer that takes them in turn and meets a dead host then tries another host next,
    not the dead one's other instance.
    """
    placed = [
        (position, Instance(f"{host}-{port}", address, int(port)))
        for host, address, ports in hosts
        for position, port in enumerate(ports)
    ]
    return [instance for _position, instance in sorted(placed, key=lambda pair: pair[0])]


Probe = t.Callable[[Instance], Response]


def probe_over_http(path: str, timeout_seconds: float) -> Probe:
    return lambda instance: get(Endpoint(instance.address, instance.port, instance.address, timeout_seconds), path)


def readiness_check(seen_from: str) -> Check:
    place = f", seen from {seen_from}" if seen_from else ""
    suffix = f"_from_{''.join(c if c.isalnum() else '_' for c in seen_from.lower())}" if seen_from else ""
    return Check(1, f"instances_ready{suffix}", f"Every instance of the application is ready{place}")


def fault_of(instance: Instance, answer: t.Union[Response, OSError]) -> str:
    """Why this instance is not ready, or an empty text when it is."""
    if isinstance(answer, OSError):
        return problem(answer)
    if not answer.good:
        return f"answered {answer.status}"
    name = answer.headers.get(ANSWERED_BY, instance.name)
    return "" if name == instance.name else f"answered as {name}"


def judge_readiness(check: Check, answers: t.Mapping[Instance, t.Union[Response, OSError]]) -> Verdict:
    faults = {instance: fault_of(instance, answer) for instance, answer in answers.items()}
    evidence = {instance.name: fault or "ready" for instance, fault in faults.items()}
    bad = [
        f"{instance.name} ({instance.address}:{instance.port}) {fault}" for instance, fault in faults.items() if fault
    ]
    if not answers:
        return check.fails("no instance was named, so nothing serves the application; list its instances")
    if bad:
        return check.fails(
            f"{len(bad)} of {len(answers)} instances not ready: {', '.join(bad)}; read the instance's journal on its host",
            instances=evidence,
        )
    return check.passes(f"{len(answers)} of {len(answers)} instances answer 2xx", instances=evidence)


def check_readiness(check: Check, instances: t.Sequence[Instance], probe: Probe) -> Verdict:
    """Ask all instances at once, so that hung ones cost one time limit together."""

    def answer(instance: Instance) -> t.Union[Response, OSError]:
        try:
            return probe(instance)
        except OSError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return judge_readiness(check, dict(zip(instances, pool.map(answer, instances))))


def application_checks(options: t.Mapping[str, t.Any]) -> t.List[t.Callable[[], Verdict]]:
    """The check of all instances, from the options of the module application_check."""
    instances = [Instance(**instance) for instance in options["instances"]]
    probe = probe_over_http(options["path"], options["request_timeout_seconds"])
    check = readiness_check(options["seen_from"])
    return [lambda: check_readiness(check, instances, probe)]
