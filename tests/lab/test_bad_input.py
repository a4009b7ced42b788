"""A description with a fault ends early with one clear message, nothing on the hosts has changed, and what ran still serves."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from pathlib import Path

import pytest
import yaml

from tests.lab.edge import instances_that_answer
from tests.lab.eventually import eventually, widened
from tests.lab.handle import ROOT, Lab, playbook
from tests.lab.load import running_load
from tests.lab.target import Target

INVENTORY = ROOT / "inventories" / "lab"
EARLY_SECONDS = 20

pytestmark = pytest.mark.usefixtures("whole_platform")

# All that the etapa's roles write, and when each of their services was started.
_FINGERPRINT = """
cat /proc/sys/kernel/random/boot_id
find /etc /opt /srv /usr/lib/systemd -xdev -not -path '/etc/mtab' -printf '%p %y %m %U %G %s %T@\\n' | sort | sha256sum
systemctl show --property=Id,ActiveEnterTimestampMonotonic,MainPID nginx keepalived 'tenant-app@*'
"""


def fingerprints(lab: Lab) -> dict[str, str]:
    """What must be the same before and after on every host of the etapa."""
    hosts = [*lab.group("load_balancers"), *lab.group("app_servers")]
    return {host: lab.on(host, f"sh -c {shlex.quote(_FINGERPRINT)}") for host in hosts}


def refused(lab: Lab, target: Target, instances: list[str], inventory: Path, *arguments: str) -> str:
    """Run site.yml, which must be refused at once with nothing changed, and return its message in one line."""
    before = fingerprints(lab)
    begin = time.monotonic()
    done = playbook("site.yml", "--inventory", str(inventory / "hosts.yml"), *arguments)
    seconds = time.monotonic() - begin
    assert done.returncode != 0, done.stdout[-3000:]
    assert seconds <= widened(EARLY_SECONDS)
    assert fingerprints(lab) == before
    assert instances_that_answer(target, 4 * len(instances)) == set(instances)
    return " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A copy of the lab's inventory, secrets and authority included, to be broken."""
    # Files in the place of the links to the lab's own, which must not be written through.
    shutil.copytree(INVENTORY, tmp_path / "lab", symlinks=False)
    return tmp_path / "lab"


def put(inventory: Path, group: str, **variables: object) -> None:
    """Set variables of a group, None for one that is taken away."""
    file = inventory / "group_vars" / f"{group}.yml"
    values = yaml.safe_load(file.read_text()) | variables
    file.write_text(yaml.safe_dump({name: value for name, value in values.items() if value is not None}))


def test_every_wrong_or_missing_variable_is_named_before_anything_changes(
    lab: Lab, target: Target, instances: list[str], inventory: Path
) -> None:
    put(inventory, "load_balancers", keepalived_vip="192.0.2.100/24", load_balancer_server_names=None)
    put(inventory, "app_servers", app_ports="3001", app_release_file="/nowhere/app.tar.gz")
    put(inventory, "all/secrets", secret_app_jwt=None)
    message = refused(lab, target, instances, inventory)
    for said in (
        "Nothing was changed. Mend these first:",
        "keepalived_vip = 192.0.2.100/24: lb1 has 10.77.0.11, outside of 192.0.2.0/24;",
        "load_balancer_server_names is not set; set it in group_vars/load_balancers.yml",
        "app_ports = 3001: is not a list of numbers; write it as [3001, 3002]",
        "app_release_file = /nowhere/app.tar.gz: the controller has no such file;",
        "all hosts: secret_app_jwt is not set; run `ansible-playbook playbooks/secrets.yml`",
    ):
        assert said in message
    faults = message.partition("Mend these first")[2].partition("PLAY RECAP")[0]
    assert [host for host in ("lb1", "lb2", "app1", "app2") if host not in faults] == []


def test_a_virtual_address_that_a_balancer_has_is_refused(
    lab: Lab, target: Target, instances: list[str], inventory: Path
) -> None:
    put(inventory, "load_balancers", keepalived_vip="10.77.0.12/24")
    message = refused(lab, target, instances, inventory)
    assert "keepalived_vip = 10.77.0.12/24: is the address of lb2 itself; choose one that no host has" in message


@pytest.mark.parametrize("group", ["load_balancers", "app_servers"])
def test_an_empty_group_is_named(lab: Lab, target: Target, instances: list[str], inventory: Path, group: str) -> None:
    comment, _, data = (inventory / "hosts.yml").read_text().partition("\n")
    hosts = json.loads(data)
    hosts["all"]["children"][group] = {}
    (inventory / "hosts.yml").write_text(f"{comment}\n{json.dumps(hosts)}\n")
    message = refused(lab, target, instances, inventory)
    assert f"inventory: {group} the group has 0 of at least 1 host; name them there in the inventory" in message


def test_a_value_that_a_role_does_not_know_is_refused_by_the_role(
    lab: Lab, target: Target, instances: list[str], inventory: Path
) -> None:
    put(inventory, "load_balancers", load_balancer_method="fastest")
    # The application's hosts would have their turn before them, and this is not about those.
    message = refused(lab, target, instances, inventory, "--limit", "load_balancers")
    assert "value of load_balancer_method must be one of: round_robin, least_conn, got: fastest" in message


def test_an_application_that_never_becomes_ready_stops_at_its_first_instance(
    lab: Lab, target: Target, instances: list[str]
) -> None:
    others = {host: prints for host, prints in fingerprints(lab).items() if host != "app1"}
    broken = {"app_start_command": "/usr/bin/node backend/dist/missing.js", "app_ready_timeout_seconds": 5}
    try:
        with running_load(target, requests=2_000, rate=200) as load:
            done = playbook("etapa_1_load_balancer.yml", "--extra-vars", json.dumps(broken))
        assert done.returncode != 0, done.stdout[-3000:]
        message = " ".join((done.stdout + done.stderr).split())
        assert "tenant-app@3001.service is not ready after 5 s" in message
        assert "Host app1: see `journalctl" in message
        assert {host: prints for host, prints in fingerprints(lab).items() if host != "app1"} == others
        assert load.result.failures == []
        assert instances_that_answer(target, 40) == {name for name in instances if name != "app1-3001"}
    finally:
        mended = playbook("etapa_1_load_balancer.yml", "--limit", "app_servers")
    assert mended.returncode == 0, mended.stdout[-3000:]
    eventually("the instance is back", lambda: "app1-3001" in instances_that_answer(target, 16), within=30)
