"""What the pooler and its follower cost: pgbench through PgBouncer beside direct connections, and the follower's share of a core."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator

import pytest

from tests.lab.measurements import MANAGER, record
from tests.lab.postgres import Cluster, wait_until

FOLLOW_PERCENT = 1.0
WATCHED_SECONDS = 30.0
SECONDS = 15
HOST = "app1"
FOLDER = "/run/pgbench"
# One row written and one read a transaction, as short ones of an application are.
SCRIPT = """\\set id random(1, 10000)
BEGIN;
UPDATE escala_probe.bench SET n = n + 1 WHERE id = :id;
SELECT n FROM escala_probe.bench WHERE id = :id;
COMMIT;
"""
TABLE = """DROP TABLE IF EXISTS escala_probe.bench;
CREATE TABLE escala_probe.bench AS SELECT id, 0 AS n FROM generate_series(1, 10000) AS id;
ALTER TABLE escala_probe.bench ADD PRIMARY KEY (id)"""

pytestmark = pytest.mark.etapa_3


@pytest.fixture
def bench(whole_cluster: Cluster) -> Iterator[None]:
    """Have pgbench on an application's host, where the pooler is, with a table of its own; no password is on a command line."""
    lab, primary = whole_cluster.lab, whole_cluster.primary()
    program = lab.on(primary, "base64 --wrap=0 /usr/lib/postgresql/17/bin/pgbench")
    put = {"pgbench.b64": program, "script": SCRIPT}
    lab.on(HOST, f"mkdir -m 700 -p {FOLDER}")
    for name, text in put.items():
        whole_cluster.put(HOST, f"{FOLDER}/{name}", text)
    whole_cluster.put(
        HOST, f"{FOLDER}/pgpass", f"*:*:*:escala_probe:{whole_cluster.secrets['secret_postgresql_probe_password']}\n"
    )
    lab.on(HOST, f"base64 --decode {FOLDER}/pgbench.b64 > {FOLDER}/pgbench && chmod 700 {FOLDER}/pgbench")
    session = whole_cluster.connect(primary, "escala_probe")(5)
    for statement in TABLE.split(";"):
        session.execute(statement, limit_seconds=20)
    session.close()
    yield
    lab.on(HOST, f"rm -rf {FOLDER}")
    session = whole_cluster.connect(whole_cluster.primary(), "escala_probe")(5)
    session.execute("DROP TABLE escala_probe.bench", limit_seconds=20)
    session.close()


def run(cluster: Cluster, address: str, port: int, clients: int) -> tuple[float, float] | str:
    """Transactions a second and the mean latency in milliseconds, or why there is none."""
    info = f"host={address} port={port} dbname=app user=escala_probe passfile={FOLDER}/pgpass sslmode=verify-full sslrootcert=/etc/ssl/escala/ca.pem"
    words = f"{FOLDER}/pgbench --no-vacuum --client={clients} --jobs=2 --time={SECONDS} --file={FOLDER}/script {shlex.quote(info)} 2>&1"
    said = cluster.lab.on(HOST, f"sh -c {shlex.quote(f'ulimit -n 8192; {words}')}", check=False)
    tps, latency = re.search(r"tps = ([\d.]+)", said), re.search(r"latency average = ([\d.]+)", said)
    if not tps or not latency or "aborted" in said:
        return said
    return float(tps[1]), float(latency[1])


@pytest.mark.soak_only
@pytest.mark.soak(runs=3)
@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize("clients", [100, 1000])
def test_pgbench_through_the_pooler_beside_direct_connections(whole_cluster: Cluster, clients: int) -> None:
    pooled = run(whole_cluster, whole_cluster.pools[HOST], 6432, clients)
    direct = run(whole_cluster, whole_cluster.nodes[whole_cluster.primary()], 5432, clients)
    assert isinstance(pooled, tuple), pooled
    what = f"pgbench with {clients} clients"
    record(f"pgbench_{clients}_tps", pooled[0], "transactions/s", what=f"{what}, through PgBouncer", of=MANAGER)
    record(f"pgbench_{clients}_latency", pooled[1], "ms", what=f"{what}, through PgBouncer, mean latency", of=MANAGER)
    if isinstance(direct, str):
        # More than max_connections: what the pooler is for.
        assert clients > 200, direct
        assert "too many clients" in direct or "remaining connection slots" in direct, direct[-1000:]
        return
    record(
        f"pgbench_{clients}_ratio",
        pooled[0] / direct[0],
        "",
        what=f"{what}, PgBouncer/direct, transactions",
        of=MANAGER,
    )
    record(
        f"pgbench_{clients}_slower", pooled[1] / direct[1], "", what=f"{what}, PgBouncer/direct, latency", of=MANAGER
    )


@pytest.mark.soak(runs=3)
def test_the_follower_takes_below_one_hundredth_of_a_core(whole_cluster: Cluster) -> None:
    hosts = list(whole_cluster.pools)

    def used(host: str) -> float:
        said = whole_cluster.lab.on(host, "systemctl show --property=CPUUsageNSec --value escala-pg-follow")
        return int(said) / 1e9

    before = {host: (used(host), time.monotonic()) for host in hosts}
    wait_until(time.monotonic() + WATCHED_SECONDS, "they were watched for long enough")
    percents = {host: 100 * (used(host) - seconds) / (time.monotonic() - at) for host, (seconds, at) in before.items()}
    for percent in percents.values():
        record("follow_cpu", percent, "% of a core", FOLLOW_PERCENT, what="the follower at rest", of=MANAGER)
    assert max(percents.values()) <= FOLLOW_PERCENT, percents
