import pytest

from ansible_collections.escala.ha.plugins.module_utils import _postgresql_replication as replication
from tests.unit.plugins.module_utils.postgresql_cluster import guard, seen

OPTIONS = {
    "nodes": {"db1": "127.0.0.1"},
    "witnesses": {"app1": "127.0.0.1"},
    "port": 1,
    "database": "app",
    "user": "escala_monitor",
    "password": "not for anybody",
    "passfile": None,
    "ca_file": "/nowhere/ca.pem",
    "guard_port": 1,
    "guard_certificate_file": None,
    "guard_key_file": None,
}


def test_the_whole_cluster_has_one_primary():
    found = seen()
    assert (found.primary, found.claimants, list(found.standbys)) == ("db1", ["db1"], ["db2", "db3"])
    assert [node["lag_bytes"] for node in found.standbys.values()] == [0, 0]
    result = replication.as_result(found)
    assert result["synchronous_standby_names"] == 'ANY 1 ("db1", "db2", "db3")'
    assert [node["upstream"] for node in result["nodes"]] == [None, "db1", "db1"]


def test_a_cluster_of_which_nothing_answers_is_told_too():
    result = replication.as_result(seen(away=("db1", "db2", "db3")))
    assert (result["primary"], result["claimants"]) == (None, [])
    assert "no node says" in result["reason"]


def _behind(by, replay_lag_seconds=None, replayed_seconds_ago=None):
    def change(nodes):
        nodes["db1"]["written"] = f"0/{0x449D750 + by:X}"
        nodes["db1"]["standbys"][0]["replay_lag_seconds"] = replay_lag_seconds
        nodes["db2"]["replayed_seconds_ago"] = replayed_seconds_ago

    return change


@pytest.mark.parametrize(
    ("change", "lag"),
    [
        (_behind(0, 3.0, 900.0), (0, 0.0)),
        (_behind(4096, 0.25, 900.0), (4096, 0.25)),
        (_behind(4096, None, 17.0), (4096, 17.0)),
        (_behind(4096, None, None), (4096, None)),
    ],
)
def test_how_far_a_standby_is_behind(change, lag):
    node = seen(change).nodes["db2"]
    assert (node["lag_bytes"], node["lag_seconds"]) == lag


def test_a_standby_that_had_everything_when_the_primary_was_asked_is_not_behind():
    def change(nodes):
        nodes["db1"]["written"] = nodes["db1"]["standbys"][0]["replay_lsn"] = "0/5000000"
        nodes["db2"]["replayed_seconds_ago"] = 900.0

    assert seen(change).nodes["db2"]["lag_seconds"] == 0.0


def test_who_is_out_of_the_quorum_is_known_from_the_primary_s_guard():
    quorum = {"version": [2, 1], "out": ["db3"]}
    guards = {"db1": guard("db1", quorum=quorum), "db2": guard("db2", quorum={"version": [9, 0], "out": ["db1"]})}
    found = seen(guards=guards)
    assert found.quorum.out == ("db3",)
    assert replication.as_result(found)["synchronous_standby_names"] == 'ANY 1 ("db1", "db2")'


def test_what_a_guard_says_that_is_none_does_no_harm():
    assert seen(guards={"db1": {"quorum": "yes"}}).quorum.out == ()


def test_nobody_there_is_said_node_by_node():
    found = replication.Servers(OPTIONS, 1).observe()
    assert found.nodes["db1"]["reachable"] is False
    assert found.nodes["db1"]["problem"]
    assert "certificate" in found.nodes["db1"]["guard_problem"]
    assert list(found.witnesses) == ["app1"]


def test_a_guard_that_cannot_be_asked_says_why(tmp_path):
    files = {"guard_certificate_file": str(tmp_path / "none.crt"), "guard_key_file": str(tmp_path / "none.key")}
    found = replication.Servers({**OPTIONS, **files}, 1).observe()
    assert found.guards is True
    assert found.nodes["db1"]["guard_problem"]


def test_several_checks_look_at_one_picture_until_it_is_old():
    moments = iter([10.0, 10.3, 11.0, 11.0])
    pictures = []
    recent = replication.Recent(lambda: pictures.append(seen()) or pictures[-1], lambda: next(moments))
    assert recent() is recent()
    assert recent() is pictures[1]


def test_a_password_is_in_no_message():
    assert (
        replication._told("connection to server failed: FATAL: not for anybody", "not for anybody") == "FATAL: ********"
    )
