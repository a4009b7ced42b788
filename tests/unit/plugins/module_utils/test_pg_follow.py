"""Where PgBouncer sends its clients, round by round, from what three nodes say."""

import json

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_follow import (
    NOWHERE,
    Config,
    Counters,
    Course,
    Node,
    Pooled,
    change_line,
    config_from,
    course_from,
    databases_text,
    document,
    judge,
    knows,
    metrics_text,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_state import Heard, NodeState, Promise

NODES = tuple(Node(f"db{number}", f"192.0.2.3{number}", 5432, 5433) for number in (1, 2, 3))
CONFIG = Config(
    nodes=NODES,
    databases=(
        Pooled("app", "writer", "app", "transaction", 15, 20),
        Pooled("app_ro", "readers", "app", "transaction", 10, 12),
    ),
    ca_file="ca.pem",
    certificate_file="pgbouncer.crt",
    key_file="pgbouncer.key",
    databases_file="databases.ini",
    socket_directory="/run/pgbouncer",
    port=6432,
    state_file="state.json",
    metrics_file="metrics.prom",
    lag_limit_seconds=5.0,
    poll_seconds=0.4,
    request_timeout_seconds=1.0,
    silent_seconds=2.5,
    hold_seconds=15.0,
    steady_seconds=2.0,
)


def primary(name, timeline=1, **more):
    return NodeState(node=name, role="primary", writable=True, joined=True, timeline=timeline, **more)


def standby(name, upstream="db1", timeline=1, **more):
    facts = {"streaming": upstream is not None, "replay_lag_seconds": 0.0, **more}
    return NodeState(node=name, role="standby", joined=True, timeline=timeline, upstream=upstream, **facts)


def other(name, role="stopped", timeline=1, **more):
    return NodeState(node=name, role=role, joined=True, timeline=timeline, **more)


def heard(*states, silent=()):
    """Each node as it says now, or as it has not for long."""
    return {state.node: Heard(state, 0.1) for state in states} | {name: Heard(None, 60.0) for name in silent}


WELL = heard(primary("db1"), standby("db2"), standby("db3"))


@pytest.fixture
def course():
    """All well for a while."""
    return judge(judge(Course(), WELL, CONFIG, 0.0), WELL, CONFIG, 10.0)


def test_before_anybody_is_heard_it_is_valid_and_points_nowhere():
    text = databases_text(judge(Course(), heard(silent=("db1", "db2", "db3")), CONFIG, 0.0), CONFIG)
    assert f"\napp = host={NOWHERE} port=5432 dbname=app " in text
    assert f"\napp_ro = host={NOWHERE} port=5432 dbname=app " in text


@pytest.mark.parametrize(("turn", "reader"), [(0, 2), (1, 3), (2, 2), (5, 3)])
def test_writes_go_to_the_primary_and_the_hosts_share_the_standbys(course, turn, reader):
    assert course.target == ("db1", ("db2", "db3"))
    # Never to two at once: PgBouncer would look for both names in one certificate.
    assert databases_text(course, CONFIG._replace(reader_turn=turn)).splitlines()[1:] == [
        "app = host=192.0.2.31 port=5432 dbname=app pool_mode=transaction pool_size=15 max_db_connections=20",
        f"app_ro = host=192.0.2.3{reader} port=5432 dbname=app pool_mode=transaction pool_size=10 max_db_connections=12",
    ]


OUTSIDE = heard(primary("db1", outside="192.0.2.71:5433"), standby("db2"), standby("db3"))


def test_as_long_as_the_data_are_outside_all_go_there_whatever_becomes_of_the_cluster(course):
    away = judge(course, OUTSIDE, CONFIG, 11.0)
    assert databases_text(away, CONFIG).splitlines()[1:] == [
        "app = host=192.0.2.71 port=5433 dbname=app pool_mode=transaction pool_size=15 max_db_connections=20",
        "app_ro = host=192.0.2.71 port=5433 dbname=app pool_mode=transaction pool_size=10 max_db_connections=12",
    ]
    assert "data are at 192.0.2.71:5433, so all go there" in change_line(course, away)
    # The primary is lost, two claim to be it, or nobody is heard: whoever is served elsewhere is not held back.
    for found in (heard(other("db1"), standby("db2")), heard(primary("db1"), primary("db2")), heard(silent=["db1"])):
        later = judge(away, found, CONFIG, 12.0)
        assert (later.outside, later.held) == ("192.0.2.71:5433", False)
    # What the follower after this one reads.
    assert course_from(json.dumps(document(away, OUTSIDE, None, 1.0)), CONFIG).outside == "192.0.2.71:5433"
    back = judge(away, WELL, CONFIG, 13.0)
    assert "app = host=192.0.2.31 port=5432 " in databases_text(back, CONFIG)
    assert "the application's data are here" in change_line(away, back)


@pytest.mark.parametrize("said", ["192.0.2.71", "192.0.2.71:", ":5432", "a b:5432", "192.0.2.71:5432 dbname=x:1"])
def test_an_outside_that_is_no_address_leads_nowhere_and_not_into_the_cluster(course, said):
    away = judge(course, heard(primary("db1", outside=said), standby("db2")), CONFIG, 11.0)
    assert f"app = host={NOWHERE} port=5432 " in databases_text(away, CONFIG)


@pytest.mark.parametrize("turn", range(4))
def test_every_host_reads_from_the_last_standby_there_is(course, turn):
    after = judge(course, heard(primary("db1"), standby("db3"), silent=["db2"]), CONFIG, 11.0)
    assert "app_ro = host=192.0.2.33 " in databases_text(after, CONFIG._replace(reader_turn=turn))


def test_without_a_standby_the_writer_is_read_from():
    alone = heard(primary("db1"), other("db2"), standby("db3", replay_lag_seconds=99.0))
    assert judge(Course(), alone, CONFIG, 0.0).target == ("db1", ("db1",))


def test_a_new_primary_is_followed_at_once(course):
    after = judge(course, heard(primary("db2", 2), standby("db3", "db2", 2), silent=["db1"]), CONFIG, 11.0)
    assert (after.target, after.held) == (("db2", ("db3",)), False)
    assert "writes go to db2 (before: db1)" in change_line(course, after)


def test_a_guard_that_does_not_answer_is_no_reason_to_leave_a_writer(course):
    for states in (heard(standby("db2"), standby("db3"), silent=["db1"]), heard(silent=["db1", "db2", "db3"])):
        after = judge(course, states, CONFIG, 11.0)
        assert (after.target, after.held) == (course.target, False)
        assert not change_line(course, after)


@pytest.mark.parametrize(
    "states",
    [
        # Its postmaster was killed, and its guard says so at once.
        heard(other("db1"), standby("db2"), standby("db3")),
        # It was fenced.
        heard(standby("db1", None), standby("db2", None), standby("db3", None)),
        # It hangs.
        heard(other("db1", "hung"), standby("db2"), standby("db3")),
        # Its host is off, and the others have given it up.
        heard(standby("db2", None), standby("db3", None), silent=["db1"]),
        # It cannot know yet that the others have elected.
        heard(primary("db1"), standby("db2", None, promise=Promise(2, "db3")), standby("db3", None)),
        # The new one is not confirmed yet.
        heard(primary("db2", 2), standby("db3", None, 1), silent=["db1"]),
    ],
)
def test_clients_wait_while_it_is_known_that_the_writer_is_none_any_more(course, states):
    after = judge(course, states, CONFIG, 11.0)
    assert after.held
    assert after.target[0] == "db1"
    assert change_line(course, after).startswith("<4>")
    assert "clients of db1 wait" in change_line(course, after)


def test_waiting_ends_with_a_writer(course):
    held = judge(course, heard(other("db1"), standby("db2"), standby("db3")), CONFIG, 11.0)
    after = judge(held, heard(other("db1"), primary("db2", 2), standby("db3", "db2", 2)), CONFIG, 14.0)
    assert (after.held, after.target[0]) == (False, "db2")
    assert change_line(held, after).startswith("<6>writes go to db2 (before: db1)")
    assert "clients go on" in change_line(held, after)


def test_waiting_has_an_end_and_does_not_begin_anew_without_a_writer(course):
    gone = heard(other("db1"), standby("db2", None), standby("db3", None))
    held = judge(course, gone, CONFIG, 11.0)
    still = judge(held, gone, CONFIG, 25.9)
    assert still.held_since == 11.0
    over = judge(still, gone, CONFIG, 26.0)
    assert not over.held
    assert "clients have waited long enough" in change_line(still, over)
    assert not judge(over, gone, CONFIG, 27.0).held
    back = judge(over, WELL, CONFIG, 28.0)
    assert judge(back, gone, CONFIG, 40.0).held


def test_of_two_claimants_none_gets_writes(course):
    two = heard(primary("db1"), primary("db2"), standby("db3"))
    after = judge(course, two, CONFIG, 11.0)
    assert (after.target[0], after.held) == (None, True)
    assert f"\napp = host={NOWHERE} " in databases_text(after, CONFIG)
    assert change_line(course, after).startswith(
        "<3>writes go nowhere, clients wait: db1 and db2 both claim timeline 1"
    )
    assert judge(after, WELL, CONFIG, 12.0).target[0] == "db1"


def test_an_old_primary_that_comes_back_gets_nothing(course):
    moved = judge(course, heard(primary("db2", 2), standby("db3", "db2", 2), silent=["db1"]), CONFIG, 11.0)
    both = heard(primary("db1"), primary("db2", 2), standby("db3", "db2", 2))
    assert judge(moved, both, CONFIG, 20.0).target[0] == "db2"


def test_a_standby_that_is_not_well_goes_at_once_and_comes_back_after_a_while(course):
    limping = heard(primary("db1"), standby("db2", replay_lag_seconds=9.0), standby("db3"))
    without = judge(course, limping, CONFIG, 11.0)
    assert without.readers == ("db3",)
    assert "(db2: its lag is 9.0 s, limit is 5 s)" in change_line(course, without)
    for now in (12.0, 13.9):
        without = judge(without, WELL, CONFIG, now)
        assert without.readers == ("db3",)
    assert judge(without, WELL, CONFIG, 14.0).readers == ("db2", "db3")


def test_a_writer_that_serves_readers_does_so_until_a_standby_is_steady(course):
    alone = judge(course, heard(primary("db1"), other("db2"), other("db3")), CONFIG, 11.0)
    # Nobody confirms it, so the last standbys stay until there is a writer again.
    assert alone.target == course.target
    lagging = heard(primary("db1"), standby("db2", replay_lag_seconds=9.0), standby("db3", replay_lag_seconds=9.0))
    fallback = judge(alone, lagging, CONFIG, 12.0)
    assert fallback.readers == ("db1",)
    first = judge(fallback, WELL, CONFIG, 13.0)
    assert first.readers == ("db1",)
    assert judge(first, WELL, CONFIG, 15.0).readers == ("db2", "db3")


def test_while_there_is_no_writer_the_standbys_are_read_from(course):
    after = judge(course, heard(other("db1"), standby("db2", None), standby("db3", None)), CONFIG, 11.0)
    assert after.readers == ("db2", "db3")


def test_what_is_written_for_others_says_where_why_and_who_was_heard(course):
    states = heard(primary("db1"), standby("db2"), silent=["db3"])
    found = document(course, states, "no console", 1700000000.0)
    assert (found["writer"], found["readers"], found["held"]) == ("db1", ["db2", "db3"], False)
    assert found["nodes"]["db1"]["role"] == "primary"
    assert found["nodes"]["db3"]["role"] is None
    assert found["pgbouncer_problem"] == "no console"
    json.dumps(found)


def test_the_one_after_a_restart_knows_what_the_one_before_did(course):
    again = course_from(json.dumps(document(course, WELL, None, 0.0)), CONFIG)
    assert again.target == course.target
    assert judge(again, heard(other("db1"), standby("db2"), standby("db3")), CONFIG, 0.0).held


def test_a_dispute_outlives_a_restart(course):
    disputed = judge(course, heard(primary("db1"), primary("db2"), standby("db3")), CONFIG, 11.0)
    assert course_from(json.dumps(document(disputed, WELL, None, 0.0)), CONFIG).target[0] is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"last_writer": "db9", "readers": []}', '{"last_writer": "db1", "readers": ["other"]}'],
)
def test_what_the_one_before_left_is_forgotten_where_it_means_nothing(text):
    assert course_from(text, CONFIG) == Course()


