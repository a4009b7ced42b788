"""The drill that operators run: refused without a confirmation or on a cluster that is not whole, and judged by what it measured."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import ROOT, playbook
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster

CONFIRMED = "drill_confirmation='break lab'"
# What the drill allows where nothing else is said.
RTO_SECONDS = 10.0
FAULT_SECONDS = 20
# Preflight of the drill, and rows one after the other, come before the fault.
BROKEN_WITHIN_SECONDS = 120.0
# On the machine that the drill runs on. Which host it is for is filled in there, so that it is always the one that the drill chose.
POWER_OFF = ["env", f"--chdir={ROOT}", sys.executable, "-m", "lab", "kill", "{{ inventory_hostname }}"]

pytestmark = pytest.mark.etapa_3


def drill(output: Path, *variables: str) -> tuple[int, str]:
    arguments = [word for variable in variables for word in ("--extra-vars", variable)]
    done = playbook("drill_failover.yml", *arguments, "--extra-vars", f"drill_directory={output}/drill")
    (output / "drill.log").write_text(done.stdout + done.stderr)
    return done.returncode, " ".join(done.stdout.split())


def test_it_is_refused_without_a_confirmation(whole_cluster: Cluster, output: Path) -> None:
    primary = whole_cluster.primary()
    code, said = drill(output, "drill_fault=postmaster_killed")
    assert code != 0
    assert "drill_confirmation to 'break lab'" in said.replace("''", "'")
    # A limit would leave out what measures.
    wanted = ("--extra-vars", "drill_fault=postmaster_killed", "--extra-vars", CONFIRMED)
    assert playbook("drill_failover.yml", *wanted, "--limit", "postgres_servers").returncode != 0
    assert whole_cluster.primary() == primary


def test_it_is_refused_on_a_cluster_that_is_not_whole(whole_cluster: Cluster, output: Path) -> None:
    primary = whole_cluster.primary()
    whole_cluster.lab.verb("kill", whole_cluster.others(primary)[0])
    code, _ = drill(output, "drill_fault=postmaster_killed", CONFIRMED)
    assert code != 0
    assert whole_cluster.primary() == primary


def test_a_killed_postmaster_costs_no_row_and_at_most_5_s_and_the_next_drill_in_its_folder_knows_nothing_of_it(
    whole_cluster: Cluster, output: Path
) -> None:
    old = whole_cluster.primary()
    code, said = drill(output, "drill_fault=postmaster_killed", CONFIRMED)
    assert code == 0, said[-3000:]
    report = json.loads((output / "drill/report.json").read_text())
    assert report["passed"]
    assert (report["rpo_rows"], report["double_writer_seconds"]) == (0, 0)
    assert report["fault"] == f"{old}: postmaster_killed"
    assert "RPO 0 of " in said
    assert (output / "drill/report.html").exists()
    whole_cluster.wait_until_whole()

    begun = time.monotonic()
    # How long it takes is not what the second is about.
    code, said = drill(output, "drill_fault=standby_down", "drill_rto_seconds=10", CONFIRMED)
    assert code == 0, said[-3000:]
    report = json.loads((output / "drill/report.json").read_text())
    assert report["fault"].endswith(": standby_down")
    assert [mark["what"] for mark in report["marks"]] == [report["fault"]]
    # It waited for rows of its own, about two seconds of them, before the fault.
    assert report["fault_at_seconds"] > 1
    tries = [json.loads(line) for line in (output / "drill/log.jsonl").read_text().splitlines()]
    assert min(each["begun"] for each in tries) > begun
    whole_cluster.wait_until_whole()


@pytest.mark.soak_only
def test_what_misses_its_limit_fails(whole_cluster: Cluster, output: Path) -> None:
    code, said = drill(output, "drill_fault=isolated", "drill_fault_seconds=15", "drill_rto_seconds=0.5", CONFIRMED)
    assert code != 0
    assert "and 0.5 s are allowed" in said
    report = json.loads((output / "drill/report.json").read_text())
    assert report["rpo_rows"] == 0
    assert report["double_writer_seconds"] == 0
    # By a timer of the host's own: nobody healed it.
    whole_cluster.wait_until_whole()


@pytest.mark.soak_only
@pytest.mark.soak(runs=1)
@pytest.mark.parametrize("fault", ["host_power_off", "isolated", "frozen", "postmaster_stopped"])
def test_every_other_fault_costs_no_row_and_at_most_10_s_and_nobody_has_to_mend_anything(
    whole_cluster: Cluster, output: Path, fault: str
) -> None:
    old = whole_cluster.primary()
    words = [f"drill_fault={fault}", f"drill_fault_seconds={FAULT_SECONDS}", CONFIRMED]
    with ThreadPoolExecutor(1) as beside:
        if fault == "host_power_off":
            running = beside.submit(drill, output, *words, json.dumps({"drill_power_off_command": POWER_OFF}))
            # The one thing that is left to a person.
            power_on(whole_cluster, old)
        else:
            running = beside.submit(drill, output, *words)
        code, said = running.result()
    assert code == 0, said[-3000:]
    report = json.loads((output / "drill/report.json").read_text())
    assert report["passed"]
    assert report["fault"] == f"{old}: {fault}"
    what = f"drill, {fault}: no row acknowledged for"
    record(f"drill_{fault}_rto", report["rto_seconds"], "s", RTO_SECONDS, what=what, of=MANAGER)
    assert (report["rpo_rows"], report["double_writer_seconds"]) == (0, 0)
    assert 0 < report["rto_seconds"] <= RTO_SECONDS
    whole_cluster.wait_until_whole()
    assert whole_cluster.primary() != old
    # Neither what would undo it is left on the host, nor what it was.
    look = "systemctl is-active escala-drill-undo.timer escala-drill-undo.service; nft list tables"
    assert not {"active", "escala_drill"} & set(whole_cluster.lab.on(old, look, check=False).split())


def power_on(cluster: Cluster, host: str, within: float = 30.0) -> None:
    """Boot a host as soon as it is off and another is primary in its place."""
    eventually(f"{host} is off", lambda: cluster.lab.hosts()[host]["state"] == "off", within=BROKEN_WITHIN_SECONDS)
    eventually("another node is primary", lambda: cluster.primary() != host, within=within)
    cluster.lab.verb("start", host)
