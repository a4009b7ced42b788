"""The renewal's timer under a real systemd: a host of the lab is the controller, as a user of its own has it, and the unit's sandbox is in force."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.certificates import served_at
from tests.lab.controller import CHECKOUT, HOME, UNIT, VAULT_PASSWORD_FILE, Controller, installed_controller
from tests.lab.eventually import eventually
from tests.lab.handle import ROOT, Lab
from tests.lab.load import running_load
from tests.lab.recap import changed_hosts
from tests.lab.target import Target
from tests.lab.test_certificate_own import from_the_platform_s_own_authority, renewal_is_due, serials

pytestmark = [pytest.mark.soak_only, pytest.mark.soak(runs=1), pytest.mark.usefixtures("_timer")]

# No balancer and no instance is on it.
CONTROLLER = "single1"
# Time enough to install the timer before its moment comes.
AHEAD_SECONDS = 30
# A timer fires within a minute of its moment (AccuracySec).
STARTS_SECONDS = AHEAD_SECONDS + 90
RUN_SECONDS = 300
# A request every 25 ms, which leaves the cores to the run.
LIGHT = 40.0


@pytest.fixture(scope="module")
def controller(lab: Lab) -> Iterator[Controller]:
    with installed_controller(lab, CONTROLLER) as controller:
        yield controller


@pytest.fixture
def _timer(whole_platform: None, lab: Lab, target: Target, controller: Controller) -> Iterator[None]:
    """A renewal that is not due, and a timer that is far off; afterwards the certificates are this controller's again, and as long as usual."""
    controller.set_variables("load_balancers")
    controller.install_timer()
    yield
    # One of which the controller has no copy is signed anew.
    for copy in (ROOT / "inventories/lab/.state/pki/issued").glob("*-edge.crt"):
        copy.unlink()
    from_the_platform_s_own_authority(lab, target)


def make_due(controller: Controller, target: Target) -> None:
    """Have the balancers' certificates end too soon for the controller's inventory."""
    _, variables = renewal_is_due(served_at(target.vip, target.server_name, target.ca_file))
    controller.set_variables("load_balancers", **json.loads(variables))


def as_the_kernel_sees(controller: Controller) -> str:
    """The run's rights and mounts, as soon as its process is what the unit starts, and no longer systemd on the way there."""
    process = controller.unit().process
    if not process:
        return ""
    files = " ".join(f"/proc/{process}/{name}" for name in ("comm", "status", "mountinfo"))
    said = controller.run(f"cat {files}", check=False).stdout.decode()
    return said if said.startswith("ansible-playboo") else ""


def test_the_timer_renews_by_itself_in_its_sandbox_and_nobody_notices(
    lab: Lab, target: Target, controller: Controller, output: Path
) -> None:
    before = serials(lab, target, target.ca_file)
    make_due(controller, target)
    with running_load(target, requests=2_000, rate=LIGHT) as load:
        controller.install_timer(
            renewal_timer_calendar=controller.time_ahead(AHEAD_SECONDS), renewal_timer_random_delay_seconds=0
        )
        assert f"{UNIT}.timer" in controller.run("systemctl list-timers --no-pager").stdout.decode()
        in_force = eventually("it starts by itself", lambda: as_the_kernel_sees(controller), within=STARTS_SECONDS)
        eventually("the run ends", lambda: controller.unit().active != "activating", within=RUN_SECONDS, every=1)
        ended = controller.unit()
        after = serials(lab, target, target.ca_file)
    (output / "journal.txt").write_text(ended.journal)
    assert (ended.active, ended.result) == ("inactive", "success"), ended.journal[-3000:]
    assert {balancer: after[balancer] != before[balancer] for balancer in after} == dict.fromkeys(before, True)
    assert changed_hosts(ended.journal).keys() == set(before)
    load.result.assert_unharmed()

    assert re.findall(r"(?m)^(CapBnd|NoNewPrivs|Seccomp):\s+(\S+)$", in_force) == [
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ]
    mounts = dict(re.findall(r"(?m)^(?:\S+ ){4}(\S+) (r[ow])\b", in_force))
    writable = {where for where, how in mounts.items() if how == "rw" and where.startswith(("/home", "/root"))}
    assert (mounts["/"], writable) == ("ro", {f"{HOME}/.ansible", f"{CHECKOUT}/inventories/lab/.state"})
    # What the run opened ended with it.
    assert controller.run(f"systemctl show {UNIT}.service --property TasksCurrent --value").stdout == b"[not set]\n"

    again = controller.start()
    assert (again.active, again.result) == ("inactive", "success"), again.journal[-3000:]
    assert again.invocation != ended.invocation
    assert changed_hosts(again.journal) == {}
    assert serials(lab, target, target.ca_file) == after


def test_a_balancer_that_the_controller_does_not_reach_fails_the_run_and_the_other_has_its_own(
    lab: Lab, target: Target, controller: Controller, output: Path
) -> None:
    before = serials(lab, target, target.ca_file)
    reached, away = lab.group("load_balancers")
    make_due(controller, target)
    lab.verb("cut", CONTROLLER, away)
    failed = controller.start()
    (output / "journal.txt").write_text(failed.journal)
    assert (failed.active, failed.result) == ("failed", "exit-code")
    assert re.search(rf"(?m)^fatal: \[{away}\]: UNREACHABLE!", failed.journal), failed.journal[-3000:]
    after = serials(lab, target, target.ca_file)
    assert {balancer: after[balancer] != before[balancer] for balancer in after} == {reached: True, away: False}

    lab.verb("heal")
    made_good = controller.start()
    assert (made_good.active, made_good.result) == ("inactive", "success"), made_good.journal[-3000:]
    assert changed_hosts(made_good.journal).keys() == {away}
    last = serials(lab, target, target.ca_file)
    assert {balancer: last[balancer] != before[balancer] for balancer in last} == dict.fromkeys(before, True)
    assert last[reached] == after[reached]


def test_a_vault_s_password_that_went_away_is_named_in_the_journal(
    lab: Lab, target: Target, controller: Controller
) -> None:
    before = serials(lab, target, target.ca_file)
    controller.as_user(f"mv {VAULT_PASSWORD_FILE} {VAULT_PASSWORD_FILE}.away")
    try:
        failed = controller.start()
    finally:
        controller.as_user(f"mv {VAULT_PASSWORD_FILE}.away {VAULT_PASSWORD_FILE}")
    assert (failed.active, failed.result) == ("failed", "exit-code")
    assert f"The vault password file {VAULT_PASSWORD_FILE} was not found" in failed.journal
    assert serials(lab, target, target.ca_file) == before
    assert controller.start().result == "success"


def test_the_run_writes_nowhere_but_where_it_was_told(lab: Lab, target: Target, controller: Controller) -> None:
    before = serials(lab, target, target.ca_file)
    make_due(controller, target)
    controller.install_timer(renewal_timer_writable_directories=[f"{CHECKOUT}/elsewhere"])
    failed = controller.start()
    assert (failed.active, failed.result) == ("failed", "exit-code")
    said = " ".join(failed.journal.split())
    assert ".state/pki/issued'' is not writable by the current user" in said, said[-3000:]
    assert serials(lab, target, target.ca_file) == before
