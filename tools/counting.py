"""How many tests a step ran, read from what it printed."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PYTEST_END = re.compile(r"(?m)^=* ?(?P<counts>\d+ [a-z]+(?:, \d+ [a-z]+)*) in [\d.]+s")
_PYTEST_COUNT = re.compile(r"(\d+) ([a-z]+)")
_PYTEST_RESULTS = {"passed": "passed", "skipped": "skipped", "xfailed": "skipped"} | dict.fromkeys(
    ("failed", "error", "errors", "xpassed"), "failed"
)
_NODE_END = re.compile(r"# (pass|fail|skipped) (\d+)")
_NODE_RESULTS = {"pass": "passed", "fail": "failed", "skipped": "skipped"}
_SANITY_BEGUN = re.compile(r"(?m)^Running sanity test")
_SANITY_FAILED = re.compile(r"The (\d+) sanity test\(s\) listed below")


@dataclass(frozen=True)
class Counts:
    """Numbers of tests by result."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        """The plain closing line."""
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


def one_check(_log: str, succeeded: bool) -> Counts:
    """Count a linter as one test."""
    return Counts(passed=1) if succeeded else Counts(failed=1)


def preparation(_log: str, succeeded: bool) -> Counts:
    """Count nothing for what only prepares, unless it fails."""
    return Counts() if succeeded else Counts(failed=1)


def pytest_tests(log: str, succeeded: bool) -> Counts:
    """Add up every closing line of pytest; a step that exited well and yet ran no test has failed."""
    total = Counts()
    for end in _PYTEST_END.finditer(log):
        for number, result in _PYTEST_COUNT.findall(end["counts"]):
            if result in _PYTEST_RESULTS:
                total += Counts(**{_PYTEST_RESULTS[result]: int(number)})
    accounted_for = total.failed or (succeeded and total.passed)
    return total if accounted_for else total + Counts(failed=1)


def node_tests(log: str, succeeded: bool) -> Counts:
    """Add up every closing line of node's test runner; a step that exited well and yet ran no test has failed."""
    total = Counts()
    for result, number in _NODE_END.findall(log):
        total += Counts(**{_NODE_RESULTS[result]: int(number)})
    return total if total.failed or (succeeded and total.passed) else total + Counts(failed=1)


def sanity_tests(log: str, succeeded: bool) -> Counts:
    """Count ansible-test's sanity tests, each of which it names as it begins."""
    begun = len(_SANITY_BEGUN.findall(log))
    if succeeded and begun:
        return Counts(passed=begun)
    found = _SANITY_FAILED.search(log)
    failed = int(found[1]) if found else 1
    return Counts(passed=max(begun - failed, 0), failed=failed)
