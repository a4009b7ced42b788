"""A token's way, over servers that answer what they are told to."""

import contextlib

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _postgresql_token as token
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Answer, SessionError
from tests.unit.plugins.module_utils.postgresql_cluster import seen

LIMIT = 3.0


class Cluster:
    """A primary and standbys, with the position to which each has replayed in every look at it; the last one stays."""

    limit_seconds = LIMIT

    def __init__(self, replays=None, warnings=(), has_row=True, broken=None):
        self.replays = replays or {"db2": ["0/5000000"], "db3": ["0/5000000"]}
        self.warnings = list(warnings)
        self.has_row = has_row
        self.broken = broken or {}
        self.statements = []
        self.seconds = 0.0

    def session(self, name):
        if name in self.broken:
            raise self.broken[name]
        return contextlib.nullcontext(Server(self, name))

    @property
    def clock(self):
        def sleep(seconds):
            self.seconds += seconds

        return token.Clock(lambda: self.seconds, sleep)


class Server:
    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name

    def execute(self, statement, values=(), *, limit_seconds):
        assert limit_seconds == LIMIT
        self.cluster.statements.append((self.name, statement.split()[0], list(values)))
        if "pg_current_wal_flush_lsn" in statement:
            return Answer([["0/5000000"]], [])
        if "pg_last_wal_replay_lsn" in statement:
            left = self.cluster.replays[self.name]
            return Answer([[left.pop(0) if len(left) > 1 else left[0]]], [])
        if "count(*)" in statement:
            return Answer([["1" if self.cluster.has_row else "0"]], [])
        return Answer([], self.cluster.warnings)


def judged(cluster, found=None, check_mode=False):
    return token.judge_token(cluster, found or seen(), check_mode, cluster.clock)


def test_a_token_that_arrives_everywhere_passes():
    cluster = Cluster({"db2": ["0/4000000", None, "0/5000000"], "db3": ["0/6000000"]})
    verdict = judged(cluster)
    assert verdict["passed"], verdict["reason"]
    assert "committed on db1 at 0/5000000, read on db2, db3" in verdict["reason"]
    (written,) = [values[0] for _name, verb, values in cluster.statements if verb == "WITH"]
    assert [values for _name, verb, values in cluster.statements if values and verb == "SELECT"] == [
        [written],
        [written],
    ]
    assert written not in str(verdict)


def test_each_token_is_another():
    clusters = [Cluster(), Cluster()]
    for cluster in clusters:
        judged(cluster)
    assert clusters[0].statements != clusters[1].statements


def test_in_check_mode_nothing_is_written_and_the_verdict_says_so():
    cluster = Cluster()
    verdict = judged(cluster, check_mode=True)
    assert verdict["passed"]
    assert "no token was written" in verdict["reason"]
    assert {verb for _name, verb, _values in cluster.statements} == {"SELECT"}
    assert verdict["evidence"]["written"] is False


@pytest.mark.parametrize(
    ("cluster", "reason"),
    [
        (Cluster({"db2": ["0/5000000"], "db3": ["0/4000000"]}), "db3 has replayed 0/4000000 of 0/5000000 after 3 s"),
        (Cluster({"db2": [None], "db3": ["0/5000000"]}), "db2 has replayed nothing of 0/5000000"),
        (Cluster(has_row=False), "db2 has replayed the commit and not its row"),
        (Cluster(warnings=["canceling wait"]), "db1 committed on its own disk only: canceling wait"),
        (Cluster(broken={"db1": SessionError("limit", "x")}), "db1 did not commit in time"),
        (Cluster(broken={"db1": SessionError("refused", "read-only")}), "db1 took no token: read-only"),
        (Cluster(broken={"db3": SessionError("connection", "refused")}), "db3 could not be read: refused"),
    ],
)
def test_a_token_that_does_not_arrive_fails_with_where(cluster, reason):
    verdict = judged(cluster)
    assert verdict["passed"] is False
    assert reason in verdict["reason"]


def test_without_a_primary_nothing_is_written():
    cluster = Cluster()
    verdict = judged(cluster, seen(away=("db1",)))
    assert (verdict["passed"], cluster.statements) == (False, [])


def test_one_node_needs_nobody_to_read():
    found = seen()
    verdict = judged(Cluster(), found._replace(nodes={"db1": found.nodes["db1"]}))
    assert verdict["passed"]
    assert "there is no standby" in verdict["reason"]
