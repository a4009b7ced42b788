"""The database cluster as a story sees it: who is primary, whether it is whole, what a fault cost, and its logs when a story failed."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import collection
from tests.lab.eventually import eventually, widened
from tests.lab.handle import ROOT, Lab
from tests.lab.measurements import MANAGER, record

collection.offer()

from ansible_collections.escala.ha.plugins.module_utils import _pg_drill as drill  # noqa: E402
from ansible_collections.escala.ha.plugins.module_utils import _pg_drill_report, _pg_drill_run  # noqa: E402
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Session, SessionError, conninfo  # noqa: E402
from ansible_collections.escala.ha.plugins.module_utils._pg_detector import Measurement  # noqa: E402
from ansible_collections.escala.ha.plugins.module_utils._pg_ledger import LEDGER_PACE, Connect  # noqa: E402

UNIT = "postgresql@17-main.service"
# What a session that cannot be had, or a statement that is not taken, raises.
Refused = SessionError
INVENTORY = ROOT / "inventories" / "lab"

WHOLE_SECONDS = 60.0
_ASK_SECONDS = 1.0
_RECOVERED_SECONDS = 90.0
_ROWS_SECONDS = 60.0
# After a cluster is whole again, so that a second writer that comes late is seen.
_WATCHED_SECONDS = 2.0

_UNDONE_BY = {"off": "start", "frozen": "thaw"}
_STATE = """SELECT NOT pg_is_in_recovery(),
    (SELECT coalesce(string_agg(application_name, ','), '') FROM pg_stat_replication WHERE state = 'streaming')"""


@dataclass
class Cluster:
    """The data nodes with their addresses, and the ways to them from this machine, which no network fault of the lab cuts."""

    lab: Lab
    nodes: dict[str, str]
    pools: dict[str, str]

    @cached_property
    def secrets(self) -> dict[str, str]:
        found: dict[str, str] = yaml.safe_load((INVENTORY / "group_vars/all/secrets.yml").read_text())
        return found

    @property
    def ca_file(self) -> Path:
        """The platform's own authority."""
        return INVENTORY / ".state/pki/ca.pem"

    def from_here(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on this machine."""
        return subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)

    def connect(
        self, node: str, user: str = "escala_monitor", password: str | None = None, ca_file: Path | None = None
    ) -> Connect:
        """A way to PostgreSQL on a node, or to PgBouncer on an application host; with an empty password it has none to show."""
        secret = {"escala_monitor": "monitor", "escala_probe": "probe"}.get(user, "")
        info = conninfo(
            host=self.nodes.get(node) or self.pools[node],
            port=5432 if node in self.nodes else 6432,
            dbname="app",
            user=user,
            password=self.secrets[f"secret_postgresql_{secret}_password"] if password is None else password,
            sslmode="verify-full",
            sslrootcert=ca_file or self.ca_file,
            gssencmode="disable",
            application_name="escala_story",
        )
        return lambda limit_seconds: Session(info, limit_seconds)

    def ask(self, node: str, statement: str) -> list[list[str | None]]:
        """The rows of one statement on a node; a node that does not answer raises SessionError."""
        session = self.connect(node)(_ASK_SECONDS)
        try:
            return session.execute(statement, limit_seconds=_ASK_SECONDS).rows
        finally:
            session.close()

    def states(self) -> dict[str, tuple[bool, list[str]] | None]:
        """Of each node whether it is out of recovery and who streams from it; None for one that does not answer."""

        def state(node: str) -> tuple[bool, list[str]] | None:
            try:
                [[writable, standbys]] = self.ask(node, _STATE)
            except SessionError:
                return None
            # Who receives WAL for the archive is none of them.
            return writable == "t", [name for name in (standbys or "").split(",") if name in self.nodes]

        with ThreadPoolExecutor(len(self.nodes)) as pool:
            return dict(zip(self.nodes, pool.map(state, self.nodes), strict=True))

    def primary(self) -> str:
        """The one node that is out of recovery."""
        states = self.states()
        found = [node for node, state in states.items() if state and state[0]]
        assert len(found) == 1, f"out of recovery are {found or 'none'}, of {states}"
        return found[0]

    def others(self, node: str) -> list[str]:
        return [other for other in self.nodes if other != node]

    def standbys(self, node: str) -> list[str]:
        """Who streams from a node."""
        state = self.states()[node]
        assert state, f"{node} does not answer"
        return state[1]

    def whole(self) -> bool:
        """One primary, and every other node streams from it."""
        states = self.states()
        primary = self.primary()
        assert all(states.values()), f"not every node answers: {states}"
        state = states[primary]
        missing = set(self.others(primary)) - set(state[1] if state else [])
        assert not missing, f"{', '.join(sorted(missing))} do not stream from {primary}"
        return True

    def wait_until_whole(self, within: float = WHOLE_SECONDS) -> None:
        eventually("there is one primary, and every other node streams from it", self.whole, within=within)

    def heal(self) -> None:
        """Undo every fault that a story made and left, on the hosts that stories of the database break."""
        self.lab.verb("heal")
        for host, facts in self.lab.hosts().items():
            if host in {*self.nodes, *self.pools} and facts["state"] in _UNDONE_BY:
                self.lab.verb(_UNDONE_BY[facts["state"]], host)
        for node in self.nodes:
            self.lab.verb("disk-heal", node)
            self.lab.on(node, f"sh -c {shlex.quote(_MEND)}", check=False)

    def ask_pooler(self, host: str, command: str) -> list[dict[str, str | None]]:
        """What PgBouncer's console on an application host shows for a command, asked there as root."""
        program = f"{_CONSOLE}print(json.dumps(Console().ask({command!r})))"
        found: list[dict[str, str | None]] = json.loads(self.lab.on(host, f"python3 -I -c {shlex.quote(program)}"))
        return found

    def put(self, host: str, path: str, text: str) -> None:
        """Write a file on a host that only root may read, by standard input, so that it may be a secret."""
        done = subprocess.run(
            [sys.executable, "-m", "lab", "ssh", host, "--", f"umask 077; cat > {path}"],
            cwd=ROOT,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def unit_folder(self, node: str) -> str:
        """The control group of PostgreSQL on a node, as a folder there."""
        group = self.lab.on(node, f"systemctl show --property=ControlGroup --value {UNIT}").strip()
        # An empty one would be the whole host.
        assert group.endswith(UNIT), f"PostgreSQL of {node} does not run in {UNIT}"
        return f"/sys/fs/cgroup{group}"

    def postmaster(self, node: str) -> int:
        """The number of PostgreSQL's first process on a node."""
        return int(self.lab.on(node, "head -n 1 /var/lib/postgresql/17/main/postmaster.pid"))

    def guards(self) -> dict[str, str]:
        """What each guard says of itself, for a person to read."""
        return {
            node: self.lab.on(node, "escala-pg-guard status --json", check=False)
            for node, facts in self.lab.hosts().items()
            if node in self.nodes and facts["state"] == "running"
        }

    @contextlib.contextmanager
    def measuring(self, output: Path, statement_seconds: float = LEDGER_PACE.limit) -> Iterator[Measurement]:
        """The ledger through the first application host's PgBouncer and the detector on every node, every try in output/tries.jsonl."""
        run = f"{output.name[:40]}-{time.time():.0f}"
        pace = LEDGER_PACE._replace(limit=statement_seconds)
        pool = self.connect(next(iter(self.pools)), "escala_probe")
        nodes = {node: self.connect(node, "escala_probe") for node in self.nodes}
        with (output / "tries.jsonl").open("w") as log:
            measurement = Measurement(run, pool, nodes, log, pace)
            with measurement.at_work():
                eventually(
                    "rows are acknowledged one after the other",
                    lambda: _pg_drill_run.settled(measurement.tries, 0.0),
                    within=30,
                )
                yield measurement

    def wait_acknowledged(self, measurement: Measurement, since: float, within: float = _RECOVERED_SECONDS) -> None:
        """Return when rows have been acknowledged one after the other for a while, all of them after a moment."""
        eventually(
            "rows are acknowledged one after the other again",
            lambda: _pg_drill_run.settled(measurement.tries, since),
            within=within,
        )

    def stall(self, measurement: Measurement, since: float) -> float:
        """The longest time without an acknowledged row from a moment until now."""
        return drill.longest_gap(list(measurement.tries), since, time.monotonic()).seconds

    def judge(self, measurement: Measurement, output: Path, what: str, since: float) -> Found:
        """Look for the rows everywhere, and write the report beside the log."""
        return self.judge_where(measurement, output, what, since, without=[])

    def judge_where(
        self, measurement: Measurement, output: Path, what: str, since: float, *, without: list[str]
    ) -> Found:
        """The same, with nodes left out that are no part of the cluster then."""
        tries = sorted(measurement.tries, key=lambda each: each.ended)
        nodes = {node: connect for node, connect in measurement.nodes.items() if node not in without}
        ways = _pg_drill_run.Ways(measurement.pool, nodes)
        kept, away = _pg_drill_run.look_everywhere(measurement.run_name, ways, tries, widened(_ROWS_SECONDS))
        report = drill.analyse(what, tries, measurement.marks, kept, since=since)
        verdicts = drill.judge(report, drill.Limits())
        _pg_drill_report.write(str(output), report, verdicts)
        print("\n".join(_pg_drill_report.as_text(report, verdicts)))
        assert not away, f"places where nobody could look for the rows: {away}"
        return Found(report, since)


@dataclass
class Found:
    """What a fault cost. Times in the report are seconds since its first try; `since` is when the fault was, on the monotonic clock."""

    report: dict[str, Any]
    since: float

    def hold(
        self,
        name: str,
        what: str,
        *,
        limit: float | None = None,
        median_limit: float | None = None,
        figure: str = "rto",
    ) -> None:
        """Record the figures, and hold them against the promised limits: losses and two writers against none at all."""
        report = self.report
        said = f"{what}: no row acknowledged for"
        record(f"{name}_{figure}", report["rto_seconds"], "s", limit, median_limit=median_limit, what=said, of=MANAGER)
        record(f"{name}_lost", report["rpo_rows"], "rows", 0, what=f"{what}: acknowledged rows lost", of=MANAGER)
        record(f"{name}_double", report["double_writer_seconds"], "s", 0, what=f"{what}: two writers for", of=MANAGER)
        beside = f"{what}: two nodes out of recovery for"
        record(f"{name}_two_open", report["two_out_of_recovery_seconds"], "s", what=beside, of=MANAGER)
        assert report["rpo_rows"] == 0, f"acknowledged rows are missing: {report['lost']}"
        assert report["double_writer_seconds"] == 0, f"two writers at once: {report['double_writer']}"
        assert report["recovered"]
        if limit is not None:
            assert report["rto_seconds"] <= widened(limit)

    def after_fault(self, moment_in_report: float) -> float:
        """Seconds from the fault to a moment of the report."""
        return moment_in_report - float(self.report["fault_at_seconds"])

    def last_open(self, node: str, before: float = float("inf")) -> float:
        """How long after the fault a node was last seen out of recovery."""
        ends = [self.after_fault(end) for _, end in self.report["out_of_recovery"].get(node, []) if end < before]
        return max(ends, default=0.0)

    def writers(self) -> list[str]:
        """The nodes that acknowledged commits, in the order in which they began to."""
        begun = {node: spans[0][0] for node, spans in self.report["writers"].items()}
        return sorted(begun, key=lambda node: begun[node])


# What a story may have left on a node: a frozen or stopped PostgreSQL, a guard that was stopped.
_MEND = f"""
group=$(systemctl show --property=ControlGroup --value {UNIT})
[ -z "$group" ] || [ "$(cat /sys/fs/cgroup$group/cgroup.freeze 2>/dev/null)" != 1 ] || echo 0 > /sys/fs/cgroup$group/cgroup.freeze
pkill -CONT -u postgres -x postgres
systemctl is-active --quiet escala-pg-guard || systemctl start escala-pg-guard
true
"""


# The follower's own library is on each host with a pooler.
_CONSOLE = """import json, sys
sys.path.insert(0, "/usr/lib/escala")
from ansible_collections.escala.ha.plugins.module_utils._pgbouncer import Console
"""


def wait_until(moment: float, what: str) -> None:
    """Return at a moment of the monotonic clock."""
    eventually(what, lambda: time.monotonic() >= moment, within=max(0.0, moment - time.monotonic()) + 5)


def fail_over(
    cluster: Cluster,
    output: Path,
    what: str,
    fault: Callable[[str], object],
    undo: Callable[[str], object] = lambda _old: None,
    *,
    lasts: float = 0.0,
    within: float = _RECOVERED_SECONDS,
    may_return: bool = False,
) -> tuple[str, Found]:
    """Put the primary to a fault, undo it once rows are acknowledged again and it has lasted, and watch until the cluster is whole.

    Returns who was primary, and what it cost; that the old primary rejoins within its time, and never as a second writer, is held here.
    With may_return it may win the election itself: one that starts again at once, and has more than the others, is the best of them.
    """
    old = cluster.primary()
    with cluster.measuring(output) as measurement:
        at = measurement.mark(f"{old}: {what}")
        fault(old)
        cluster.wait_acknowledged(measurement, at, within)
        wait_until(at + lasts, "the fault has lasted its time")
        undone = measurement.mark(f"{old}: the fault ends")
        undo(old)
        cluster.wait_until_whole()
        whole = measurement.mark("whole again")
        print(f"{old} rejoined {whole - undone:.1f} s after the fault ended")
        wait_until(whole + _WATCHED_SECONDS, "nothing comes late")
    found = cluster.judge(measurement, output, what, at)
    assert found.writers()[0] == old
    if may_return and cluster.primary() == old:
        assert found.writers() == [old]
        return old, found
    assert cluster.primary() != old
    assert len(found.writers()) == 2, f"writers were {found.writers()}"
    return old, found


@pytest.fixture(scope="session")
def cluster(lab: Lab) -> Cluster:
    hosts = lab.hosts()
    nodes = {name: facts["address"] for name, facts in hosts.items() if "postgres_servers" in facts["groups"]}
    pools = {name: facts["address"] for name, facts in hosts.items() if "app_servers" in facts["groups"]}
    if not nodes:
        pytest.exit("no data nodes are up: `make lab` boots and converges the topology that has them", returncode=3)
    return Cluster(lab, nodes, pools)


@pytest.fixture
def whole_cluster(request: pytest.FixtureRequest, cluster: Cluster, output: Path) -> Iterator[Cluster]:
    """Begin with one primary and every other node streaming from it, and leave it so; keep all logs when the story failed."""
    begun = time.time()
    cluster.heal()
    cluster.wait_until_whole()
    failed_before = request.session.testsfailed
    yield cluster
    if request.session.testsfailed > failed_before:
        keep_logs(cluster, output, begun)
    cluster.heal()
    cluster.wait_until_whole()


def keep_logs(cluster: Cluster, folder: Path, since: float) -> None:
    """Of every data node and application host that runs: its journal, PostgreSQL's own log, what its guard says."""
    journal = f"journalctl --no-pager -o short-iso-precise --since @{int(since)}"
    own = "tail -n 5000 /var/log/postgresql/*.log 2>/dev/null; true"
    (folder / "guards.json").write_text(json.dumps(cluster.guards(), indent=1) + "\n")
    hosts = {name: facts for name, facts in cluster.lab.hosts().items() if name in {*cluster.nodes, *cluster.pools}}
    (folder / "status.json").write_text(json.dumps(hosts, indent=1) + "\n")

    def keep(host: str) -> None:
        for kind, command in (("journal", journal), ("postgresql", own)):
            if hosts[host]["state"] == "running" and (
                text := cluster.lab.on(host, f"sh -c {shlex.quote(command)}", check=False)
            ):
                (folder / f"{host}.{kind}.log").write_text(text)

    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(keep, hosts))
    print(f"logs kept in {folder.relative_to(ROOT)}")