def test_metrics_name_every_node(course):
    lines = metrics_text(course, WELL, None, Counters(3, 2, 1700000000.0), ["db1", "db2", "db3"]).splitlines()
    assert 'escala_pg_follow_writer{node="db1"} 1' in lines
    assert 'escala_pg_follow_writer{node="db2"} 0' in lines
    assert 'escala_pg_follow_reader{node="db3"} 1' in lines
    assert "escala_pg_follow_pgbouncer_up 1" in lines
    assert "escala_pg_follow_changes_total 3" in lines
    assert "escala_pg_follow_changed_timestamp_seconds 1700000000" in lines


def as_json(**changes):
    values = CONFIG._asdict() | {
        "nodes": [node._asdict() for node in NODES],
        "databases": [one._asdict() for one in CONFIG.databases],
    }
    return json.dumps(values | changes)


def test_a_configuration_is_read_also_one_of_a_later_version():
    assert config_from(as_json()) == CONFIG
    assert config_from(as_json(new_key=1)) == CONFIG


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": []}, "there must be data nodes"),
        ({"nodes": [{"name": "db1"}]}, "a node lacks address"),
        ({"nodes": [NODES[0]._replace(address="192.0.2.1 port=1")._asdict()]}, "can be no name"),
        ({"nodes": [NODES[0]._asdict(), NODES[1]._replace(port=5444)._asdict()]}, "one port for all hosts"),
        ({"databases": [CONFIG.databases[0]._replace(to="both")._asdict()]}, "writer or readers"),
        ({"poll_seconds": 0}, "must be more than 0"),
    ],
)
def test_a_configuration_that_cannot_be_meant_says_what_is_wrong(changes, said):
    with pytest.raises(ValueError, match=said):
        config_from(as_json(**changes))


