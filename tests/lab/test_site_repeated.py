"""Everything may be run again at any time: it changes nothing, disturbs nobody, and does not take long."""

from __future__ import annotations

import re
import time

import pytest

from tests.lab.eventually import widened
from tests.lab.handle import playbook
from tests.lab.load import running_load
from tests.lab.measurements import record
from tests.lab.target import Target

LIMIT_SECONDS = 60


@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=3)
def test_a_second_run_of_site_changes_nothing() -> None:
    begin = time.monotonic()
    done = playbook("site.yml")
    seconds = time.monotonic() - begin
    assert done.returncode == 0, done.stdout[-3000:]
    changes = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", done.stdout, re.MULTILINE)
    assert changes
    assert {host: count for host, count in changes if count != "0"} == {}
    record("site_repeated", seconds, "s", LIMIT_SECONDS, what="site.yml, a second run")
    assert seconds <= widened(LIMIT_SECONDS)


@pytest.mark.usefixtures("whole_platform")
def test_nobody_notices_a_run_under_load(target: Target) -> None:
    with running_load(target, requests=2_000) as load:
        done = playbook("etapa_1_load_balancer.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    assert load.result.failures == []
    assert load.result.lost == []
