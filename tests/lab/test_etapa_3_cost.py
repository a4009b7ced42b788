"""What the pooler and its follower cost: pgbench through PgBouncer beside direct connections, and the follower's share of a core.

A thousand direct connections are more than the cluster has, and what it has can only rise. So both ways of a thousand clients are measured on a server
that the story makes for itself: on the primary's host and disk, with the cluster's own settings but for the number of connections, and with commits
that wait for another data node to have them on its disk; and through a pooler with the settings of the one beside it.
"""

from __future__ import annotations

import re
import shlex
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from tests.lab.eventually import eventually
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

# The server of the story's own. A unit is gone with all its processes, and what is on a command line counts before what is in the cluster's files.
UNIT = "escala-bench"
SERVER_PORT, POOLER_PORT = 5499, 6499
DATA, POOLER_FOLDER = "/var/lib/postgresql/bench", "/run/pgbench-pooler"
BINARIES = "/usr/lib/postgresql/17/bin"
MAKE_FOLDER = "install --directory --mode=700 --owner=postgres --group=postgres"
AS_POSTGRES = "setpriv --reuid=postgres --regid=postgres --clear-groups"
START = f"systemd-run --quiet --collect --unit={UNIT} --uid=postgres --property=KillSignal=SIGINT --property=LimitNOFILE=8192"
INITDB = f"{BINARIES}/initdb --pgdata={DATA} --username=escala_guard --encoding=UTF8 --locale=C.UTF-8 --data-checksums"
POSTGRES = (
    f"{BINARIES}/postgres -c config_file=/etc/postgresql/17/main/postgresql.conf -c data_directory={DATA} -c external_pid_file="
    f" -c port={SERVER_PORT} -c max_connections=1100"
)
RECEIVER = f"{BINARIES}/pg_receivewal --synchronous --directory={DATA}"
RECEIVE = "passfile=/etc/escala/postgresql.pgpass sslmode=verify-full sslrootcert=/etc/ssl/escala/ca.pem"
CLEAN = f"systemctl stop {UNIT} 2> /dev/null; rm -rf {DATA} {POOLER_FOLDER}"
STATES = "SELECT sync_state FROM pg_stat_replication"
PSQL = "PGOPTIONS='-c synchronous_commit=local' psql --username=escala_guard --set=ON_ERROR_STOP=1 --no-align --tuples-only"

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


class Server(NamedTuple):
    """Where pgbench goes: to PostgreSQL, and to a pooler before it."""

    address: str
    port: int
    pooler: str
    pooler_port: int


@pytest.fixture
def roomy(whole_cluster: Cluster) -> Iterator[Server]:
    """A server like the cluster's that takes a thousand clients, and a pooler like the application host's that leads to it."""
    lab, primary = whole_cluster.lab, whole_cluster.primary()
    standby = whole_cluster.others(primary)[0]
    address, pooler = whole_cluster.nodes[primary], whole_cluster.pools[HOST]
    with ExitStack() as undo:
        for host in (*whole_cluster.nodes, HOST):
            # Of a run that was killed, and of this one.
            lab.on(host, CLEAN)
            undo.callback(lab.on, host, CLEAN)
        lab.on(primary, f"{MAKE_FOLDER} {DATA} && cd / && {AS_POSTGRES} {INITDB}")
        lab.on(primary, f"{START} {POSTGRES}")
        eventually("the server answers", lambda: answers(address, SERVER_PORT), within=30)
        fill(whole_cluster, primary)
        # It confirms as a standby does that has the WAL on its disk, by the very name and account.
        receive = (
            f"host={primary} hostaddr={address} port={SERVER_PORT} user=replicator application_name={standby} {RECEIVE}"
        )
        lab.on(standby, f"{MAKE_FOLDER} {DATA}")
        lab.on(standby, f"{START} {RECEIVER} --dbname={shlex.quote(receive)}")
        states = f"{PSQL} --port={SERVER_PORT} --dbname=app --command={shlex.quote(STATES)}"
        eventually("commits wait for a standby", lambda: lab.on(primary, states).split() == ["quorum"], within=30)
        start_pooler(whole_cluster, address)
        eventually("the pooler answers", lambda: answers(pooler, POOLER_PORT), within=10)
        yield Server(address, SERVER_PORT, pooler, POOLER_PORT)


def answers(address: str, port: int) -> bool:
    with socket.create_connection((address, port), 1):
        return True


def fill(cluster: Cluster, primary: str) -> None:
    """Give the server what pgbench asks for; the accounts are the cluster's own, and their passwords are never seen on the way."""
    there = f"{PSQL} --port={SERVER_PORT}"
    for name, kind in {"escala_probe": "LOGIN", "replicator": "LOGIN REPLICATION"}.items():
        secret = f"SELECT format('CREATE ROLE %I {kind} PASSWORD %L', rolname, rolpassword) FROM pg_authid WHERE rolname = '{name}'"  # noqa: S608  names of our own
        cluster.lab.on(primary, f"{PSQL} --dbname=postgres --command={shlex.quote(secret)} | {there} --dbname=postgres")
    cluster.lab.on(primary, f"{there} --dbname=postgres --command='CREATE DATABASE app'")
    table = f"CREATE SCHEMA escala_probe AUTHORIZATION escala_probe; SET ROLE escala_probe; {TABLE}"
    cluster.lab.on(primary, f"{there} --dbname=app --command={shlex.quote(table)}")


