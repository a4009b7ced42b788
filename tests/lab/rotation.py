"""Which instances each balancer has out of rotation, by its own status page, whichever engine it has."""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.lab.handle import Lab
from tests.lab.measurements import ENGINE


def _away_by_nginx(text: str) -> list[str]:
    return [entry["name"] for entry in json.loads(text)["backends"] if not entry["in_rotation"]]


def _away_by_haproxy(text: str) -> list[str]:
    rows = csv.DictReader(text.removeprefix("# ").splitlines())
    servers = [row for row in rows if row["pxname"] == "app" and row["svname"] not in ("BACKEND", "FRONTEND")]
    return [row["svname"] for row in servers if not row["status"].startswith("UP")]


_PAGES = {"nginx": ("/backends", _away_by_nginx), "haproxy": ("/haproxy;csv", _away_by_haproxy)}


def away_from(lab: Lab, balancer: str) -> list[str]:
    """The names that one balancer has out of rotation."""
    path, parse = _PAGES[ENGINE]
    return sorted(
        parse(lab.on(balancer, f"curl --silent --fail --max-time 3 'http://{_address(balancer)}:8405{path}'"))
    )


@functools.cache
def _address(host: str) -> str:
    return str(Lab().hosts()[host]["address"])


def out_of_rotation(lab: Lab) -> dict[str, list[str]]:
    """The names that do not get requests, by the balancer."""
    return {balancer: away_from(lab, balancer) for balancer in lab.group("load_balancers")}


@dataclass
class Watch:
    """What one balancer had out of rotation, with when it was seen and how many answers each instance had given by then."""

    seen: list[tuple[float, frozenset[str], dict[str, int]]] = field(default_factory=list)

    def were_away(self, name: str) -> list[tuple[float, float]]:
        """The times from when to when a backend was out of rotation, as far as they were seen."""
        spans: list[tuple[float, float]] = []
        begun = None
        for moment, away, _answers in self.seen:
            if name in away and begun is None:
                begun = moment
            elif name not in away and begun is not None:
                spans.append((begun, moment))
                begun = None
        return spans

    def answers(self, name: str, since: float, until: float) -> int:
        """How many answers an instance gave between two moments, as far as it was looked at then."""
        counts = [answers.get(name, 0) for moment, _away, answers in self.seen if since <= moment <= until]
        return counts[-1] - counts[0] if counts else 0


@contextlib.contextmanager
def watching_rotation(lab: Lab, balancer: str, answers: Mapping[str, int] | None = None) -> Iterator[Watch]:
    """Look again and again what a balancer has out of rotation, and how many answers there were so far."""
    watch = Watch()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.1):
            with contextlib.suppress(AssertionError, ValueError, KeyError):
                so_far = dict(answers or {})
                watch.seen.append((time.time(), frozenset(away_from(lab, balancer)), so_far))

    thread = threading.Thread(target=look, name="rotation")
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join()
