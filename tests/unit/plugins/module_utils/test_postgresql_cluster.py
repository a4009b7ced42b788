from __future__ import annotations

import json

import pytest

from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import (
    ClusterError,
    attempted,
    beginner,
    least,
    named,
    observed,
    primary,
    question,
    restarts,
    unseen,
    versions_beside,
)

CONTROL = """pg_control version number:            1700
Database system identifier:           7575634826183947310
Database cluster state:               in archive recovery
max_connections setting:              200
max_prepared_xacts setting:           0
Time of latest checkpoint:            Tue Nov 24 04:51:41 2026
"""
ANSWER = {
    "writable": True,
    "timeline": 2,
    "streaming": False,
    "standbys": ["db2", "db3"],
    "invalid_settings": [],
    "pending_restart": [],
}
NOTHING = observed(None, (0, "", ""), (0, "", ""))


def node(identifier="7", **changes):
    return {**NOTHING, "data": True, "system_identifier": identifier, **changes}


def test_a_server_that_runs_says_what_it_is():
    found = observed("17\n", (0, CONTROL, ""), (0, json.dumps(ANSWER), ""))
    assert found == {
        "data": True,
        "version": "17",
        "system_identifier": "7575634826183947310",
        "least": {"max_connections": 200, "max_prepared_transactions": 0},
        "problem": None,
        "running": True,
        **ANSWER,
    }


def test_one_that_does_not_run_still_says_whose_data_it_has():
    found = observed("17\n", (0, CONTROL, ""), (2, "", "connection refused"))
    assert (found["running"], found["writable"], found["system_identifier"]) == (False, False, "7575634826183947310")


def test_data_that_cannot_be_read_is_still_data():
    found = observed("17\n", (1, "", "pg_controldata: error: could not open file\n"), (2, "", ""))
    assert (found["data"], found["problem"]) == (True, "pg_controldata: pg_controldata: error: could not open file")


def test_a_program_that_is_not_there_is_an_answer():
    def missing(_command):
        raise FileNotFoundError("no psql")

    assert attempted(missing, ["psql"]) == (127, "", "no psql")
    assert attempted(lambda command: (0, command[0], ""), ["psql"]) == (0, "psql", "")


def made(folder, version):
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text(version)
    return str(folder)


def test_data_of_every_version_is_found_where_debian_has_it(tmp_path):
    # A character that would mean something else in a pattern is one of the name.
    root = tmp_path / "post[gre]sql"
    old, new = made(root / "17" / "main", "17\n"), made(root / "18" / "main", "18\n")
    # A copy that is being made, data that was moved away, another cluster and a database's own mark are not the cluster's data.
    for other in (".main.new", "main.old", "reports", "main/base/1"):
        made(root / "17" / other, "17\n")
    (root / "19" / "main").mkdir(parents=True)
    for version in (17, 18, 19):
        assert versions_beside(f"{root}/{version}/main/") == {old: "17", new: "18"}


def test_data_in_a_place_of_its_own_is_found_too(tmp_path):
    place = made(tmp_path / ".hidden" / "main", "")
    assert versions_beside(place) == {place: ""}
    assert versions_beside(str(tmp_path / "nothing" / "main")) == {}


def test_a_node_of_which_nothing_is_known_is_not_in_the_run():
    assert unseen({"db1": node(), "db2": {}, "db3": NOTHING, "db4": {"unreachable": True}}) == ["db2", "db4"]


def test_the_server_is_asked_through_its_socket_by_one_statement():
    assert question("select 1", 5433, "me") == [
        "psql",
        "--no-psqlrc",
        "--no-password",
        "--tuples-only",
        "--no-align",
        "--set=ON_ERROR_STOP=1",
        "--host=/run/postgresql",
        "--port=5433",
        "--username=me",
        "--dbname=postgres",
        "--command=select 1",
    ]


def test_the_first_begins_when_all_were_seen_and_none_has_data():
    assert beginner({"db1": NOTHING, "db2": NOTHING, "db3": NOTHING}) == "db1"


