"""h2load, an outside client: how many requests a second a way takes, and how long each takes at a rate that is given."""

from __future__ import annotations

import math
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_CONNECTIONS = 32
# h2load looks every 10 ms at most what a connection has to send: one that is to send more sends in bursts.
_MOST_PER_CONNECTION = 50
_WARM_UP_SECONDS = 1
# It would wait for a connection that is lost as long as nobody ends it.
_SILENCE_SECONDS = 5
_LEEWAY_SECONDS = 30


@dataclass(frozen=True)
class Way:
    """How requests go: each URL gets its share of them, where it says or at an address that is given."""

    name: str
    urls: Sequence[str]
    connect_to: str = ""

    def commands(self, connections: int, *options: str) -> Iterable[list[str]]:
        connect = [f"--connect-to={self.connect_to}"] if self.connect_to else []
        for url in self.urls:
            clients = f"--clients={connections // len(self.urls)}"
            silence = f"--connection-inactivity-timeout={_SILENCE_SECONDS}"
            yield ["h2load", "--h1", clients, silence, *connect, *options, url]


def most_per_second(way: Way, seconds: int) -> float:
    """Requests a second when each connection sends the next one as soon as it has its answer."""
    options = (f"--duration={seconds}", f"--warm-up-time={_WARM_UP_SECONDS}")
    outputs = _run(way.commands(_CONNECTIONS, *options), seconds)
    return sum(float(_found(r"finished in [^,]+, ([\d.]+) req/s", output)[0]) for output in outputs)


def latencies(way: Way, per_second: float, seconds: int) -> list[float]:
    """The milliseconds of each request at a steady rate, whatever the answers take.

    A connection sends at its own times: they are opened one after the other, so that requests come evenly and not in bursts.
    """
    share = math.ceil(per_second / _MOST_PER_CONNECTION / len(way.urls))
    connections = share * len(way.urls)
    rate = per_second / connections
    options = (
        f"--requests={share * int(rate * (seconds + _WARM_UP_SECONDS))}",
        f"--rps={rate}",
        "--rate=1",
        f"--rate-period={max(1, round(1000 / rate / share))}ms",
    )
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder) / str(number) for number in range(len(way.urls))]
        commands = [
            [*command[:-1], f"--log-file={log}", command[-1]]
            for command, log in zip(way.commands(connections, *options), logs, strict=True)
        ]
        _run(commands, seconds)
        rows = [[int(cell) for cell in line.split("\t")] for log in logs for line in log.read_text().splitlines()]
    begin = min(sent for sent, _, _ in rows) + _WARM_UP_SECONDS * 1_000_000
    return [taken / 1000 for sent, _, taken in rows if sent >= begin]


def _run(commands: Iterable[list[str]], seconds: int) -> list[str]:
    """Run them all at once; each request must have been answered well."""
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    try:
        outputs = [process.communicate(timeout=seconds + _LEEWAY_SECONDS)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    for output in outputs:
        done, failed, errored, timed_out = _found(
            r"requests: \d+ total, \d+ started, (\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored, (\d+) timeout",
            output,
        )
        (good,) = _found(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", output)
        assert (failed, errored, timed_out) == ("0", "0", "0"), output
        assert int(good) >= int(done) > 0, output
    return outputs


def _found(pattern: str, output: str) -> tuple[str, ...]:
    found = re.search(pattern, output)
    assert found, output
    return found.groups()
