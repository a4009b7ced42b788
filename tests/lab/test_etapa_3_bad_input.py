"""What is wrong with a node or a wish is refused or made good, says what it found, and costs no acknowledged row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.eventually import eventually, lasting
from tests.lab.handle import playbook
from tests.lab.postgres import UNIT, WHOLE_SECONDS, Cluster, Refused, fail_over
from tests.lab.recap import changed_hosts, unreached_or_failed

DATA = "/var/lib/postgresql/17/main"
AS_POSTGRES = "setpriv --reuid postgres --regid postgres --init-groups"
PROGRAMS = "/usr/lib/postgresql/17/bin"

pytestmark = pytest.mark.etapa_3


def stop(cluster: Cluster, node: str) -> None:
    cluster.lab.on(node, f"systemctl stop escala-pg-guard; systemctl stop {UNIT}")


def said_by_guard(cluster: Cluster, node: str) -> str:
    """What a guard says now, and what it wrote in the last minutes."""
    now = cluster.lab.on(node, "escala-pg-guard status", check=False)
    return now + cluster.lab.on(node, "journalctl --no-pager -o cat -u escala-pg-guard --since -3min")


def test_data_of_another_cluster_is_refused_and_never_wiped(whole_cluster: Cluster, output: Path) -> None:
    lab, primary = whole_cluster.lab, whole_cluster.primary()
    node = whole_cluster.others(primary)[-1]
    stop(whole_cluster, node)
    # Beside each other on one volume, so that both moves are a rename.
    lab.on(
        node,
        f"mv {DATA} {DATA}.kept && {AS_POSTGRES} {PROGRAMS}/initdb -D {DATA} -k >/dev/null && touch {DATA}/foreign",
    )
    try:
        with whole_cluster.measuring(output) as measurement:
            at = measurement.mark(f"{node} has data of another cluster")
            lab.on(node, "systemctl start escala-pg-guard")
            eventually(
                "the guard says what it found",
                lambda: "system identifier" in said_by_guard(whole_cluster, node),
                within=30,
                every=1,
            )
            lasting(
                f"{node} takes no part",
                lambda: node not in whole_cluster.standbys(primary),
                seconds=5,
            )
        found = whole_cluster.judge_where(measurement, output, "data of another cluster", at, without=[node])
        assert found.writers() == [primary]
        found.hold("foreign_data", "a node with data of another cluster", limit=3.0, figure="stall")
        assert lab.on(node, f"ls {DATA}/foreign").strip() == f"{DATA}/foreign"
    finally:
        stop(whole_cluster, node)
        lab.on(node, f"rm -rf {DATA} && mv {DATA}.kept {DATA}; systemctl start escala-pg-guard")
        whole_cluster.wait_until_whole()


def test_a_standby_that_somebody_promoted_rejoins_without_what_it_wrote_alone(
    whole_cluster: Cluster, output: Path
) -> None:
    lab, primary = whole_cluster.lab, whole_cluster.primary()
    node = whole_cluster.others(primary)[0]
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark(f"{node} promoted by hand while its guard does not run")
        lab.on(node, "systemctl stop escala-pg-guard")
        lab.on(node, f"{AS_POSTGRES} {PROGRAMS}/pg_ctl -D {DATA} promote -W")
        eventually(f"{node} is out of recovery", lambda: (whole_cluster.states()[node] or (False, []))[0], within=15)
        measurement.mark("its guard runs again")
        lab.on(node, "systemctl start escala-pg-guard")
        whole_cluster.wait_until_whole(WHOLE_SECONDS)
    found = whole_cluster.judge(measurement, output, "a standby promoted by hand", at)
    # It was out of recovery beside the primary, and no commit of its own was ever acknowledged.
    assert found.writers() == [primary]
    assert found.report["two_out_of_recovery_seconds"] > 0
    found.hold("promoted_by_hand", "a standby promoted by hand", limit=3.0, figure="stall")


def test_a_primary_whose_disk_is_full_gives_way(whole_cluster: Cluster, output: Path) -> None:
    lab, what = whole_cluster.lab, "the primary's disk full"
    _, found = fail_over(
        whole_cluster,
        output,
        what,
        lambda old: lab.verb("disk-full", old, "postgresql"),
        lambda old: lab.verb("disk-heal", old),
        within=120,
    )
    found.hold("disk_full", what)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "etapa_3_postgresql.yml",
            {"pg_guard_nodes": [{"name": "db1", "address": "10.77.0.31"}, {"name": "db2", "address": "10.77.0.32"}]},
            "add a witness or a third data node, or turn automatic failover off",
        ),
        ("preflight.yml", {"postgresql_max_connections": 60}, "raise postgresql_max_connections to"),
        (
            "etapa_3_postgresql.yml",
            {"pg_guard_nodes": [{"name": "db1", "address": "10.77.0.31"}], "postgresql_port": 5440},
            "Nodes and witnesses join or leave one at a time",
        ),
        (
            "etapa_3_postgresql.yml",
            {"postgresql_version": 18},
            f"have data of version 17 in {DATA}, and postgresql_version is 18. This playbook does no major upgrade: set postgresql_version back to 17",
        ),
        (
            "etapa_3_postgresql.yml",
            {"postgresql_ha_manager": "patroni"},
            "Who decides cannot change while a cluster runs",
        ),
    ],
    ids=[
        "two nodes and no witness",
        "connections beyond the budget",
        "two nodes away and another port",
        "another version than that of the data",
        "another manager",
    ],
)
def test_a_wish_that_cannot_be_is_refused_before_anything_changes(
    cluster: Cluster, name: str, change: dict[str, object], said: str
) -> None:
    done = playbook(name, "--extra-vars", json.dumps(change))
    assert done.returncode != 0
    assert said in " ".join(done.stdout.split())
    assert changed_hosts(done.stdout) == {}
    assert cluster.primary()


@pytest.mark.parametrize(
    ("password", "said"),
    # Who has none is asked for it, and has nothing to answer.
    [("wrong", "(password|SASL) authentication failed"), ("", "no password supplied")],
    ids=["wrong", "none"],
)
def test_neither_a_node_nor_the_pool_is_opened_without_the_password(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, password: str, said: str
) -> None:
    # libpq would take one from there.
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    for place in (*cluster.nodes, *cluster.pools):
        with pytest.raises(Refused, match=said):
            cluster.connect(place, "escala_probe", password)(5)


def test_a_setting_that_the_pooler_does_not_know_is_refused_while_it_runs_with_the_old_ones(cluster: Cluster) -> None:
    look = "sha256sum /etc/pgbouncer/pgbouncer.ini; systemctl show --property=MainPID,StateChangeTimestampMonotonic pgbouncer"
    before = {host: cluster.lab.on(host, look) for host in cluster.pools}
    wrong = json.dumps({"pgbouncer_settings": {"max_prepared_statments": 300}})
    done = playbook("etapa_3_postgresql.yml", "--extra-vars", wrong)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "PgBouncer would not start with this configuration" in said
    assert "unknown parameter: pgbouncer/max_prepared_statments" in said
    # Neither loaded nor started anew, and the second host was not come to.
    assert {host: cluster.lab.on(host, look) for host in cluster.pools} == before
    assert unreached_or_failed(done.stdout) == [next(iter(cluster.pools))]


def test_a_server_with_a_certificate_of_somebody_else_is_not_spoken_to(cluster: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "ca.pem"
    made = cluster.from_here(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj '/CN=escala.ha lab CA'"
        f" -keyout {tmp_path}/ca.key -out {other}"
    )
    assert made.returncode == 0, made.stderr
    for place in (*cluster.nodes, *cluster.pools):
        with pytest.raises(Refused, match="certificate verify failed"):
            cluster.connect(place, "escala_probe", ca_file=other)(5)


def test_a_guard_answers_nobody_without_a_certificate_of_the_platform(cluster: Cluster) -> None:
    ca = cluster.ca_file
    for node, address in cluster.nodes.items():
        command = f"curl --silent --show-error --max-time 5 --cacert {ca} --resolve {node}:5433:{address} https://{node}:5433/state"
        said = cluster.from_here(command)
        assert said.returncode != 0
        assert said.stdout == "", f"{node} answered"
        # It says why, unless it has closed before curl has asked (55).
        assert "certificate" in said.stderr or said.returncode == 55, said.stderr
