"""Lines of one's own in the balancers' configuration: a broken one ends at the first host, by its variable's name, and what ran goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.lab.edge import get, instances_that_answer
from tests.lab.handle import Lab, playbook
from tests.lab.measurements import ENGINE
from tests.lab.target import Target

BALANCERS = ["--limit", "load_balancers"]
GOOD = {
    "nginx": "location = /own { return 204; }",
    "haproxy": "http-request return status 204 if { path /own }",
}
CONFIGURATION = {"nginx": "/etc/nginx/nginx.conf", "haproxy": "/etc/haproxy/haproxy.cfg"}


@pytest.fixture
def _as_before() -> Iterator[None]:
    yield
    done = playbook("etapa_1_load_balancer.yml", *BALANCERS)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.either_engine
@pytest.mark.usefixtures("whole_platform", "_as_before")
@pytest.mark.soak_only
def test_a_broken_snippet_ends_at_the_first_balancer_and_a_good_one_serves(
    lab: Lab, target: Target, instances: list[str]
) -> None:
    def state(host: str) -> str:
        return lab.on(
            host, f"sha256sum {CONFIGURATION[ENGINE]}; systemctl show --property=StateChangeTimestampMonotonic {ENGINE}"
        )

    before = {host: state(host) for host in lab.group("load_balancers")}
    broken = {"load_balancer_snippet": "this is no directive;"}
    done = playbook("etapa_1_load_balancer.yml", *BALANCERS, "--extra-vars", json.dumps(broken))
    assert done.returncode != 0
    message = " ".join(done.stdout.split())
    assert "lb1: " in message
    assert "Mend load_balancer_snippet" in message
    assert 'unknown directive "this"' in message or "unknown keyword 'this'" in message
    assert {host: state(host) for host in lab.group("load_balancers")} == before
    assert instances_that_answer(target, 4 * len(instances)) == set(instances)

    done = playbook(
        "etapa_1_load_balancer.yml", *BALANCERS, "--extra-vars", json.dumps({"load_balancer_snippet": GOOD[ENGINE]})
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert get(target, "/own").status == 204
