"""The migration of a deployment, run on the first of the application's hosts with the release that is there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://app1"]

UNIT = "tenant-app-migrate"


@pytest.fixture(scope="module")
def migrated(host, pytestconfig):
    """The scenario deploys nothing, and only a deployment writes the unit and runs it."""
    program = Path(sys.executable).parent / "ansible"
    inventory = pytestconfig.getoption("--ansible-inventory")
    role = "name=escala.ha.app tasks_from=migrate"
    command = [program, "app1", "--become", "--inventory", inventory, "-m", "ansible.builtin.include_role", "-a", role]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return host


def test_it_has_run_to_its_end(migrated):
    properties = migrated.service(UNIT).systemd_properties
    assert (properties["Result"], properties["ExecMainStatus"]) == ("success", "0")


def test_its_unit_is_in_a_sandbox(migrated):
    judged = migrated.run("systemd-analyze security --threshold=40 %s", UNIT)
    assert judged.rc == 0, judged.stdout[-200:]


def test_systemd_finds_no_fault_in_its_unit(migrated):
    judged = migrated.run("systemd-analyze verify --man=no %s.service", UNIT)
    assert (judged.rc, judged.stderr) == (0, "")
