"""Two ends that change places, and what is left where that breaks off."""

import contextlib

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_migration_run as run
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_migration import Clients, EntryError, MigrationError, State
from ansible_collections.escala.ha.plugins.module_utils._pg_switchover import Time
from tests.unit.plugins.module_utils.test_pg_migration import FOLLOWING, end

OPTIONS = run.Options(
    database="app",
    socket_directory="/run/postgresql",
    port=5432,
    user="escala_guard",
    source="old",
    source_address="192.0.2.71",
    source_port=5432,
    source_is_cluster=False,
    nodes=("192.0.2.31", "192.0.2.32"),
    passfile="/etc/escala/migration.pgpass",
    ca_file="/etc/ssl/escala/ca.pem",
    programs="/usr/lib/postgresql/17/bin",
)
CLIENTS = Clients((), True, frozenset())
LIMITS = run.Limits(5.0, 20.0, 1000)
SERVED_BY_OLD = State("old", "192.0.2.71", 5432, "source", {"public.notes": "d1", "public.users": "d2"}, 50)
SERVED_BY_CLUSTER = SERVED_BY_OLD._replace(serves="cluster")


class Sql:
    """What the servers are told, in order, as `end did`; a step whose name is in `fails` raises, and one in `never` does not come about."""

    def __init__(self, state):
        self.state = state
        self.did = []
        self.fails = {}
        self.never = set()
        self.subscribed = {"cluster" if state and state.serves == "source" else "source"}
        self.slots = {state.serves} if state else set()
        self.limits = {"source": -1, "cluster": -1, **dict.fromkeys(self.subscribed, 0)}
        self.now = 0.0
        self.locked = 0

    def time(self):
        return Time(lambda: self.now, self.sleep)

    def sleep(self, seconds):
        self.now += seconds

    def _tell(self, session, what):
        if what in self.fails:
            raise self.fails[what]
        self.did.append(f"{session} {what}")

    def ask(self, session, statement, *_more, **_options):
        if "try_advisory_lock" in statement:
            self.locked -= 1
            return "f" if self.locked >= 0 else "t"
        return None

    def make_alike(self, session):
        pass

    def read_state(self, _session):
        return self.state

    def look(self, session):
        facts = {} if session not in self.subscribed else {**FOLLOWING}
        facts["slot"] = "reserved" if session in self.slots else None
        return end(**{**facts, "connection_limit": self.limits[session]})

    def behind(self, _session):
        return 0

    def limit(self, session, connections):
        self._tell(session, f"limit {connections}")
        self.limits[session] = connections

    def limit_statement(self, _session, connections):
        return ("limit", connections)

    def end_clients(self, session):
        self._tell(session, "end clients")
        return 1 if "end clients" in self.never else 0

    def end_connections(self, session, connections):
        if connections:
            self._tell(session, f"end {', '.join(connections)}")
        return len(connections)

    def position(self, _session):
        return "0/1"

    def confirmed(self, _session, _lsn):
        return "confirmed" not in self.never

    def sequences(self, _session):
        return [["public.s", 7, True]]

    def set_sequences(self, session, values):
        self._tell(session, f"sequences {values[0][1]}")

    def make_slot(self, session):
        self._tell(session, "slot")
        self.slots.add(session)

    def drop_slot(self, session):
        self._tell(session, "no slot")
        self.slots.discard(session)

    def write_state(self, session, state, outside, *more):
        told = "".join(f", limit {one[1]}" for one in more)
        self._tell(session, f"serves {state.serves if state else None}, clients {outside}{told}")
        self.state = state
        for one in more:
            self.limits[session] = one[1]

    def has_subscription(self, session):
        return session in self.subscribed

    def subscribe(self, session, info, *, copy):
        self._tell(session, f"follows {'192.0.2.31,192.0.2.32' if '192.0.2.31,' in info else 'old'}")
        self.subscribed.add(session)

    def unsubscribe(self, session):
        self._tell(session, "follows nobody")
        self.subscribed.discard(session)

    def unpublish(self, session):
        self._tell(session, "publishes nothing")

    def schemas(self, _session):
        return ["public"]

    def told(self, session, statement, *values):
        self._tell(session, statement.replace("%I", "{}").format(*values))


@pytest.fixture
def world(monkeypatch):
    """Makes the servers of a state, entered by names instead of sessions; `gone` ones cannot be."""

    def make(state, gone=()):
        sql = Sql(state)

        @contextlib.contextmanager
        def entered(where, _info):
            name = "source" if where == "old" else "cluster"
            if name in gone:
                raise EntryError(f"{where} cannot be entered")
            yield name

        monkeypatch.setattr(run, "sql", sql)
        monkeypatch.setattr(run, "_entered", entered)
        monkeypatch.setattr(run, "sleep", sql.sleep)
        monkeypatch.setattr(run, "wait_let_go", lambda session, *_more: sql.did.append(f"{session} let go"))
        monkeypatch.setattr(run, "refuse_old", lambda *_more: None)
        return sql

    return make


