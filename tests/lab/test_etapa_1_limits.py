"""A client that asks for more than it may gets what it may, and is told so beyond; one that does not is never refused."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.lab.edge import Connection
from tests.lab.eventually import eventually
from tests.lab.handle import Lab
from tests.lab.measurements import ENGINE
from tests.lab.target import Target
from tests.lab.test_etapa_1_throughput import BALANCER, switch

PER_SECOND, BURST = 20, 40
MODEST, GREEDY = 15, 100
SECONDS = 8


@pytest.fixture
def _limits_back(whole_platform: None) -> Iterator[None]:
    yield
    switch(ENGINE)


def statuses(target: Target, rate: float) -> Counter[int]:
    """What the requests of a while were answered, sent at a steady rate."""
    found: Counter[int] = Counter()
    connection = Connection(target, timeout=10)
    begun = time.monotonic()
    for number in range(round(rate * SECONDS)):
        due = begun + number / rate
        eventually("the next one is due", lambda: time.monotonic() >= due, within=5, every=0.002)  # noqa: B023  looked at at once
        connection.request("GET", "/health/live")
        answer = connection.getresponse()
        answer.read()
        found[answer.status] += 1
    connection.close()
    return found


@pytest.mark.either_engine
@pytest.mark.usefixtures("_limits_back")
def test_who_asks_too_much_gets_what_it_may_and_429_beyond(lab: Lab, target: Target) -> None:
    switch(
        ENGINE,
        load_balancer_requests_per_second_per_client=PER_SECOND,
        load_balancer_request_burst_per_client=BURST,
    )
    lab.make_holder(BALANCER, target.vip)
    modest = statuses(target, MODEST)
    assert set(modest) == {200}, modest
    greedy = statuses(target, GREEDY)
    assert set(greedy) == {200, 429}, greedy
    allowed = PER_SECOND * SECONDS + BURST
    assert 0.7 * allowed <= greedy[200] <= 1.5 * allowed, greedy
    # What was refused is not held against it.
    again = statuses(target, MODEST)
    assert again[200] >= 0.9 * again.total(), again
