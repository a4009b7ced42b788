"""An old primary whose guard does not run is started by hand: it is never writable, and with its guard a healthy standby within a minute."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.eventually import eventually
from tests.lab.measurements import MANAGER, record
from tests.lab.parameters import others_in_soak_only
from tests.lab.postgres import UNIT, WHOLE_SECONDS, Cluster, wait_until

WATCHED_SECONDS = 5.0
STARTS = {
    "systemctl": "systemctl start postgresql",
    "pg_ctlcluster": "setpriv --reuid postgres --regid postgres --init-groups pg_ctlcluster 17 main start",
}
LOG = "/var/log/postgresql/postgresql-17-main.log"

pytestmark = pytest.mark.etapa_3


def times_run(cluster: Cluster, node: str) -> int:
    """How often PostgreSQL has run on a node, by its own log, which one that ended at once has written too."""
    return int(cluster.lab.on(node, f"grep --count 'starting PostgreSQL' {LOG} || true"))


def said_by_gate(cluster: Cluster, node: str, since: float) -> list[str]:
    """What the gate said of starts of the unit; nobody asks it about one past the unit."""
    journal = cluster.lab.on(node, f"journalctl --no-pager -o cat -u {UNIT} --since @{int(since)}")
    return [
        line for line in journal.splitlines() if line.startswith(("PostgreSQL may start", "PostgreSQL does not start"))
    ]


@pytest.mark.parametrize("how", others_in_soak_only(STARTS))
def test_it_is_never_writable_and_rejoins_within_a_minute(whole_cluster: Cluster, output: Path, how: str) -> None:
    lab, what = whole_cluster.lab, f"an old primary started with {how}"
    old = whole_cluster.primary()
    with whole_cluster.measuring(output) as measurement:
        at = measurement.mark(f"{old}: dead, and its guard too")
        lab.on(old, f"systemctl stop escala-pg-guard; systemctl kill --signal=KILL {UNIT}")
        whole_cluster.wait_acknowledged(measurement, at)
        eventually(
            "nothing of it runs", lambda: lab.on(old, "pgrep -c -x postgres", check=False).strip() == "0", within=10
        )
        times_before, since = times_run(whole_cluster, old), time.time()
        started = measurement.mark(f"{old}: {STARTS[how]}")
        # It may well refuse to start, or not come up: anything is well but a second primary, and that nothing was tried.
        lab.on(old, STARTS[how], check=False)
        eventually(
            "PostgreSQL has run, or its gate has refused it",
            lambda: (
                times_run(whole_cluster, old) > times_before
                or any("does not start" in line for line in said_by_gate(whole_cluster, old, since))
            ),
            within=WATCHED_SECONDS,
        )
        if how == "systemctl":
            assert said_by_gate(whole_cluster, old, since), "the unit started without its gate"
        wait_until(started + WATCHED_SECONDS, "it had time to accept a write")
        guarded = measurement.mark(f"{old}: its guard runs again")
        lab.on(old, "systemctl start escala-pg-guard")
        whole_cluster.wait_until_whole(WHOLE_SECONDS)
        rejoined = measurement.mark("whole again") - guarded
    found = whole_cluster.judge(measurement, output, what, at)
    record(
        f"old_primary_{how}_rejoined", rejoined, "s", WHOLE_SECONDS, what=f"{what}: a healthy standby after", of=MANAGER
    )
    assert found.last_open(old) < started - at, f"{old} was out of recovery after its start"
    assert len(found.writers()) == 2
    found.hold(f"old_primary_{how}", what)