def switch(sql, to="cluster"):
    return run.switch(OPTIONS, to, LIMITS, ["192.0.2.21"], ["app"], sql.time())


def test_the_cluster_takes_over_and_the_old_server_follows_it(world):
    sql = world(SERVED_BY_OLD)
    found = switch(sql)
    assert (found.serves, found.before) == ("cluster", "old")
    assert sql.did == [
        "source let go",
        "source limit 0",
        "source end clients",
        "cluster sequences 7",
        "cluster slot",
        # Who serves, and who is let in, at once.
        "cluster serves cluster, clients None, limit -1",
        "cluster follows nobody",
        "source no slot",
        "source follows 192.0.2.31,192.0.2.32",
    ]


def test_the_old_server_takes_over_again_with_the_limit_that_it_had(world):
    sql = world(SERVED_BY_CLUSTER)
    assert switch(sql, "source").before == "the cluster"
    assert sql.did == [
        "cluster let go",
        "cluster limit 0",
        "cluster end clients",
        "source sequences 7",
        "source slot",
        # Nobody is let in by the old server before the poolers know.
        "cluster serves source, clients 192.0.2.71:5432",
        "source limit 50",
        "source follows nobody",
        "cluster no slot",
        "cluster follows old",
    ]


@pytest.mark.parametrize(
    ("never", "said"),
    [("end clients", "have not gone in time"), ("confirmed", "has not confirmed all up to 0/1 in time")],
)
@pytest.mark.parametrize(("state", "limit"), [(SERVED_BY_OLD, 50), (SERVED_BY_CLUSTER, -1)])
def test_what_does_not_come_about_in_time_leaves_all_as_it_was(world, never, said, state, limit):
    sql = world(state)
    sql.never.add(never)
    with pytest.raises(MigrationError, match=f"{said}, so all is as it was"):
        switch(sql, "cluster" if state.serves == "source" else "source")
    assert sql.did[-1] == f"{state.serves} limit {limit}"
    assert sql.state == state


def test_a_step_before_the_decision_that_fails_lets_clients_in_again(world):
    sql = world(SERVED_BY_OLD)
    sql.fails["slot"] = SessionError("connection", "the cluster's primary has gone")
    with pytest.raises(SessionError, match="has gone"):
        switch(sql)
    assert sql.did[-1] == "source limit 50"


def test_a_decision_of_which_nobody_knows_lets_nobody_in(world):
    sql = world(SERVED_BY_OLD)
    sql.fails["serves cluster, clients None, limit -1"] = SessionError("connection", "the connection ended")
    with pytest.raises(MigrationError, match="whether cluster serves now is not known, and nobody is let in by either"):
        switch(sql)
    assert sql.limits == {"source": 0, "cluster": 0}
    assert "source limit 50" not in sql.did


def test_who_took_over_serves_also_where_the_other_one_cannot_follow_yet(world):
    sql = world(SERVED_BY_OLD)
    sql.fails["follows 192.0.2.31,192.0.2.32"] = SessionError("refused", "no pg_hba.conf entry")
    with pytest.raises(
        MigrationError, match="cluster serves now, and old does not follow it yet, so there is no way back"
    ):
        switch(sql)
    del sql.fails["follows 192.0.2.31,192.0.2.32"]
    sql.limits["source"] = 0
    assert run.ready(OPTIONS, "cluster", LIMITS, CLIENTS, (), False) == (SERVED_BY_CLUSTER, True, 0)
    assert sql.did[-1] == "source follows 192.0.2.31,192.0.2.32"


def test_an_end_that_was_left_shut_is_opened_by_the_next_run(world):
    sql = world(SERVED_BY_OLD)
    sql.limits["source"] = 0
    run.ready(OPTIONS, "cluster", LIMITS, CLIENTS, (), False)
    assert sql.did == ["source limit 50"]


def test_a_check_before_the_beginning_has_nothing_to_see(world):
    world(None)
    assert run.ready(OPTIONS, "cluster", LIMITS, CLIENTS, (), True) == (None, True, 0)


def test_a_check_opens_nothing(world):
    sql = world(SERVED_BY_OLD)
    sql.limits["source"] = 0
    run.ready(OPTIONS, "cluster", LIMITS, CLIENTS, (), True)
    assert sql.did == []


def test_dead_connections_are_ended_where_the_application_is_served_and_by_no_check(world):
    sql = world(SERVED_BY_OLD)
    run.ready(OPTIONS, "cluster", LIMITS, CLIENTS, ["192.0.2.21:40003"], True)
    assert sql.did == []
    assert run.ready(OPTIONS, "cluster", LIMITS, CLIENTS, ["192.0.2.21:40003"], False) == (SERVED_BY_OLD, False, 1)
    assert sql.did == ["source end 192.0.2.21:40003"]


def test_a_run_waits_for_one_that_is_in_the_midst_of_it_and_not_for_ever(world):
    sql = world(SERVED_BY_OLD)
    sql.locked = 10
    assert run.ready(OPTIONS, "cluster", LIMITS, CLIENTS, (), False)[1] is False
    assert sql.now == 5.0
    sql.locked = 1000
    with pytest.raises(MigrationError, match="another run has been in the midst of it for 45 s"):
        run.ready(OPTIONS, "cluster", LIMITS, CLIENTS, (), False)


