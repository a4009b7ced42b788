"""verify.yml proves a platform that is whole, and names what is broken, with a report either way."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.lab.eventually import widened
from tests.lab.handle import ROOT, Lab, playbook
from tests.lab.measurements import record
from tests.lab.recap import changed_hosts

REPORT = ROOT / "inventories" / "lab" / ".state" / "report.json"
LIMIT_SECONDS = 10
AWAY_SECONDS = 15

pytestmark = pytest.mark.usefixtures("whole_platform")


@pytest.mark.either_engine
@pytest.mark.soak(runs=3)
def test_a_whole_platform_is_proven_quickly_and_nothing_is_changed() -> None:
    begin = time.monotonic()
    done = playbook("verify.yml")
    seconds = time.monotonic() - begin
    assert done.returncode == 0, done.stdout[-3000:]
    assert changed_hosts(done.stdout) == {}
    report = json.loads(REPORT.read_text())
    assert report["passed"] is True
    for verdict in report["verdicts"]:
        assert f"ok     {verdict['name']}: " in done.stdout
    assert str(REPORT) in done.stdout
    assert (REPORT.parent / "report.html").exists()
    record("verify", seconds, "s", LIMIT_SECONDS, what="verify.yml on a whole platform")
    assert seconds <= widened(LIMIT_SECONDS)


@pytest.mark.either_engine
def test_an_instance_that_is_down_fails_the_proof_by_its_name(lab: Lab) -> None:
    lab.on("app2", "systemctl stop tenant-app@3002")
    try:
        done = playbook("verify.yml", "--extra-vars", "verify_timeout_seconds=2")
    finally:
        lab.on("app2", "systemctl start tenant-app@3002")
    assert done.returncode != 0
    report = json.loads(REPORT.read_text())
    names = [
        "backends_in_rotation_from_lb1",
        "backends_in_rotation_from_lb2",
        "every_instance_answers",
        "instances_ready_from_lb1",
        "instances_ready_from_lb2",
    ]
    assert sorted(report["failed"]) == names
    for name in names:
        assert re.search(rf"- {name}: .*app2-3002", done.stdout)
    assert f"5 of {report['checks']} checks failed" in done.stdout


@pytest.mark.soak(runs=3)
def test_a_balancer_without_power_is_found_out_quickly(lab: Lab) -> None:
    lab.verb("kill", "lb2")
    try:
        begin = time.monotonic()
        done = playbook("verify.yml")
        seconds = time.monotonic() - begin
    finally:
        lab.verb("start", "lb2")
    assert done.returncode != 0
    failed = set(json.loads(REPORT.read_text())["failed"])
    assert {"host_reachable_lb2", "every_balancer_serves", "one_virtual_ip_holder"} <= failed
    assert not {"every_instance_answers", "backends_in_rotation_from_lb1"} & failed
    record("verify_balancer_away", seconds, "s", AWAY_SECONDS, what="verify.yml with a balancer without power")
    assert seconds <= widened(AWAY_SECONDS)
