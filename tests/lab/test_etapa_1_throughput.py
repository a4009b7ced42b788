"""What a balancer costs: requests a second and the slowest hundredth, with TLS through either engine.

Beside the instances' own, and beside a hop that does nothing: one more process on a machine's few cores is waited for, whatever it does.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.lab import measurements
from tests.lab.bare_hop import bare_hops
from tests.lab.eventually import lasting
from tests.lab.h2load import Way, latencies, most_per_second
from tests.lab.handle import Lab, playbook
from tests.lab.measurements import record
from tests.lab.target import Target

ADDED_P99_MILLISECONDS = 2.0
ENGINES = ("nginx", "haproxy")
# The balancer that is measured, the same for both engines.
BALANCER = "lb1"
# The cheapest route, so that the balancer is the largest part of the work.
ROUTE = "/health/live"
ROUNDS, SECONDS = 3, 5


def switch(engine: str, **variables: int) -> None:
    """Make the balancer over with this engine, as the environment variable of the inventory would."""
    choice = json.dumps({"load_balancer_engine": engine, **variables})
    done = playbook("etapa_1_load_balancer.yml", "--limit", BALANCER, "--extra-vars", choice)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


@pytest.fixture
def _engine_back(whole_platform: None) -> Iterator[None]:
    yield
    switch(measurements.ENGINE)


def instances(lab: Lab) -> list[str]:
    """Where each instance listens, `address:port`."""
    hosts = lab.hosts()
    addresses = [hosts[host]["address"] for host in lab.group("app_servers")]
    return [f"{address}:{port}" for address in addresses for port in lab.variables()["lab_app_ports"]]


def plain(name: str, places: list[str]) -> Way:
    return Way(name, [f"http://{place}{ROUTE}" for place in places])


def p99(milliseconds: list[float]) -> float:
    return statistics.quantiles(milliseconds, n=100)[98]


def cores_in_use() -> Iterator[float]:
    """The share of the machine's time that was used since it was asked last: hosts, client and all else have the same cores."""
    ticks = idle = 0
    while True:
        spent = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        yield 1 - (spent[3] + spent[4] - idle) / max(1, sum(spent) - ticks)
        ticks, idle = sum(spent), spent[3] + spent[4]


def measure(direct: Way, hop: Way, through: Way) -> dict[str, list[float]]:
    """Each way in turn, since all share the machine with whatever else it does.

    Half load is half of the requests/s that go through, sent at even times by connections that do not wait for one another.
    """
    found: dict[str, list[float]] = {}

    def keep(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for way in (direct, hop, through):
        most_per_second(way, 2)
    for _ in range(ROUNDS):
        for way in (direct, through):
            keep(f"{way.name} requests/s", most_per_second(way, SECONDS))
    half = statistics.median(found["through requests/s"]) / 2
    in_use = cores_in_use()
    for _ in range(ROUNDS):
        for way in (direct, hop, through):
            next(in_use)
            taken = latencies(way, half, SECONDS)
            keep(f"{way.name} cores in use", next(in_use))
            keep(f"{way.name} p50 ms", statistics.median(taken))
            keep(f"{way.name} p99 ms", p99(taken))
    return found


def record_all(engine: str, median: Mapping[str, float]) -> float:
    """Record what an engine costs; what it adds to the p99 of a hop that does nothing is returned, in ms."""
    record(
        "throughput",
        median["through requests/s"] / median["direct requests/s"],
        "times",
        what="requests/s through the balancer with TLS, of the instances' own",
        of=engine,
    )
    record(
        "added_p99_direct",
        median["through p99 ms"] - median["direct p99 ms"],
        "ms",
        ADDED_P99_MILLISECONDS,
        what="p99 at half load: added by the balancer with TLS, beside the direct way",
        of=engine,
    )
    added = median["through p99 ms"] - median["hop p99 ms"]
    record(
        "added_p99_hop",
        added,
        "ms",
        ADDED_P99_MILLISECONDS,
        what="p99 at half load: added by the balancer with TLS, beside a hop that does nothing",
        of=engine,
    )
    return added


@pytest.mark.usefixtures("_engine_back")
@pytest.mark.soak_only
@pytest.mark.soak(runs=3)
def test_the_balancer_adds_less_than_2_ms_to_what_a_hop_that_does_nothing_takes(
    lab: Lab, target: Target, output: Path
) -> None:
    medians = {}
    direct = plain("direct", instances(lab))
    # As many clients as the direct way has: with one, its own work, all the TLS, would pass for the balancer's.
    through = Way("through", [target.base_url + ROUTE] * len(direct.urls), connect_to=f"{target.vip}:443")
    for engine in ENGINES:
        # The load has one address, and is many times what the lab's inventory lets one client do.
        switch(
            engine, load_balancer_requests_per_second_per_client=100000, load_balancer_request_burst_per_client=100000
        )
        lab.make_holder(BALANCER, target.vip)
        lasting(f"{BALANCER} holds the address", lambda: lab.holders(target.vip) == [BALANCER], seconds=3)
        with bare_hops(instances(lab)) as hops:
            found = measure(direct, plain("hop", hops), through)
        (output / f"{engine}.json").write_text(json.dumps(found, indent=1) + "\n")
        medians[engine] = {name: statistics.median(values) for name, values in found.items()}
    added = {engine: record_all(engine, median) for engine, median in medians.items()}
    record(
        "throughput_beside_nginx",
        medians["haproxy"]["through requests/s"] / medians["nginx"]["through requests/s"],
        "times",
        what="requests/s through the balancer with TLS, of those through nginx",
        of="haproxy",
    )
    # Beside the direct way it is recorded with the same limit: where all share few cores, that is mostly the wait for one of them.
    for engine, milliseconds in added.items():
        assert milliseconds < ADDED_P99_MILLISECONDS, (engine, medians[engine])
