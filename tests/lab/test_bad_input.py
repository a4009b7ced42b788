"""A description with a fault ends early with one clear message, nothing on the hosts has changed, and what ran still serves."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.certificates import Authority
from tests.lab.edge import instances_that_answer
from tests.lab.eventually import eventually, widened
from tests.lab.handle import ROOT, Lab, playbook
from tests.lab.load import BESIDE_A_RUN, running_load
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


def refused(
    lab: Lab, target: Target, instances: list[str], inventory: Path, *arguments: str, name: str = "site.yml"
) -> str:
    """Run a playbook, which must be refused at once with nothing changed, and return its message in one line."""
    before = fingerprints(lab)
    begin = time.monotonic()
    done = playbook(name, "--inventory", str(inventory / "hosts.yml"), *arguments)
    seconds = time.monotonic() - begin
    assert done.returncode != 0, done.stdout[-3000:]
    assert seconds <= widened(EARLY_SECONDS)
    assert fingerprints(lab) == before
    assert instances_that_answer(target, 4 * len(instances)) == set(instances)
    # As YAML writes an apostrophe in a quoted text.
    return " ".join((done.stdout + done.stderr).split()).replace("''", "'")


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


def change_hosts(inventory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the inventory's hosts and groups."""
    comment, _, data = (inventory / "hosts.yml").read_text().partition("\n")
    hosts = json.loads(data)
    change(hosts["all"])
    (inventory / "hosts.yml").write_text(f"{comment}\n{json.dumps(hosts)}\n")


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


@pytest.mark.soak_only
def test_balancers_that_do_not_fit_together_are_refused(
    lab: Lab, target: Target, instances: list[str], inventory: Path
) -> None:
    put(
        inventory,
        "load_balancers",
        keepalived_vip="10.77.0.12/24",
        keepalived_priority=100,
        keepalived_router_id="{{ 50 + groups.load_balancers.index(inventory_hostname) }}",
        load_balancer_engine="caddy",
        load_balancer_upload_servers=[{"name": "legacy1", "address": "legacy1", "port": 8080}],
    )
    put(inventory, "app_servers", app_stop_timeout_seconds=22)
    message = refused(lab, target, instances, inventory)
    for said in (
        "keepalived_vip = 10.77.0.12/24: is the address of lb2 itself; choose one that no host has",
        "lb2: keepalived_priority = 100: is the priority of lb1 too; let them differ",
        "keepalived_router_id = ['50', '51']: differs between hosts that share an address; set the same on each",
        "lb1, lb2: load_balancer_engine = caddy: is unknown; choose one of nginx, haproxy",
        "has no IP address and port; write it as {name: app1-3001, address: 192.0.2.21, port: 3001}",
        "app1, app2: app_stop_timeout_seconds = 22: an instance that drains for 22 s",
    ):
        assert said in message


@pytest.mark.soak_only
def test_one_balancer_alone_cannot_have_a_virtual_address(
    lab: Lab, target: Target, instances: list[str], inventory: Path
) -> None:
    change_hosts(inventory, lambda hosts: hosts["children"]["load_balancers"]["hosts"].pop("lb2"))
    message = refused(lab, target, instances, inventory)
    assert f"lb1: keepalived_vip = {target.vip}/24: only one host would hold it; add a second balancer" in message


_MARK = "/etc/systemd/system/nginx.service.d/escala.conf"
# `lab clock` bends the clock of services, and Ansible is none.
WRONG_CLOCK = "/tmp/wrong-clock"
_WRONG_CLOCK = f"""
echo '#!/bin/sh' > {WRONG_CLOCK}
echo "export LD_PRELOAD=$(ls /usr/lib/*/faketime/libfaketime.so.1) FAKETIME=+30s; exec python3 \\"\\$@\\"" >> {WRONG_CLOCK}
chmod 755 {WRONG_CLOCK}
"""


@pytest.fixture
def intruders(lab: Lab, target: Target) -> Iterator[None]:
    """Programs on ports that the platform is about to be given, a stranger on its new address, and a way that is closed."""
    lab.make_holder("lb2", target.vip)
    for host, port in (("lb1", 8499), ("app1", 3003)):
        lab.on(host, f"systemd-run --quiet --unit intruder python3 -m http.server {port}")
    lab.on("legacy1", "ip address add 10.77.0.99/24 dev host0")
    lab.on("app1", f"sh -c {shlex.quote(_WRONG_CLOCK)}")
    # As if nginx had been there before us, with a configuration of its own.
    lab.on("lb2", f"mv {_MARK} {_MARK}.away")
    lab.verb("cut", "lb1", "app2")
    yield
    lab.verb("heal")
    lab.on("lb2", f"mv {_MARK}.away {_MARK}", check=False)
    lab.on("legacy1", "ip address del 10.77.0.99/24 dev host0", check=False)
    for host in ("lb1", "app1"):
        lab.on(host, f"systemctl stop intruder; rm -f {WRONG_CLOCK}", check=False)