BEFORE = tuple(Node(f"old{number}", f"192.0.2.4{number}", 5432, 5433) for number in (1, 2, 3))
BOTH = CONFIG._replace(previous_nodes=BEFORE)
UNKNOWN = Course()
OLD_WELL = heard(primary("old1"), standby("old2", "old1"), standby("old3", "old1"))


def ours(outside):
    """All of this cluster, whose writer says that the data are there."""
    return heard(primary("db1", outside=outside), standby("db2"), standby("db3"))


def both(outside, old=OLD_WELL, before=UNKNOWN, at=0.0):
    """Where clients are led while there are two clusters, both well for a while."""
    told = {**ours(outside), **old}
    return judge(judge(before, told, BOTH, at), told, BOTH, at + 10.0)


def hosts(course):
    return [line.split(" host=")[1].split()[0] for line in databases_text(course, BOTH).splitlines()[1:]]


@pytest.mark.parametrize("outside", [None, "previous", "192.0.2.41:5432"])
def test_the_cluster_before_this_one_serves_until_this_one_says_that_the_data_are_here(outside):
    assert hosts(both(outside)) == ["192.0.2.41", "192.0.2.42"]
    assert hosts(both("here")) == ["192.0.2.31", "192.0.2.32"]


def test_without_a_cluster_before_it_this_one_serves_also_where_it_says_nothing():
    assert hosts(judge(Course(), ours(None), CONFIG, 0.0)) == ["192.0.2.31", "192.0.2.32"]
    assert hosts(judge(Course(), ours("here"), CONFIG, 0.0)) == ["192.0.2.31", "192.0.2.32"]


