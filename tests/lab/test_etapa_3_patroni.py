"""Patroni in the place of the guards, by the same drill, switchover and checks, with its defaults and as fast as it may be: docs/patroni.md has the table."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.eventually import eventually
from tests.lab.handle import Lab, playbook
from tests.lab.measurements import record
from tests.lab.postgres import Cluster, wait_until
from tests.lab.recap import changed_hosts
from tests.lab.test_etapa_3_drill import CONFIRMED, POWER_OFF, drill, power_on

PROFILES = ("default", "fast")
# Patroni's default holds its lock for 30 s, and looks every 10 s.
RTO_SECONDS = 90
# Longer than the lock, so that whoever was cut off comes back to another primary.
FAULT_SECONDS = 60
HANGS_ON_SECONDS = 10

pytestmark = [pytest.mark.etapa_3, pytest.mark.topology("patroni"), pytest.mark.soak_only]


@pytest.fixture(scope="module", params=PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    """Has the cluster run with these timings, by the playbook that made it."""
    name = str(request.param)
    done = playbook("etapa_3_postgresql.yml", "--extra-vars", f"patroni_profile={name}")
    assert done.returncode == 0, done.stdout[-3000:]
    return name


@pytest.mark.soak(runs=3)
@pytest.mark.parametrize("fault", ["host_power_off", "isolated", "postmaster_killed", "frozen", "postmaster_stopped"])
def test_a_fault_under_patroni_loses_no_row_and_makes_no_second_writer(
    profile: str, whole_cluster: Cluster, output: Path, fault: str
) -> None:
    old = whole_cluster.primary()
    words = [
        f"drill_fault={fault}",
        f"drill_fault_seconds={FAULT_SECONDS}",
        f"drill_rto_seconds={RTO_SECONDS}",
        CONFIRMED,
    ]
    with ThreadPoolExecutor(1) as beside:
        if fault == "host_power_off":
            running = beside.submit(drill, output, *words, json.dumps({"drill_power_off_command": POWER_OFF}))
            power_on(whole_cluster, old, within=RTO_SECONDS)
        else:
            running = beside.submit(drill, output, *words)
        code, said = running.result()
    assert code == 0, said[-3000:]
    report = json.loads((output / "drill/report.json").read_text())
    what = f"drill, {fault}, Patroni's {profile} timings: no row acknowledged for"
    record(f"patroni_{profile}_{fault}_rto", report["rto_seconds"], "s", what=what, of="patroni")
    assert (report["rpo_rows"], report["double_writer_seconds"]) == (0, 0)
    whole_cluster.wait_until_whole()


@pytest.mark.soak(runs=3)
def test_a_switchover_is_patroni_s_and_clients_wait_for_it(profile: str, whole_cluster: Cluster, output: Path) -> None:
    old = whole_cluster.primary()
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark(f"{old}: switchover")
        done = playbook("switchover.yml", "--extra-vars", "switchover_stall_seconds=10")
        (output / "switchover.log").write_text(done.stdout + done.stderr)
        assert done.returncode == 0, done.stdout[-3000:]
        whole_cluster.wait_acknowledged(measurement, at)
        whole_cluster.wait_until_whole()
    found = whole_cluster.judge(measurement, output, "switchover", at)
    stall = whole_cluster.stall(measurement, at)
    what = f"planned switchover, Patroni's {profile} timings: no row acknowledged for"
    record(f"patroni_{profile}_switchover_stall", stall, "s", what=what, of="patroni")
    assert whole_cluster.primary() != old
    assert len(found.writers()) == 2


@pytest.mark.soak(runs=3)
def test_what_a_patroni_costs_that_hangs_alone_is_known(profile: str, whole_cluster: Cluster, output: Path) -> None:
    """The one fault in which Patroni without a watchdog may have two writers, so nothing is promised, and all is measured."""
    old = whole_cluster.primary()

    def another_is_open() -> bool:
        return any(state and state[0] for node, state in whole_cluster.states().items() if node != old)

    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark(f"{old}: Patroni alone is stopped")
        whole_cluster.lab.on(old, "systemctl kill --signal=STOP --kill-whom=main patroni")
        try:
            eventually("another node is out of recovery", another_is_open, within=RTO_SECONDS)
            whole_cluster.wait_acknowledged(measurement, at)
            wait_until(time.monotonic() + HANGS_ON_SECONDS, "it has hung on for a while")
        finally:
            whole_cluster.lab.on(old, "systemctl kill --signal=CONT --kill-whom=main patroni")
        whole_cluster.wait_until_whole(RTO_SECONDS)
    report = whole_cluster.judge(measurement, output, "Patroni alone is stopped", at).report
    what = f"Patroni alone hangs on the primary, {profile} timings"
    for figure, name, unit in (
        ("rto_seconds", "no row acknowledged for", "s"),
        ("rpo_rows", "acknowledged rows lost", "rows"),
        ("double_writer_seconds", "two writers for", "s"),
    ):
        record(f"patroni_{profile}_hangs_{figure}", report[figure], unit, what=f"{what}: {name}", of="patroni")
    assert report["recovered"]
    assert whole_cluster.primary() != old


def test_the_platform_is_whole_and_a_second_run_changes_nothing(whole_cluster: Cluster) -> None:
    again = playbook("etapa_3_postgresql.yml")
    assert again.returncode == 0, again.stdout[-3000:]
    # The timings of the last story are put back first.
    again = playbook("etapa_3_postgresql.yml")
    assert not changed_hosts(again.stdout), again.stdout[-3000:]
    verified = playbook("verify.yml")
    assert verified.returncode == 0, verified.stdout[-3000:]


@pytest.mark.parametrize(
    ("run", "variables"),
    [
        ("add_standby.yml", ()),
        ("remove_standby.yml", ()),
        ("upgrade_database.yml", ()),
        ("rotate_passwords.yml", ()),
        ("degrade_cluster.yml", ("degrade_without=['db3']",)),
    ],
)
def test_what_only_the_guards_do_is_refused_before_anything_changes(
    whole_cluster: Cluster, run: str, variables: tuple[str, ...]
) -> None:
    done = playbook(run, *(word for variable in variables for word in ("--extra-vars", variable)))
    assert done.returncode != 0
    assert "this is done where the guards decide only" in " ".join(done.stdout.split())
    assert not changed_hosts(done.stdout), done.stdout[-3000:]


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("postgresql_ha_manager=repmgr", "Who decides cannot change while a cluster runs"),
        ("patroni_scope=another", "is to find another on"),
        ("patroni_etcd_port=2479", "would be a second primary"),
    ],
)
def test_what_would_make_a_second_primary_of_a_running_cluster_is_refused(
    whole_cluster: Cluster, variable: str, said: str
) -> None:
    primary = whole_cluster.primary()
    done = playbook("etapa_3_postgresql.yml", "--extra-vars", variable)
    assert done.returncode != 0
    assert said in " ".join(done.stdout.split())
    assert not changed_hosts(done.stdout), done.stdout[-3000:]
    assert whole_cluster.primary() == primary


def test_nobody_starts_postgresql_beside_patroni(lab: Lab, whole_cluster: Cluster) -> None:
    for node in whole_cluster.nodes:
        started = lab.on(node, "systemctl start postgresql@17-main 2>&1; true")
        assert "is masked" in started


def test_who_has_no_part_in_it_enters_neither_etcd_nor_patroni(lab: Lab, whole_cluster: Cluster) -> None:
    """The poolers' certificate is of the same authority."""
    name, node = next(iter(whole_cluster.nodes.items()))
    host = lab.group("app_servers")[0]
    pooler = "--cert /etc/ssl/escala/pgbouncer.crt --key /etc/ssl/escala/pgbouncer.key"
    ask = f"curl --silent --insecure {{}} https://{node}:2379/version; true"
    client = "--cert /etc/ssl/escala-etcd/etcd-client.crt --key /etc/ssl/escala-etcd/etcd-client.key"
    assert "etcdserver" in lab.on(name, ask.format(client))
    assert lab.on(host, ask.format(pooler)) == ""
    order = f"""curl --silent --insecure --output /dev/null --write-out '%{{http_code}}' {pooler} -X POST -d '{{"leader": "db1"}}'"""
    assert lab.on(host, f"{order} https://{node}:8008/switchover; true").strip() == "403"