@pytest.mark.parametrize(
    "step",
    [
        lambda: run.ready(OPTIONS, "cluster", LIMITS, CLIENTS, (), False),
        lambda: run.copied(OPTIONS, 1, 1, Sql(None).time()),
    ],
)
def test_without_a_migration_there_is_nothing_to_do(world, step):
    world(None)
    with pytest.raises(MigrationError, match="no migration is under way"):
        step()
    assert run.end(OPTIONS) is False


def test_a_table_that_is_not_what_was_copied_is_told_before_its_rows_are_compared(world):
    sql = world(SERVED_BY_OLD._replace(definitions={"public.notes": "d1", "public.users": "d2 as it was"}))
    with pytest.raises(MigrationError, match="public.users changed their definition since they were copied"):
        run.copied(OPTIONS, 1, 1, sql.time())


def test_a_migration_from_another_server_is_in_the_way(world):
    world(SERVED_BY_OLD._replace(source="older", address="192.0.2.70"))
    with pytest.raises(
        MigrationError, match=r"from older \(192.0.2.70:5432\) is under way, and this one would be from old"
    ):
        run.seen(OPTIONS)


def test_the_end_drops_the_copy_only_where_the_old_server_serves(world):
    sql = world(SERVED_BY_OLD)
    assert run.end(OPTIONS)
    assert "cluster DROP SCHEMA public CASCADE" in sql.did
    assert sql.did[-1] == "cluster serves None, clients None, limit -1"
    sql = world(SERVED_BY_CLUSTER)
    assert run.end(OPTIONS)
    assert not any("DROP SCHEMA" in one for one in sql.did)
    assert sql.did[-1] == "cluster serves None, clients None, limit -1"
    # It has nothing that is new.
    assert "source limit" not in " ".join(sql.did)


def test_an_old_server_that_is_gone_keeps_only_its_own_migration_from_ending(world):
    sql = world(SERVED_BY_CLUSTER, gone=["source"])
    assert run.end(OPTIONS)
    assert {one.split()[0] for one in sql.did} == {"cluster"}
    world(SERVED_BY_OLD, gone=["source"])
    with pytest.raises(MigrationError, match="old cannot be entered"):
        run.end(OPTIONS)


def test_a_source_that_failed_over_has_lost_what_was_to_follow(world):
    sql = world(SERVED_BY_OLD)
    sql.slots.clear()
    with pytest.raises(MigrationError, match="old has no replication slot of ours any more, as after a failover there"):
        run.copied(OPTIONS, 1, 1, sql.time())


def test_of_a_cluster_before_this_one_whichever_node_takes_writes_is_entered(monkeypatch):
    options = OPTIONS._replace(
        source="the previous cluster", source_address="192.0.2.41,192.0.2.42", source_is_cluster=True
    )
    assert options.to_source.endswith("target_session_attrs=read-write")
    assert "host='192.0.2.41,192.0.2.42'" in options.to_source
    assert "target_session_attrs" not in OPTIONS.to_source
    asked = []

    def session(info, limit_seconds):
        asked.append((info.split("'")[1], limit_seconds))
        if info.startswith("host='192.0.2.41'"):
            raise run.SessionError("limit", "no answer within the limit")
        return "a session"

    monkeypatch.setattr(run, "Session", session)
    assert run._first("the previous cluster", options.to_each_source) == "a session"
    # One that has no power is not waited for as long as all of them.
    assert asked == [("192.0.2.41", 5.0), ("192.0.2.42", 5.0)]
    monkeypatch.setattr(run, "Session", lambda info, _limit: session("host='192.0.2.41'", 1.0))
    with pytest.raises(EntryError, match="the previous cluster cannot be entered as escala_migration: no answer"):
        run._first("the previous cluster", options.to_each_source)


def test_of_two_clusters_this_one_goes_on_saying_that_the_data_are_here(world):
    upgrade = SERVED_BY_OLD._replace(cluster=True)
    sql = world(upgrade)
    switch(sql)
    assert "cluster serves cluster, clients here, limit -1" in sql.did
    # Or the poolers, which know the cluster before this one, would lead there from the end on.
    run.end(OPTIONS)
    assert sql.did[-1] == "cluster serves None, clients here, limit -1"
    sql = world(upgrade)
    run.end(OPTIONS)
    # It has no data then, and nobody is to write there.
    assert sql.did[-1] == "cluster serves None, clients None, limit 0"


def test_a_node_of_the_cluster_before_this_one_may_be_gone_by_now(world):
    world(SERVED_BY_OLD._replace(cluster=True, address="192.0.2.71,192.0.2.72,192.0.2.73"))
    assert run.seen(OPTIONS._replace(source_address="192.0.2.72,192.0.2.73")).serves == "source"
    with pytest.raises(MigrationError, match="is under way, and this one would be from old: end that first"):
        run.seen(OPTIONS._replace(source_address="192.0.2.81,192.0.2.82"))
