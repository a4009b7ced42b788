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
