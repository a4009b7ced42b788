"""Repeating the etapa just after a failover: it finds the address where it is, leaves it there, and changes nothing."""

from __future__ import annotations

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import Lab, playbook
from tests.lab.recap import changed_hosts
from tests.lab.target import Target


@pytest.mark.either_engine
@pytest.mark.usefixtures("whole_platform")
@pytest.mark.haproxy_in_soak_only
def test_the_etapa_changes_nothing_just_after_a_failover(lab: Lab, target: Target) -> None:
    lab.make_holder("lb1", target.vip)
    lab.verb("kill", "lb1")
    eventually("lb2 has taken the address", lambda: lab.holders(target.vip) == ["lb2"], within=5)
    lab.verb("start", "lb1")
    done = playbook("etapa_1_load_balancer.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    assert changed_hosts(done.stdout) == {}
    assert lab.holders(target.vip) == ["lb2"]
