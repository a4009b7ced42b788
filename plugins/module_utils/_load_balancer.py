# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge a load balancer by what its clients get from it."""

from __future__ import annotations

import typing as t
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.escala.ha.plugins.module_utils._application import ANSWERED_BY
from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint, Response, get, problem, unverified
from ansible_collections.escala.ha.plugins.module_utils._load_balancer_edge import check_headers, check_strangers
from ansible_collections.escala.ha.plugins.module_utils._tls import check_certificate, check_versions
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

ROTATION = Check(
    1, "every_instance_answers", "Requests through the virtual address are answered by each instance in turn"
)
BALANCERS = Check(1, "every_balancer_serves", "Each balancer serves at its own address, the ones that stand by too")
REDIRECT = Check(1, "https_redirect", "Plain HTTP is redirected to HTTPS")

DEFAULT_HEADERS = ["Referrer-Policy", "X-Content-Type-Options", "X-Frame-Options"]

# After so many failures in a row nobody is there, and asking on would only take time.
_GIVE_UP_AFTER = 3

Request = t.Callable[[], Response]


class Answers(t.NamedTuple):
    by_instance: t.Dict[str, int]
    failures: t.List[str]

    @property
    def total(self) -> int:
        return sum(self.by_instance.values()) + len(self.failures)


def request_over_tls(endpoint: Endpoint, path: str) -> Request:
    return lambda: get(endpoint, path, unverified())


def collect(request: Request, count: int) -> Answers:
    by_instance: t.Counter[str] = Counter()
    failures: t.List[str] = []
    in_a_row = 0
    for _number in range(count):
        try:
            answer = request()
            fault = "" if answer.good else f"status {answer.status}"
        except OSError as error:
            fault = problem(error)
        if fault:
            failures.append(fault)
            in_a_row += 1
            if in_a_row == _GIVE_UP_AFTER:
                break
        else:
            by_instance[answer.headers.get(ANSWERED_BY, "an instance without a name")] += 1
            in_a_row = 0
    return Answers(dict(sorted(by_instance.items())), failures)


def judge_rotation(answers: Answers, expected: t.Sequence[str]) -> Verdict:
    silent = [name for name in expected if not answers.by_instance.get(name)]
    strangers = [name for name in answers.by_instance if name not in expected]
    evidence = {"requests": answers.total, "answered_by": answers.by_instance, "failures": _counted(answers.failures)}
    if not expected:
        return ROTATION.fails(
            "no instance was named, so none can be expected to answer; list the instances", **evidence
        )
    if answers.failures:
        return ROTATION.fails(
            f"{len(answers.failures)} of {answers.total} requests failed"
            f" ({_sentence(_counted(answers.failures))}), limit is 0; read the balancer's error log",
            **evidence,
        )
    if silent:
        return ROTATION.fails(
            f"{', '.join(silent)} answered none of {answers.total} requests;"
            " see whether the instance is ready and in the balancer's configuration",
            **evidence,
        )
    if strangers:
        return ROTATION.fails(
            f"{', '.join(strangers)} answered and is not in the inventory; run the etapa's playbook to take it out",
            **evidence,
        )
    return ROTATION.passes(f"{answers.total} requests answered by {_sentence(answers.by_instance)}", **evidence)


def check_rotation(request: Request, expected: t.Sequence[str], count: int) -> Verdict:
    # Two rounds, since a balancer with several workers may begin its round in each of them.
    return judge_rotation(collect(request, max(count, 2 * len(expected))), expected)


def check_balancers(requests: t.Mapping[str, Request]) -> Verdict:
    """Ask each balancer at its own address; the failures are of the balancer that has them."""
    with ThreadPoolExecutor(max(1, len(requests))) as pool:
        answers = pool.map(lambda request: collect(request, 1), requests.values())
        failures = {name: answer.failures for name, answer in zip(requests, answers)}
    evidence = {name: faults[0] if faults else "serves" for name, faults in failures.items()}
    bad = [f"{name}: {faults[0]}" for name, faults in failures.items() if faults]
    if bad:
        return BALANCERS.fails(
            f"{len(bad)} of {len(requests)} balancers do not serve ({'; '.join(bad)}); read the error log there",
            balancers=evidence,
        )
    return BALANCERS.passes(f"{' and '.join(requests)} answer 2xx at their own addresses", balancers=evidence)


def judge_redirect(answer: Response, expected: str) -> Verdict:
    location = answer.headers.get("location", "")
    evidence = {"status": answer.status, "location": location, "expected": expected}
    if answer.status not in (301, 302, 307, 308):
        return REDIRECT.fails(f"plain HTTP answered {answer.status}, expected a redirect to {expected}", **evidence)
    if location != expected:
        return REDIRECT.fails(f"plain HTTP was sent to {location or 'nowhere'}, expected {expected}", **evidence)
    return REDIRECT.passes(f"{answer.status} to {location}", **evidence)


def check_redirect(plain: Endpoint, https_port: int, path: str) -> Verdict:
    port = "" if https_port == 443 else f":{https_port}"
    try:
        answer = get(plain, path)
    except OSError as error:
        return REDIRECT.fails(
            f"no answer to plain HTTP at {plain.address}:{plain.port}: {problem(error)}; see whether a balancer listens there"
        )
    return judge_redirect(answer, f"https://{plain.server_name}{port}{path}")


def load_balancer_checks(options: t.Mapping[str, t.Any], now: t.Callable[[], float]) -> t.List[t.Callable[[], Verdict]]:
    """All checks of a load balancer, from the options of the module load_balancer_check."""

    def endpoint(address: str, port: int) -> Endpoint:
        return Endpoint(address, port, options["server_name"], options["request_timeout_seconds"])

    path = options["path"]
    secure = endpoint(options["address"], options["port"])
    plain = endpoint(options["address"], options["http_port"])
    balancers = {
        name: request_over_tls(endpoint(address, options["port"]), path)
        for name, address in options["balancers"].items()
    }
    checks = [
        lambda: check_rotation(request_over_tls(secure, path), options["instances"], options["requests"]),
        lambda: check_certificate(secure, options["ca_file"], options["certificate_days_left"], now()),
        lambda: check_versions(secure),
        lambda: check_redirect(plain, secure.port, path),
        lambda: check_headers(secure, ("/", path), options["response_headers"], options["hsts_seconds"]),
        lambda: check_strangers(secure, plain, path),
    ]
    if balancers:
        checks.append(lambda: check_balancers(balancers))
    return checks


def _counted(texts: t.Iterable[str]) -> t.Dict[str, int]:
    return dict(Counter(texts))


def _sentence(counts: t.Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
