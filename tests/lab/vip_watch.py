"""Who held the virtual address from when to when, by the one clock of the machine that carries all hosts."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import select
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import IO

# The kernel hands every namespace's news to a listener outside. A listener inside a host would keep that host's
# network alive, with the address still answering, after the host itself was powered off.
_MONITOR = ("ip", "-ts", "-oneline", "monitor", "address", "all-nsid")
_NEWS = re.compile(
    r"\[(?P<when>[0-9T:.-]+)\]\s*\[nsid (?P<namespace>\w+)\]\s*(?P<deleted>Deleted )?.*?\binet (?P<address>[0-9.]+)/"
)


@dataclass(frozen=True)
class Change:
    """A host got an address, or lost it."""

    at: float
    host: str
    holds: bool


@dataclass(frozen=True)
class Hold:
    """A host held the address between two moments."""

    host: str
    since: float
    until: float


def change_from(line: str, address: str, hosts: Mapping[str, str]) -> Change | None:
    """What a line of the monitor says of this address, with the hosts by the numbers of their namespaces."""
    found = _NEWS.search(line)
    if not found or found["address"] != address or found["namespace"] not in hosts:
        return None
    at = datetime.datetime.fromisoformat(found["when"]).astimezone().timestamp()
    return Change(at, hosts[found["namespace"]], not found["deleted"])


def holds(before: Sequence[str], changes: Sequence[Change], since: float, until: float) -> list[Hold]:
    """The times of holding, from who held it at first and what changed then; one that did not end lasts until the end."""
    open_since = dict.fromkeys(before, since)
    found = []
    for change in sorted(changes, key=lambda change: change.at):
        if change.holds:
            open_since.setdefault(change.host, change.at)
        elif change.host in open_since:
            found.append(Hold(change.host, open_since.pop(change.host), change.at))
    found += [Hold(host, begin, until) for host, begin in open_since.items()]
    return sorted(found, key=lambda hold: hold.since)


def overlap_seconds(held: Sequence[Hold]) -> float:
    """For how long two hosts held the address at once; with three at once each pair counts."""
    shared = (
        min(one.until, other.until) - max(one.since, other.since)
        for one, other in combinations(held, 2)
        if one.host != other.host
    )
    return sum(seconds for seconds in shared if seconds > 0)


@dataclass
class Watch:
    """What has been seen of the address so far; the moments are seconds of time.time()."""

    before: list[str]
    since: float
    changes: list[Change] = field(default_factory=list)

    def holds(self) -> list[Hold]:
        return holds(self.before, list(self.changes), self.since, time.time())

    def overlap(self) -> float:
        return overlap_seconds(self.holds())

    def __str__(self) -> str:
        return ", ".join(
            f"{hold.host} {hold.since - self.since:.3f} to {hold.until - self.since:.3f} s" for hold in self.holds()
        )


def namespace_number(host: str) -> str:
    """The number by which the machine's own namespace knows the one of a running host."""
    listing = subprocess.run(
        ["ip", "-oneline", "link", "show", f"vb-{host}"], check=True, capture_output=True, text=True
    ).stdout
    found = re.search(r"link-netnsid (\d+)", listing)
    assert found, f"the link of {host} leads to no namespace: {listing}"
    return found[1]


@contextlib.contextmanager
def watching(address: str, hosts: Mapping[str, int], holders: Sequence[str]) -> Iterator[Watch]:
    """Watch an address on running hosts (with the numbers of their first processes) that some of them hold now.

    A host that is powered off says nothing more: what it held ends with its first process.
    """
    names = {namespace_number(host): host for host in hosts}
    watch = Watch(list(holders), time.time())
    over, stop = os.pipe()
    ends = {os.pidfd_open(process): host for host, process in hosts.items()}
    monitor = subprocess.Popen(_MONITOR, stdout=subprocess.PIPE, text=True, bufsize=1)
    assert monitor.stdout
    threads = [
        threading.Thread(target=_read, args=(monitor.stdout, watch, address, names), name="vip news"),
        threading.Thread(target=_wait_for_ends, args=(dict(ends), over, watch), name="vip ends"),
    ]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        monitor.terminate()
        os.close(stop)
        for thread in threads:
            thread.join()
        monitor.wait()
        monitor.stdout.close()
        for handle in (over, *ends):
            os.close(handle)


def _read(news: IO[str], watch: Watch, address: str, names: Mapping[str, str]) -> None:
    for line in news:
        if change := change_from(line, address, names):
            watch.changes.append(change)


def _wait_for_ends(ends: dict[int, str], over: int, watch: Watch) -> None:
    while True:
        ready, _, _ = select.select([over, *ends], [], [])
        if over in ready:
            return
        for handle in ready:
            watch.changes.append(Change(time.time(), ends.pop(handle), holds=False))
