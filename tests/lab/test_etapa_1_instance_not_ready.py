"""One instance says that it is not ready, under load: it gets nothing new, no client notices, and it is back soon after it is ready."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.eventually import eventually, widened
from tests.lab.handle import Lab
from tests.lab.load import Result, running_load
from tests.lab.measurements import record
from tests.lab.target import Target
from tests.lab.unnoticed import REQUESTS, assert_nobody_noticed

LEFT_OUT_SECONDS = 2.0
BACK_SECONDS = 5.0
VICTIM = "app1-3001"


class LastAnswer:
    """When an instance was last seen to have given an answer."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._count = result.by_instance[VICTIM]
        self.at = time.time()

    def quiet_for(self) -> float:
        now = time.time()
        if self._result.by_instance[VICTIM] != self._count:
            self._count, self.at = self._result.by_instance[VICTIM], now
        return now - self.at


@pytest.mark.either_engine
@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=3)
@pytest.mark.soak(runs=3)
@pytest.mark.haproxy_in_soak_only
def test_an_instance_that_is_not_ready_gets_nothing_new_and_no_request_fails(
    lab: Lab, target: Target, output: Path
) -> None:
    with running_load(target, requests=REQUESTS, save_to=output / "load.json") as load:
        eventually("the load is steady", lambda: load.result.requests > REQUESTS // 5, within=30)
        begin = in_its_place(lab, "touch /tmp/not-ready")
        last = LastAnswer(load.result)
        eventually(f"{VICTIM} is asked for nothing for 5 s", lambda: last.quiet_for() > 5, within=20, every=0.01)
        left_out = last.at - begin
        answered = load.result.by_instance[VICTIM]
        begin = in_its_place(lab, "rm /tmp/not-ready")
        eventually(f"{VICTIM} answers again", lambda: load.result.by_instance[VICTIM] > answered, within=30, every=0.01)
        back = time.time() - begin
    record(
        "not_ready_left_out", left_out, "s", LEFT_OUT_SECONDS, what="an instance that is not ready: last answer after"
    )
    record("not_ready_back", back, "s", BACK_SECONDS, what="an instance that is ready again: first answer after")
    assert_nobody_noticed(load.result, "not_ready", "an instance not ready under load")
    assert left_out <= widened(LEFT_OUT_SECONDS)
    assert back <= widened(BACK_SECONDS)


def in_its_place(lab: Lab, command: str) -> float:
    """Run a command where the instance is, whose /tmp is its own, and return when that began: all hosts have one clock."""
    host, _, port = VICTIM.rpartition("-")
    process = f"$(systemctl show --property MainPID --value tenant-app@{port})"
    return float(lab.on(host, f"nsenter --target {process} --mount sh -c 'date +%s.%N; {command}'"))