@pytest.mark.usefixtures("intruders")
def test_what_the_hosts_themselves_have_wrong_is_found_before_anything_changes(
    lab: Lab, target: Target, instances: list[str], inventory: Path, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority", "An authority of the customer's")
    expired = authority.issue("expired", ["other.example.com"], days=-0.01)
    another = authority.issue("another", [target.server_name])
    put(
        inventory,
        "load_balancers",
        keepalived_vip="10.77.0.99/24",
        load_balancer_health_port=8499,
        preflight_minimum_memory_mib=1_000_000_000,
        edge_certificate_source="files",
        edge_certificate_file=str(expired.certificate_file),
        edge_certificate_key_file=str(another.key_file),
    )
    put(
        inventory,
        "app_servers",
        app_ports=[3001, 3002, 3003],
        preflight_names=["legacy1", "nowhere.invalid"],
        preflight_minimum_free_mib={"/": 1_000_000_000},
    )
    change_hosts(inventory, lambda hosts: hosts["hosts"]["app1"].update(ansible_python_interpreter=WRONG_CLOCK))
    message = refused(lab, target, instances, inventory)
    for said in (
        "lb1: port 8499 = python3 (intruder.service): has it already, and load_balancer_health_port asks for it;",
        "app1: port 3003 = python3 (intruder.service): has it already, and app_ports asks for it;",
        "lb1, lb2: keepalived_vip = 10.77.0.99: answers already, from ",
        "and none of the balancers holds it; choose a free address",
        "lb1: way to app2 = 10.77.0.22 port 3001, 3002, 3003: no answer within 2 s; let no firewall or route stand",
        "s ahead of the controller's: more than preflight_clock_difference_seconds = 2;",
        "app1, app2: preflight_names = nowhere.invalid: does not resolve on the host",
        "lb1, lb2: memory = ",
        "less than the 1000000000 MiB in preflight_minimum_free_mib for /; free some",
        "the key does not belong to the certificate of CN=other.example.com",
        "the certificate of CN=other.example.com expired on ",
        f"does not cover {target.server_name}",
        "lb1, lb2: load_balancer_retry_timeout_seconds = 7: no longer than the 3 instances of a host times",
        "lb2: /etc/nginx/nginx.conf is of an nginx that is not ours: etapa 1 would end what it serves; move that",
    ):
        assert said in message
    # What is well is not complained about.
    assert "preflight_names = legacy1" not in message
    assert "app2: clock" not in message


def test_hosts_that_cannot_be_entered_are_named_beside_the_other_faults(
    lab: Lab, target: Target, instances: list[str], inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By Mitogen a host without a Python is one that cannot be entered.
    monkeypatch.setenv("ANSIBLE_STRATEGY", "linear")
    change_hosts(inventory, lambda hosts: hosts["hosts"]["app2"].update(ansible_port=9))
    change_hosts(inventory, lambda hosts: hosts["hosts"]["lb1"].update(ansible_python_interpreter="/nowhere/python3"))
    put(inventory, "load_balancers", load_balancer_engine="caddy")
    message = refused(lab, target, instances, inventory)
    assert "app2: ansible_host = 10.77.0.22: the host cannot be entered by ssh; try `ansible app2 -m" in message
    assert "lb1: ansible_host = 10.77.0.11: the host cannot be looked at: " in message
    assert "lb1, lb2: load_balancer_engine = caddy: is unknown" in message


@pytest.mark.parametrize("group", ["load_balancers", "app_servers"])
def test_an_empty_group_is_named(lab: Lab, target: Target, instances: list[str], inventory: Path, group: str) -> None:
    change_hosts(inventory, lambda hosts: hosts["children"].update({group: {}}))
    message = refused(lab, target, instances, inventory)
    assert f"inventory: {group} the group has 0 of at least 1 host; name them there in the inventory" in message


def test_a_limited_run_that_nobody_would_judge_is_refused(
    lab: Lab, target: Target, instances: list[str], inventory: Path
) -> None:
    message = refused(lab, target, instances, inventory, "--limit", "load_balancers")
    assert "--limit load_balancers leaves out the controller, which judges all hosts together" in message


def test_a_value_that_a_role_does_not_know_is_refused_by_the_role(
    lab: Lab, target: Target, instances: list[str], inventory: Path
) -> None:
    put(inventory, "load_balancers", load_balancer_method="fastest")
    # The application's hosts would have their turn before them, and this is not about those.
    message = refused(lab, target, instances, inventory, "--limit", "load_balancers", name="etapa_1_load_balancer.yml")
    assert "value of load_balancer_method must be one of: round_robin, least_conn, got: fastest" in message


# A release that never becomes ready is always tried, by deploy_app.yml.
@pytest.mark.soak_only
def test_an_application_that_never_becomes_ready_stops_at_its_first_instance(
    lab: Lab, target: Target, instances: list[str]
) -> None:
    others = {host: prints for host, prints in fingerprints(lab).items() if host != "app1"}
    broken = {"app_start_command": "/usr/bin/node backend/dist/missing.js", "app_ready_timeout_seconds": 5}
    try:
        with running_load(target, requests=2_000, rate=BESIDE_A_RUN) as load:
            done = playbook("etapa_1_load_balancer.yml", "--extra-vars", json.dumps(broken))
        assert done.returncode != 0, done.stdout[-3000:]
        message = " ".join((done.stdout + done.stderr).split())
        assert "tenant-app@3001.service is not ready after 5 s" in message
        assert "Host app1: see `journalctl" in message
        assert {host: prints for host, prints in fingerprints(lab).items() if host != "app1"} == others
        load.result.assert_unharmed()
        assert instances_that_answer(target, 40) == {name for name in instances if name != "app1-3001"}
    finally:
        mended = playbook("etapa_1_load_balancer.yml", "--limit", "app_servers")
    assert mended.returncode == 0, mended.stdout[-3000:]
    eventually("the instance is back", lambda: "app1-3001" in instances_that_answer(target, 16), within=30)
