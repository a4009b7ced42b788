"""The application over the cluster, through the virtual address: a failover is a wait for its users, and no acknowledged write is gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.eventually import eventually
from tests.lab.load import BESIDE_A_RUN, UsersLoad, running_load
from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster
from tests.lab.target import Target

REQUESTS = 4_000
# Cold instances answer late, and what waits for them is not the failover's.
STEADY_SECONDS = 0.5

pytestmark = pytest.mark.etapa_3


@pytest.mark.parametrize("host", ["app1", "app2"])
def test_an_application_host_uses_its_own_pooler_and_migrations_pass_it_by(cluster: Cluster, host: str) -> None:
    expected = {
        "DATABASE_URL": f"@{host}:6432/app?sslmode=verify-full&",
        "DATABASE_REPLICA_URL": f"@{host}:6432/app_ro?sslmode=verify-full&",
        "DATABASE_DIRECT_URL": ",".join(f"{node}:5432" for node in cluster.nodes) + "/app?sslmode=verify-full&",
    }
    for name, part in expected.items():
        # Looked for on the host, since the whole of it is a secret.
        found = cluster.lab.on(
            host, f"grep --count --fixed-strings '{part}' /etc/tenant-app/credentials/{name}", check=False
        )
        assert found.strip() == "1", f"{name} of {host} does not have {part}"


def test_every_instance_reads_from_a_standby(whole_cluster: Cluster, instances: list[str]) -> None:
    """The pooler's list may name a standby that it cannot enter; whether it is read from only the application knows."""
    for instance in instances:
        host, port = instance.rsplit("-", 1)
        url = f"http://{whole_cluster.lab.hosts()[host]['address']}:{port}/health/ready"

        def replica(url: str = url, host: str = host) -> bool:
            said = json.loads(whole_cluster.lab.on(host, f"curl --silent --max-time 3 {url}"))["checks"]["replica"]
            assert said["ok"], said
            assert "note" not in said, said
            return True

        eventually(f"{instance} reads from a standby", replica, within=20)


@pytest.mark.usefixtures("whole_platform")
def test_users_notice_a_failover_as_a_wait(whole_cluster: Cluster, target: Target, output: Path) -> None:
    old, what = whole_cluster.primary(), "the primary's postmaster killed, seen through HTTP"
    process = whole_cluster.postmaster(old)
    with running_load(
        target, requests=REQUESTS, rate=BESIDE_A_RUN, writes_per_second=10, save_to=output / "load.json", kind=UsersLoad
    ) as load:
        eventually("the load has begun", lambda: load.result.requests > REQUESTS // 5, within=30)
        eventually("the load is steady", lambda: max(load.result.latencies[-200:]) < STEADY_SECONDS, within=60)
        whole_cluster.lab.on(old, f"kill -9 {process}")
        acknowledged = len(load.result.acknowledged)
        eventually(
            "writes are acknowledged again", lambda: len(load.result.acknowledged) > acknowledged + 20, within=30
        )
        whole_cluster.wait_until_whole()
    result = load.result
    print(result)
    record(
        "http_failover_failed", len(result.failures), "requests", 0, what=f"{what}: requests that failed", of=MANAGER
    )
    record("http_failover_lost", len(result.lost), "writes", 0, what=f"{what}: acknowledged writes lost", of=MANAGER)
    record("http_failover_refused", result.refused_writes, "writes", what=f"{what}: writes refused", of=MANAGER)
    record("http_failover_slowest", result.quantile(1), "s", what=f"{what}: slowest request", of=MANAGER)
    result.assert_unharmed()