def start_pooler(cluster: Cluster, address: str) -> None:
    """Start one with the settings of the application host's, and the same line for its database but for where that leads."""
    text = cluster.lab.on(HOST, "cat /etc/pgbouncer/pgbouncer.ini")
    [line] = re.findall(r"(?m)^app = .*$", cluster.lab.on(HOST, "cat /etc/pgbouncer/escala-databases.ini"))
    line = re.sub(r"port=\d+", f"port={SERVER_PORT}", re.sub(r"host=\S+", f"host={address}", line))
    for what, instead in {
        r"^%include .*$": line,
        r"^listen_port = .*$": f"listen_port = {POOLER_PORT}",
        r"^unix_socket_dir = .*$": "unix_socket_dir =",
    }.items():
        text, count = re.subn(what, instead, text, flags=re.MULTILINE)
        assert count == 1, f"{what} is {count} times in PgBouncer's configuration"
    file = f"{POOLER_FOLDER}/pgbouncer.ini"
    cluster.lab.on(HOST, f"{MAKE_FOLDER} {POOLER_FOLDER}")
    cluster.put(HOST, file, text)
    cluster.lab.on(HOST, f"chown postgres {file} && {START} /usr/sbin/pgbouncer {file}")


def run(cluster: Cluster, address: str, port: int, clients: int) -> tuple[float, float] | str:
    """Transactions a second and the mean latency in milliseconds, or why there is none."""
    info = f"host={address} port={port} dbname=app user=escala_probe passfile={FOLDER}/pgpass sslmode=verify-full sslrootcert=/etc/ssl/escala/ca.pem"
    words = f"{FOLDER}/pgbench --no-vacuum --client={clients} --jobs=2 --time={SECONDS} --file={FOLDER}/script {shlex.quote(info)} 2>&1"
    said = cluster.lab.on(HOST, f"sh -c {shlex.quote(f'ulimit -n 8192; {words}')}", check=False)
    tps, latency = re.search(r"tps = ([\d.]+)", said), re.search(r"latency average = ([\d.]+)", said)
    if not tps or not latency or "aborted" in said:
        return said
    return float(tps[1]), float(latency[1])


def own(cluster: Cluster) -> Server:
    """The cluster's primary, and the application host's pooler."""
    return Server(cluster.nodes[cluster.primary()], 5432, cluster.pools[HOST], 6432)


def through_the_pooler(cluster: Cluster, server: Server, clients: int) -> tuple[float, float]:
    found = run(cluster, server.pooler, server.pooler_port, clients)
    assert isinstance(found, tuple), found[-2000:]
    return found


def hold_figures(clients: int, pooled: tuple[float, float]) -> None:
    what, name = f"pgbench with {clients} clients, through PgBouncer", f"pgbench_{clients}"
    record(f"{name}_tps", pooled[0], "transactions/s", what=what, of=MANAGER)
    record(f"{name}_latency", pooled[1], "ms", what=f"{what}, mean latency", of=MANAGER)


def hold_ratios(
    clients: int, pooled: tuple[float, float], direct: tuple[float, float] | str, *, where: str = ""
) -> None:
    assert isinstance(direct, tuple), direct[-2000:]
    what, name = f"pgbench with {clients} clients{where}, PgBouncer/direct", f"pgbench_{clients}"
    record(f"{name}_ratio", pooled[0] / direct[0], "", what=f"{what}, transactions", of=MANAGER)
    record(f"{name}_slower", pooled[1] / direct[1], "", what=f"{what}, latency", of=MANAGER)


@pytest.mark.soak_only
@pytest.mark.soak(runs=3)
@pytest.mark.usefixtures("bench")
def test_a_hundred_clients_through_the_pooler_beside_as_many_direct_connections(whole_cluster: Cluster) -> None:
    server = own(whole_cluster)
    pooled = through_the_pooler(whole_cluster, server, 100)
    hold_figures(100, pooled)
    hold_ratios(100, pooled, run(whole_cluster, server.address, server.port, 100))


@pytest.mark.soak_only
@pytest.mark.soak(runs=3)
@pytest.mark.usefixtures("bench")
def test_a_thousand_clients_are_too_many_for_the_cluster_and_not_for_its_pooler(whole_cluster: Cluster) -> None:
    server = own(whole_cluster)
    hold_figures(1000, through_the_pooler(whole_cluster, server, 1000))
    direct = run(whole_cluster, server.address, server.port, 1000)
    assert isinstance(direct, str), direct
    assert "too many clients" in direct or "remaining connection slots" in direct, direct[-1000:]


@pytest.mark.soak_only
@pytest.mark.soak(runs=3)
@pytest.mark.usefixtures("bench")
def test_a_thousand_clients_through_a_pooler_beside_as_many_direct_connections(
    whole_cluster: Cluster, roomy: Server
) -> None:
    pooled = through_the_pooler(whole_cluster, roomy, 1000)
    direct = run(whole_cluster, roomy.address, roomy.port, 1000)
    hold_ratios(1000, pooled, direct, where=" on a server that takes them all")


@pytest.mark.soak(runs=3)
@pytest.mark.soak_only
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