def test_a_pooler_that_knows_no_cluster_before_this_one_leads_nowhere_when_the_data_are_there():
    assert hosts(judge(Course(), ours("previous"), CONFIG, 0.0)) == [NOWHERE, NOWHERE]


def test_a_failover_of_the_cluster_before_this_one_is_followed_while_it_serves():
    course = both("previous")
    moved = heard(other("old1"), primary("old2", timeline=2), standby("old3", "old2", timeline=2))
    assert hosts(both("previous", moved, course, 20.0)) == ["192.0.2.42", "192.0.2.43"]
    # And has clients wait meanwhile, whatever this cluster does.
    lost = {**ours("previous"), **heard(other("old1"), standby("old2", None), standby("old3", None))}
    course = judge(course, lost, BOTH, 11.0)
    assert (course.served.held, course.held) == (True, False)
    assert change_line(both("previous"), course).startswith("<4>clients of old1 wait")


def test_a_cluster_that_does_not_serve_has_nobody_wait():
    course = both("here")
    lost = {**ours("here"), **heard(other("old1"), standby("old2", None), standby("old3", None))}
    assert not judge(course, lost, BOTH, 11.0).served.held


def test_what_was_said_last_holds_while_this_cluster_has_no_writer():
    silent = {**heard(silent=("db1", "db2", "db3")), **OLD_WELL}
    assert hosts(judge(both("here"), silent, BOTH, 20.0)) == ["192.0.2.31", "192.0.2.32"]
    assert hosts(judge(both("previous"), silent, BOTH, 20.0)) == ["192.0.2.41", "192.0.2.42"]


