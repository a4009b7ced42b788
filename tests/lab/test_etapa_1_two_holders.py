"""Two balancers hold the address at once, because they do not hear each other: it is seen at once, and clients are served all the while."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.lab.eventually import eventually, lasting, widened
from tests.lab.handle import Lab
from tests.lab.load import running_load
from tests.lab.measurements import record
from tests.lab.outage import probing
from tests.lab.parameters import others_in_soak_only
from tests.lab.persistent_load import PersistentLoad
from tests.lab.target import Target
from tests.lab.unnoticed import REQUESTS, assert_nobody_noticed
from tests.lab.vip_watch import watching

HOLDER, OTHER = "lb1", "lb2"
FAULT_SECONDS = 15.0
DETECTED_SECONDS = 5.0
RESOLVED_SECONDS = 2.0
OUTAGE_SECONDS = 2.0
SERVICE = "escala-virtual-ip-witness"

FAULTS = {
    "balancers_parted": (("cut", HOLDER, OTHER), ("heal",), "the link between the balancers cut"),
    "holder_frozen": (("freeze", HOLDER), ("thaw", HOLDER), "the balancer that holds the address frozen"),
}


def states(lab: Lab, witnesses: list[str]) -> dict[str, str]:
    """What each witness has for people who look at its service, without what follows the first word."""
    shown = {host: lab.on(host, f"systemctl show --property=StatusText --value {SERVICE}") for host in witnesses}
    return {host: text.partition(":")[0] for host, text in shown.items()}


def errors(lab: Lab, host: str, since: float) -> list[tuple[float, str]]:
    """The errors in the witness's journal since a moment, with their times."""
    journal = lab.on(host, f"journalctl --unit {SERVICE} --priority err --output json --since @{since:.3f}")
    entries = [json.loads(line) for line in journal.splitlines()]
    return [(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, entry["MESSAGE"]) for entry in entries]


@pytest.mark.either_engine
@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=3)
@pytest.mark.parametrize("name", others_in_soak_only(FAULTS))
@pytest.mark.haproxy_in_soak_only
def test_two_holders_are_seen_at_once_and_clients_are_served(lab: Lab, target: Target, output: Path, name: str) -> None:
    begin_fault, end_fault, what = FAULTS[name]
    witnesses = lab.group("app_servers")
    lab.make_holder(HOLDER, target.vip)
    eventually("the witnesses see one holder", lambda: set(states(lab, witnesses).values()) == {"one"}, within=10)
    balancers = {name: facts["pid"] for name, facts in lab.hosts().items() if "load_balancers" in facts["groups"]}

    with (
        running_load(target, requests=REQUESTS, save_to=output / "load.json", kind=PersistentLoad) as load,
        watching(target.vip, balancers, [HOLDER]) as watch,
        probing(target) as probe,
    ):
        eventually("the load is steady", lambda: load.result.requests > REQUESTS // 5, within=30)
        fault_at = time.time()
        lab.verb(*begin_fault)
        eventually("there are two holders", lambda: len(lab.holders(target.vip)) == 2, within=5)
        eventually(
            "both witnesses see them", lambda: set(states(lab, witnesses).values()) == {"two"}, within=DETECTED_SECONDS
        )
        lasting(
            "there are two holders",
            lambda: len(lab.holders(target.vip)) == 2,
            seconds=fault_at + FAULT_SECONDS - time.time(),
        )
        over_at = time.time()
        lab.verb(*end_fault)
        eventually("one holder is left", lambda: len(lab.holders(target.vip)) == 1, within=RESOLVED_SECONDS)
        eventually("both witnesses see it", lambda: set(states(lab, witnesses).values()) == {"one"}, within=5)
        # What clients must find again after the second move belongs to the same outage.
        probe.wait_until_settled()
        probe.wait_until_settled()

    both_at = next(hold.since for hold in watch.holds() if hold.host == OTHER)
    seen = {host: errors(lab, host, fault_at) for host in witnesses}
    for host, found in seen.items():
        assert [HOLDER in text and OTHER in text for _, text in found] == [True], f"{host} wrote {found}"
    detected = max(moment for found in seen.values() for moment, _ in found) - both_at
    resolved = max(hold.until for hold in watch.holds() if hold.until < time.time() - 1) - over_at
    outage = probe.outage(fault_at)
    print(f"{what}: the address was held by {watch}")
    record(f"{name}_detected", detected, "s", DETECTED_SECONDS, what=f"{what}: two holders reported by every witness")
    record(f"{name}_resolved", resolved, "s", RESOLVED_SECONDS, what=f"{what}: one holder after the fault ended")
    record(f"{name}_outage", outage, "s", OUTAGE_SECONDS, what=f"{what}: no new client served for")
    assert detected <= widened(DETECTED_SECONDS)
    assert resolved <= widened(RESOLVED_SECONDS)
    assert outage <= widened(OUTAGE_SECONDS)
    assert_nobody_noticed(load.result, name, what)