@pytest.mark.parametrize("where", ["db1", "db2", "db3"])
def test_nobody_begins_where_one_has_data_even_if_others_were_not_seen(where):
    assert beginner({"db1": {}, "db2": NOTHING, "db3": {}, where: node()}) is None


@pytest.mark.parametrize("unseen", [{}, {"unreachable": True}])
def test_nobody_begins_while_one_was_not_seen_that_may_have_data(unseen):
    with pytest.raises(ClusterError, match="db3 could not be observed and may have some"):
        beginner({"db1": NOTHING, "db2": NOTHING, "db3": unseen})


def test_nodes_of_two_clusters_are_refused():
    with pytest.raises(ClusterError, match=r"db1 has 7, db3 has 8.*nothing was touched"):
        beginner({"db1": node("7"), "db2": NOTHING, "db3": node("8")})


def test_no_node_is_no_cluster():
    with pytest.raises(ClusterError, match="no node"):
        beginner({})


def test_who_is_writable_is_primary_whatever_its_place():
    assert primary({"db1": node(), "db2": NOTHING, "db3": node(writable=True)}) == "db3"
    assert primary({"db1": node(), "db2": {}}) is None
    with pytest.raises(ClusterError, match="db1 and db3 are writable at once"):
        primary({"db1": node(writable=True), "db3": node(writable=True)})


PENDING = {"pending_restart": ["max_connections"]}


def test_standbys_are_restarted_before_the_primary():
    nodes = {"db1": node(writable=True, **PENDING), "db2": node(**PENDING), "db3": node(**PENDING)}
    assert restarts(nodes) == ["db2", "db3", "db1"]
    assert restarts({**nodes, "db1": node(writable=True)}) == ["db2", "db3"]
    assert restarts({"db1": node(writable=True), "db2": node()}) == []


def test_settings_never_go_below_what_any_node_was_last_used_with():
    nodes = {
        "db1": node(least={"max_connections": 200}),
        "db2": node(least={"max_connections": 300, "max_wal_senders": 9}),
        "db3": {},
    }
    assert least(nodes) == {"max_connections": 300, "max_wal_senders": 9}
    assert least({"db1": NOTHING}) == {}


def test_a_node_has_the_first_part_of_its_host_s_name():
    assert named([("db1.example.com", "192.0.2.31", None), ("db-2", "192.0.2.32", None)]) == [
        {"name": "db1", "id": 1, "host": "db1.example.com", "address": "192.0.2.31"},
        {"name": "db-2", "id": 2, "host": "db-2", "address": "192.0.2.32"},
    ]


@pytest.mark.parametrize(
    "hosts", [["db1.a", "db1.b"], ["db-1", "db_1"], ["192.0.2.1"], ["db1", "pg1"], ["DB1"], [""], ["a-"]]
)
def test_names_that_could_not_be_nodes_are_refused(hosts):
    with pytest.raises(ClusterError, match=r"would be the"):
        named([(host, "192.0.2.1", None) for host in hosts])


def test_a_node_s_number_is_its_own_whoever_else_there_is():
    [first, last] = [
        named([("london.a", "192.0.2.1", None), ("db10.a", "192.0.2.2", None)]),
        named([("london.a", "192.0.2.1", None)]),
    ]
    assert [node["id"] for node in first] == [last[0]["id"], 10]
    assert last[0]["id"] > 0


def test_of_two_that_end_in_the_same_one_is_given_another_number():
    hosts = [("legacy1", "192.0.2.71", None), ("db1", "192.0.2.31", None)]
    with pytest.raises(
        ClusterError,
        match="db1 and legacy1 would be the same node 1; give the one that is new another postgresql_node_id",
    ):
        named(hosts)
    for number in (11, "11"):
        assert [node["id"] for node in named([hosts[0], ("db1", "192.0.2.31", number)])] == [1, 11]


@pytest.mark.parametrize("number", [0, -1, "eleven", "", 1_000_000_000, 1.5, True])
def test_what_is_no_number_of_a_node_is_refused(number):
    with pytest.raises(ClusterError, match="postgresql_node_id of db1 is .*; it must be a whole number"):
        named([("db1", "192.0.2.31", number)])
