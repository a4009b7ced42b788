"""What the stories about a balancer's death have in common: a known holder, a probe, a watch, and the limits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.eventually import widened
from tests.lab.handle import Lab
from tests.lab.measurements import record
from tests.lab.outage import probing
from tests.lab.target import Target
from tests.lab.vip_watch import watching

OUTAGE_SECONDS = 2.0
# One advert interval.
OVERLAP_SECONDS = 0.2


@dataclass
class Failover:
    """What clients and the address went through."""

    outage: float
    overlap: float
    holds: str

    def judge(self, name: str, what: str, median_limit: float | None = None) -> None:
        """Record the figures and hold them against their limits."""
        print(f"{what}: the address was held by {self.holds}")
        record(
            f"{name}_outage",
            self.outage,
            "s",
            OUTAGE_SECONDS,
            median_limit=median_limit,
            what=f"{what}: no new client served for",
        )
        record(f"{name}_overlap", self.overlap, "s", OVERLAP_SECONDS, what=f"{what}: two holders of the address for")
        assert self.outage <= widened(OUTAGE_SECONDS)
        assert self.overlap <= widened(OVERLAP_SECONDS)


def fail_over(lab: Lab, target: Target, holder: str, fault: Callable[[], object], output: Path) -> Failover:
    """Make a balancer the holder, put it to the fault, and measure until clients have been served for a while again."""
    lab.make_holder(holder, target.vip)
    balancers = {name: facts["pid"] for name, facts in lab.hosts().items() if "load_balancers" in facts["groups"]}
    with watching(target.vip, balancers, [holder]) as watch, probing(target) as probe:
        fault_at = time.time()
        try:
            fault()
            # What comes late, such as a second move of the address, belongs to the same outage: hence two times.
            probe.wait_until_settled()
            probe.wait_until_settled()
        finally:
            seen = vars(probe) | {"fault_at": fault_at, "address": [vars(change) for change in watch.changes]}
            (output / "failover.json").write_text(json.dumps(seen, indent=1, default=str) + "\n")
    return Failover(probe.outage(fault_at), watch.overlap(), str(watch))