@pytest.mark.parametrize("outside", ["here", "previous"])
def test_the_one_after_it_goes_on_with_both(outside):
    course = both(outside)
    again = course_from(json.dumps(document(course, {**ours(outside), **OLD_WELL}, None, 0.0)), BOTH)
    assert hosts(again) == hosts(course)
    assert again.previous.outside is None


def test_a_cluster_that_becomes_the_previous_one_is_remembered():
    alone = BOTH._replace(nodes=BEFORE, previous_nodes=())
    told = heard(primary("old1", outside="here"), standby("old2", "old1"), standby("old3", "old1"))
    text = json.dumps(document(judge(Course(), told, alone, 0.0), told, None, 0.0))
    course = course_from(text, BOTH)
    assert (course.writer, course.outside, course.previous.writer) == (None, None, "old1")
    assert hosts(course) == ["192.0.2.41", "192.0.2.42"]


def test_a_change_of_clusters_is_said():
    line = change_line(both("previous"), both("here"))
    assert line.startswith("<6>writes go to db1 (before: old1); reads go to one of db2, db3 (before: old2, old3): ")
    assert change_line(both("here"), both("here")) == ""


@pytest.mark.parametrize(
    ("here", "there", "known"),
    [
        (heard(silent=("db1", "db2", "db3")), heard(silent=("old1", "old2", "old3")), False),
        (ours(None), OLD_WELL, True),
        (heard(silent=("db1", "db2", "db3")), OLD_WELL, True),
        (ours(None), heard(silent=("old1", "old2", "old3")), False),
        (ours("here"), heard(silent=("old1", "old2", "old3")), True),
    ],
)
def test_a_pooler_is_told_nothing_before_those_are_heard_whom_it_is_to_follow(here, there, known):
    told = {**here, **there}
    assert knows(judge(Course(), told, BOTH, 0.0), told, BOTH) is known


def test_after_a_boot_this_cluster_is_waited_for_a_moment_since_the_one_before_it_may_have_handed_over():
    just_begun = {**{name: Heard(None, 0.4) for name in ("db1", "db2", "db3")}, **OLD_WELL}
    assert not knows(judge(Course(), just_begun, BOTH, 0.0), just_begun, BOTH)
    # Whoever remembers need not.
    assert knows(judge(both("previous"), just_begun, BOTH, 20.0), just_begun, BOTH)


@pytest.mark.parametrize(
    "told",
    [
        heard(standby("db2", outside="here"), silent=("db1", "db3")),
        # Nobody confirms that it is the writer yet.
        heard(primary("db1", outside="here"), silent=("db2", "db3")),
        heard(standby("db2", outside="here", timeline=2), standby("db3", outside="previous"), silent=("db1",)),
    ],
)
def test_after_a_boot_whoever_is_furthest_says_where_the_data_are(told):
    told = {**told, **OLD_WELL}
    course = judge(Course(), told, BOTH, 0.0)
    assert course.served is course
    assert knows(course, told, BOTH)


def test_a_node_that_has_no_server_as_yet_says_nothing_of_where_the_data_are():
    told = {**heard(other("db1", "starting")), **{name: Heard(None, 0.4) for name in ("db2", "db3")}, **OLD_WELL}
    assert not knows(judge(Course(), told, BOTH, 0.0), told, BOTH)


def test_a_reader_that_has_left_takes_nothing_else_with_it():
    course = both("here")
    text = json.dumps(document(course, {**ours("here"), **OLD_WELL}, None, 0.0))
    smaller = BOTH._replace(nodes=NODES[:2])
    assert (course_from(text, smaller).outside, course_from(text, smaller).writer) == ("here", None)


def test_metrics_are_of_the_cluster_that_serves():
    names = [node.name for node in BOTH.all_nodes]
    text = metrics_text(both("previous"), {**ours("previous"), **OLD_WELL}, None, Counters(), names)
    assert 'escala_pg_follow_writer{node="old1"} 1\n' in text
    assert 'escala_pg_follow_writer{node="db1"} 0\n' in text


def test_two_clusters_have_nodes_of_other_names():
    assert config_from(as_json(previous_nodes=[node._asdict() for node in BEFORE])) == BOTH
    with pytest.raises(ValueError, match="two data nodes have the same name"):
        config_from(as_json(previous_nodes=[node._asdict() for node in NODES]))
