"""What several hosts say of the database becomes one verdict a check, and names who is wrong and who saw it."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils import _database_verdicts as verdicts
from ansible_collections.escala.ha.plugins.module_utils import _postgresql_checks as checks
from ansible_collections.escala.ha.plugins.module_utils._verdict import outcome
from tests.unit.plugins.module_utils.postgresql_cluster import seen

AWAY = {"unreachable": True, "msg": "no route to host"}
BROKEN = {"failed": False, "msg": "Failed to import psycopg\nRead the documentation"}


def view(found=None):
    """What the module returns on a node that sees the recorded cluster, or another picture."""
    found = found or seen()
    return outcome([judge(found) for judge in (checks.judge_answers, checks.judge_primary, checks.judge_streaming)])


def merged(**results):
    return {verdict["name"]: verdict for verdict in verdicts.replication_verdicts(results)}


def test_what_all_nodes_see_is_said_once():
    found = merged(db1=view(), db2=view(), db3=view())
    assert list(found) == ["postgresql_nodes_answer", "one_postgresql_primary", "postgresql_standbys_stream"]
    assert all(verdict["passed"] for verdict in found.values())
    assert found["postgresql_nodes_answer"]["reason"] == "db1, db2, db3 answer"
    assert found["postgresql_nodes_answer"]["evidence"]["seen_from"] == ["db1", "db2", "db3"]


def test_a_fault_that_all_see_is_said_once_too():
    found = merged(db1=view(seen(away=("db3",))), db2=view(seen(away=("db3",))))
    assert found["postgresql_nodes_answer"]["reason"] == (
        "db3 does not answer: no answer within the limit. Bring it back, or put right what it says"
    )


def test_a_fault_that_one_sees_fails_with_its_name():
    verdict = merged(db1=view(), db2=view(seen(away=("db3",))), db3=view())["postgresql_nodes_answer"]
    assert verdict["passed"] is False
    assert verdict["reason"].startswith("as seen from db2: db3 does not answer: no answer within the limit")
    assert verdict["reason"].endswith(". db1, db3 see nothing wrong")
    assert verdict["evidence"]["seen_from"] == ["db2"]


def test_different_faults_are_all_said():
    reason = merged(db1=view(seen(away=("db3",))), db2=view(seen(away=("db1",))))["postgresql_nodes_answer"]["reason"]
    assert "as seen from db1: db3 does not answer" in reason
    assert "as seen from db2: db1 does not answer" in reason
    assert "nothing wrong" not in reason


def test_a_reason_of_several_lines_becomes_one():
    bad = view(seen(away=("db3",)))
    bad["verdicts"][0]["reason"] = "no space left\nHINT:  free some"
    assert merged(db1=bad)["postgresql_nodes_answer"]["reason"] == "no space left HINT: free some"


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (AWAY, "db2 could not be entered, so it was not asked"),
        (BROKEN, "db2 could not be asked: Failed to import psycopg Read the documentation"),
        ({"skipped": True}, "db2 could not be entered, so it was not asked"),
        ({}, "db2 could not be asked: it said nothing"),
    ],
)
def test_a_node_that_could_not_be_asked_is_a_finding(result, why):
    found = merged(db1=view(), db2=result, db3=view())
    assert [name for name, verdict in found.items() if not verdict["passed"]] == ["postgresql_nodes_answer"]
    assert found["postgresql_nodes_answer"]["reason"].startswith(f"{why}. Bring it back")


def test_a_node_that_could_not_be_asked_stands_beside_what_the_others_found():
    reason = merged(db1=view(seen(away=("db3",))), db3=AWAY)["postgresql_nodes_answer"]["reason"]
    assert "db3 does not answer" in reason
    assert "db3 could not be entered" in reason


@pytest.mark.parametrize("results", [{"db1": AWAY, "db2": BROKEN}, {}])
def test_where_nobody_could_be_asked_nothing_passes(results):
    found = verdicts.replication_verdicts(results)
    assert [(one["name"], one["passed"]) for one in found] == [
        ("postgresql_nodes_answer", False),
        ("one_postgresql_primary", False),
    ]
    assert "nobody could be asked" in found[0]["reason"]


def test_nodes_that_see_different_primaries_do_not_pass():
    other = copy.deepcopy(view())
    other["verdicts"][1]["evidence"]["primary"] = "db2"
    verdict = merged(db1=view(), db2=other)["one_postgresql_primary"]
    assert verdict["passed"] is False
    assert "(db1 sees db1, db2 sees db2)" in verdict["reason"]


def test_what_is_no_verdict_is_refused():
    with pytest.raises(ValueError, match="verdict"):
        verdicts.replication_verdicts({"db1": {"verdicts": [{"name": "x"}]}})


@given(st.dictionaries(st.sampled_from(["db1", "db2", "db3"]), st.sampled_from(["whole", "fault", "away"]), min_size=1))
def test_it_passes_exactly_where_every_node_was_asked_and_sees_it_well(states):
    of = {"whole": view(), "fault": view(seen(away=("db3",))), "away": AWAY}
    found = verdicts.replication_verdicts({host: of[state] for host, state in states.items()})
    assert all(one["passed"] for one in found) is (set(states.values()) == {"whole"})


CLUSTER = verdicts.cluster_from({"db1": view(), "db2": AWAY})


def test_who_is_primary_and_who_answers_comes_from_the_verdicts():
    assert CLUSTER == ("db1", {"db1": "10.77.0.31", "db2": "10.77.0.32", "db3": "10.77.0.33"})
    assert CLUSTER.standbys == ["db2", "db3"]


def test_a_node_that_nobody_reaches_is_none_to_read_from():
    assert verdicts.cluster_from({"db1": view(seen(away=("db3",)))}).standbys == ["db2"]


def test_where_nodes_see_different_primaries_none_is_known():
    other = copy.deepcopy(view())
    other["verdicts"][1]["evidence"]["primary"] = "db2"
    assert verdicts.cluster_from({"db1": view(), "db2": other}).primary is None
    assert verdicts.cluster_from({"db1": AWAY}) == (None, {})


def database(name, *numbers, **changes):
    hosts = [f"10.77.0.3{number}" for number in numbers] or ["/run/escala-pg-follow/nowhere"]
    return {"name": name, "hosts": hosts, "port": 5432, "paused": False, "disabled": False, **changes}


def server(number, name="app", **changes):
    return {"database": name, "address": f"10.77.0.3{number}", "close_needed": False, **changes}


def pooler(*databases, servers=()):
    return {"version": "1.24.1", "databases": list(databases), "servers": list(servers), "problem": None}


GOOD = pooler(database("app", 1), database("app_ro", 2), servers=[server(1), server(2, "app_ro")])


def judged(cluster=CLUSTER, **poolers):
    return verdicts.judge_poolers(poolers, cluster, "app")


def test_poolers_that_follow_pass():
    writes, reads = judged(app1=GOOD, app2=GOOD)
    assert (writes["passed"], reads["passed"]) == (True, True)
    assert writes["reason"] == "app1, app2 send writes to db1"
    assert reads["reason"] == "app1, app2 read from db2 or db3"
    assert reads["evidence"]["poolers"]["app1"] == {"app": ["db1"], "app_ro": ["db2"]}


@pytest.mark.parametrize(
    ("seen_there", "fault"),
    [
        (pooler(database("app", 2), database("app_ro", 2)), "app1 sends writes to db2, and the primary is db1."),
        (pooler(database("app", 1, 2), database("app_ro", 2)), "app1 sends writes to db1, db2, and the primary is"),
        (pooler(database("app", 9), database("app_ro", 2)), "app1 sends writes to 10.77.0.39, and the primary is"),
        (pooler(database("app"), database("app_ro", 2)), "app1 sends writes to nobody, and the primary is db1"),
        (pooler(database("app_ro", 2)), "app1 has no database app."),
        (
            pooler(database("app", 1, paused=True), database("app_ro", 2)),
            "app1 has app paused, so its clients wait or get errors",
        ),
        (pooler(database("app", 1, disabled=True), database("app_ro", 2)), "app1 has app disabled"),
        (
            {**GOOD, "servers": [server(2), server(2), server(3, close_needed=True)]},
            "app1 still has 2 connections for writes to db2.",
        ),
    ],
)
def test_a_pooler_that_sends_writes_elsewhere_fails_with_its_name(seen_there, fault):
    writes, reads = judged(app1=seen_there, app2=GOOD)
    assert (writes["passed"], reads["passed"]) == (False, True)
    assert writes["reason"].startswith(fault)
    assert "escala-pg-follow" in writes["reason"]


@pytest.mark.parametrize(
    ("readers", "fault"),
    [
        (database("app_ro", 2, 3), "app1 reads from db2, db3, and should from one of db2, db3."),
        (database("app_ro"), "app1 reads from nobody, and should from one of db2, db3."),
        (database("app_ro", 1), "app1 reads from db1, which is the primary."),
        (database("app_ro", 9), "app1 reads from 10.77.0.39, which is no data node that answers."),
        (database("app_ro", 2, paused=True), "app1 has app_ro paused"),
        (database("other", 2), "app1 has no database app_ro."),
    ],
)
def test_a_pooler_that_reads_elsewhere_fails_with_its_name(readers, fault):
    writes, reads = judged(app1=pooler(database("app", 1), readers))
    assert (writes["passed"], reads["passed"]) == (True, False)
    assert reads["reason"].startswith(fault)


def waiting(name, seconds, servers=0):
    return {
        "database": name,
        "user": "app",
        "clients_active": 0,
        "clients_waiting": 3,
        "servers_active": servers,
        "servers_idle": 0,
        "servers_login": 1,
        "longest_wait_seconds": seconds,
        "pool_mode": "transaction",
    }


@pytest.mark.parametrize(("name", "passed"), [("app", (False, True)), ("app_ro", (True, False))])
def test_clients_that_wait_while_no_connection_comes_about_are_a_fault(name, passed):
    found = judged(app1={**GOOD, "pools": [waiting(name, 7.2)]})
    assert tuple(verdict["passed"] for verdict in found) == passed
    said = next(verdict["reason"] for verdict in found if not verdict["passed"])
    assert said.startswith(f"app1 has 3 clients of app waiting for {name} for 7 s, and no connection for them.")


@pytest.mark.parametrize("pool", [waiting("app_ro", 2.9), waiting("app_ro", 7.2, servers=1), waiting("other", 7.2)])
def test_clients_that_wait_their_turn_are_none(pool):
    assert all(verdict["passed"] for verdict in judged(app1={**GOOD, "pools": [pool]}))


def test_without_a_standby_the_primary_is_read_from():
    alone = verdicts.Cluster("db1", {"db1": "10.77.0.31"})
    writes, reads = judged(alone, app1=pooler(database("app", 1), database("app_ro", 1)))
    assert (writes["passed"], reads["passed"]) == (True, True)
    assert reads["reason"] == "app1 read from db1, for there is no standby"


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (AWAY, "app1 could not be entered"),
        ({**pooler(), "problem": "no such file"}, "app1 could not be asked: no such file"),
        ({"msg": "it broke"}, "app1 could not be asked: it broke"),
        ({"skipped": True}, "app1 could not be entered"),
    ],
)
def test_a_pooler_that_could_not_be_asked_fails_both(result, why):
    for verdict in judged(app1=result, app2=GOOD):
        assert verdict["passed"] is False
        assert verdict["reason"].startswith(why)


def test_without_a_primary_or_a_pooler_nothing_passes():
    nobody = verdicts.Cluster(None, {"db2": "10.77.0.32"})
    assert ["it is not known who is primary" in one["reason"] for one in judged(nobody, app1=GOOD)] == [True, True]
    assert ["no host has a pooler" in one["reason"] for one in judged()] == [True, True]


def catalogue(*differences, problem=None):
    nodes = [
        {"name": name, "type": kind, "active": True, "upstream": upstream}
        for name, kind, upstream in (("db1", "primary", None), ("db2", "standby", "db1"))
    ]
    return {"nodes": [] if problem else nodes, "checks": [], "differences": list(differences), "problem": problem}


def test_a_catalogue_that_is_right_passes():
    verdict = verdicts.judge_catalogue({"db1": catalogue(), "db2": catalogue()})
    assert verdict["reason"] == "it has db1, db2 as they are, as asked on db1, db2"
    assert verdict["evidence"]["db2"] == {
        "db1": "primary, active, upstream none",
        "db2": "standby, active, upstream db1",
    }


def test_what_differs_is_said_once_with_who_was_told():
    verdict = verdicts.judge_catalogue({"db1": catalogue("a differs", "b differs"), "db2": catalogue("a differs")})
    assert verdict["passed"] is False
    assert verdict["reason"].startswith(
        "a differs (asked on db1, db2); b differs (asked on db1). Nothing decides by it"
    )


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (catalogue(problem="PostgreSQL does not answer"), "db2 could not be asked: PostgreSQL does not answer"),
        (BROKEN, "db2 could not be asked: Failed to import psycopg Read the documentation"),
    ],
)
def test_a_node_whose_catalogue_could_not_be_read_fails(result, why):
    verdict = verdicts.judge_catalogue({"db1": catalogue(), "db2": result})
    assert verdict["passed"] is False
    assert verdict["reason"].startswith(why)


def test_a_host_that_is_away_is_left_to_the_other_verdicts_unless_all_are():
    assert verdicts.judge_catalogue({"db1": catalogue(), "db2": AWAY})["passed"]
    assert "no data node could be entered" in verdicts.judge_catalogue({"db1": AWAY})["reason"]
