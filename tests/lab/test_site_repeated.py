"""Everything may be run again at any time: it changes nothing, disturbs nobody, and does not take long."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.lab.eventually import eventually, widened
from tests.lab.handle import Lab, playbook
from tests.lab.interrupted import killed_at_the_end
from tests.lab.load import BESIDE_A_RUN, running_load
from tests.lab.measurements import record
from tests.lab.recap import changed_hosts
from tests.lab.target import Target

LIMIT_SECONDS = 60


@pytest.mark.usefixtures("whole_platform")
@pytest.mark.soak(runs=3)
@pytest.mark.soak_only
def test_a_second_run_of_site_changes_nothing() -> None:
    begin = time.monotonic()
    done = playbook("site.yml")
    seconds = time.monotonic() - begin
    assert done.returncode == 0, done.stdout[-3000:]
    assert changed_hosts(done.stdout) == {}
    record("site_repeated", seconds, "s", LIMIT_SECONDS, what="site.yml, a second run")
    assert seconds <= widened(LIMIT_SECONDS)


@pytest.mark.usefixtures("whole_platform")
def test_nobody_notices_a_run_under_load(target: Target) -> None:
    with running_load(target, requests=2_000, rate=BESIDE_A_RUN) as load:
        done = playbook("etapa_1_load_balancer.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    load.result.assert_unharmed()


@pytest.fixture
def _as_before() -> Iterator[None]:
    yield
    assert playbook("etapa_1_load_balancer.yml", "--limit", "load_balancers").returncode == 0


# A killed run is always made good by deploy_app.yml and by etapa 3.
@pytest.mark.soak_only
@pytest.mark.usefixtures("whole_platform", "_as_before")
def test_a_run_that_was_killed_is_made_good_by_the_next(lab: Lab) -> None:
    """Killed just after it changed nginx's configuration: the next run finds the file as it should be, and yet loads it."""
    change = ["--limit", "load_balancers", "--extra-vars", "load_balancer_method=least_conn"]
    written = "grep -c least_conn /etc/nginx/nginx.conf || true"
    with killed_at_the_end("etapa_1_load_balancer.yml", *change):
        eventually("lb1 has the changed file", lambda: lab.on("lb1", written).strip() == "1", within=60, every=0.05)
    done = playbook("etapa_1_load_balancer.yml", *change)
    assert done.returncode == 0, done.stdout[-3000:]
    for balancer in lab.group("load_balancers"):
        # In seconds: when the file changed, and when the service last started or reloaded.
        changed = int(lab.on(balancer, "stat --format %Y /etc/nginx/nginx.conf"))
        loaded = lab.on(balancer, 'date +%s --date "$(systemctl show nginx --property StateChangeTimestamp --value)"')
        assert int(loaded) >= changed, balancer
        assert lab.on(balancer, written).strip() == "1"
