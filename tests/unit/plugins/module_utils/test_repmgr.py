"""What repmgr printed and stored is read as it was meant, and set against what is."""

import json
from pathlib import Path

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _repmgr, _repmgr_cluster
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError

RECORDINGS = Path(__file__).parent / "recordings"
CONFIG = """
# made by a template
node_id = 1
node_name = 'db1'
conninfo = 'host=10.77.0.31 dbname=repmgr options=''-c x'''
use_replication_slots=off # the guard has its own
"""


def recorded(name):
    return (RECORDINGS / f"repmgr_5.5_{name}").read_text()


def records():
    return json.loads(recorded("nodes.json"))


def local(in_recovery=False, upstream_host=None, standbys=("db2", "db3"), of=None):
    return _repmgr.Local(in_recovery, upstream_host, list(standbys), records() if of is None else of)


def test_a_configuration_is_read():
    found = _repmgr.parse_config(CONFIG)
    assert found == {
        "node_id": "1",
        "node_name": "db1",
        "conninfo": "host=10.77.0.31 dbname=repmgr options='-c x'",
        "use_replication_slots": "off",
    }
    with pytest.raises(ValueError, match="no line of repmgr.conf"):
        _repmgr.parse_config("node_id 1")


def test_the_nodes_that_repmgr_reaches_are_read():
    assert _repmgr.parse_cluster_show(recorded("cluster_show_away.csv")) == {
        1: (True, False),
        2: (True, True),
        3: (True, True),
        9: (False, None),
    }
    with pytest.raises(ValueError, match="invalid literal"):
        _repmgr.parse_cluster_show("ERROR: connection to database failed")
    with pytest.raises(ValueError, match="no line of"):
        _repmgr.parse_cluster_show("1,2")


def test_a_node_s_checks_are_read_with_their_quotes():
    checks = _repmgr.parse_node_check(recorded("node_check_primary.csv"))
    assert {one["status"] for one in checks} == {"OK"}
    assert checks[0] == {"name": "Server role", "status": "OK", "detail": "node is primary"}
    assert checks[-1]["detail"] == 'configured "data_directory" is "/var/lib/postgresql/17/main"'
    assert _repmgr.parse_node_check("ERROR: no record found for node 1") == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("host=a password=secret user=b", "host=a password=******** user=b"),
        ("password = 'two words' host=a", "password = ******** host=a"),
        ("host=a passfile=/etc/x", "host=a passfile=/etc/x"),
    ],
)
def test_a_password_is_not_shown(text, shown):
    assert _repmgr.without_password(text) == shown


def test_a_connection_string_is_read_in_pairs():
    assert _repmgr.parse_conninfo("host = a options='-c x' b") == {"host": "a", "options": "-c x"}
    assert _repmgr.parse_conninfo("host='a") == {}


def test_the_tool_is_run_as_postgres_and_ends():
    words = _repmgr.as_postgres("/etc/repmgr.conf", "node", "check")
    assert words[0] == "timeout"
    assert words[-4:] == ["repmgr", "--config-file=/etc/repmgr.conf", "node", "check"]
    assert "--reuid=postgres" in words


def test_a_host_is_found_by_name_and_address():
    assert [local().name_at(host) for host in ("db2", "10.77.0.33", "192.0.2.1", None)] == ["db2", "db3", None, None]


@pytest.fixture
def observed(monkeypatch, tmp_path):
    """What is seen from db1, with the tool's recorded answers and a picture of the server."""
    config = tmp_path / "repmgr.conf"
    config.write_text(CONFIG)

    def observe(seen=None, show="cluster_show.csv", check="node_check_primary.csv", status=0, guards=None, nodes=()):
        def read(_options):
            if seen is None:
                raise SessionError("connection", "refused")
            return seen

        def run(command):
            return (status, recorded(show if "show" in command else check), "WARNING: x" if status else "")

        monkeypatch.setattr(_repmgr, "read_local", read)
        monkeypatch.setattr(_repmgr_cluster, "read_states", lambda peers: guards)
        files = ("c", "c", "c") if guards else (None, None, None)
        names = ("ca_file", "guard_certificate_file", "guard_key_file")
        return _repmgr_cluster.observe(
            {
                "config_file": str(config),
                "socket_directory": "/run/postgresql",
                "nodes": dict.fromkeys(nodes, "127.0.0.1"),
                "guard_port": 5433,
                "request_timeout_seconds": 1,
                **dict(zip(names, files, strict=True)),
            },
            run,
        )

    return observe


def test_a_catalogue_that_is_right_differs_in_nothing(observed):
    found = observed(local(), nodes=("db1", "db2", "db3"))
    assert (found["differences"], found["problem"]) == ([], None)
    assert [(one["name"], one["type"], one["upstream"], one["actual_upstream"]) for one in found["nodes"]] == [
        ("db1", "primary", None, None),
        ("db2", "standby", "db1", "db1"),
        ("db3", "standby", "db1", "db1"),
    ]


def test_seen_from_a_standby_its_own_upstream_is_known(observed):
    found = observed(local(True, "10.77.0.33", ()))
    assert "repmgr has db2 as upstream" not in str(found["differences"])
    assert found["nodes"][0]["actual_upstream"] == "db3"


def _with(number, **changes):
    return [{**one, **(changes if one["node_id"] == number else {})} for one in records()]


@pytest.mark.parametrize(
    ("of", "difference"),
    [
        (_with(1, type="standby"), "repmgr has db1 as standby, and it is out of recovery"),
        (_with(1, type="standby"), "repmgr has no node as active primary, expected is one"),
        (_with(2, type="primary"), "repmgr has db2 as primary, and it is a standby"),
        (_with(2, type="primary"), "repmgr has db1 and db2 as active primary, expected is one"),
        (_with(2, active=False), "repmgr has db2 as not active, and it answers"),
        (_with(3, upstream_node_id=2), "repmgr has db2 as upstream of db3, and it streams from db1"),
        (_with(3, upstream_node_id=None), "repmgr has nobody as upstream of db3, and it streams from db1"),
        (records()[:2], "db3 is not registered"),
    ],
)
def test_what_is_otherwise_has_a_name(observed, of, difference):
    assert difference in observed(local(of=of), nodes=("db1", "db2", "db3"))["differences"]


def test_a_node_that_is_away_and_one_that_is_none_are_named(observed):
    stranger = {**records()[1], "node_id": 9, "node_name": "db9"}
    found = observed(
        local(of=[*records(), stranger]),
        "cluster_show_away.csv",
        "node_check_away.csv",
        25,
        nodes=("db1", "db2", "db3"),
    )
    assert "repmgr has db9 as active, and it does not answer" in found["differences"]
    assert "db9 is registered and no data node" in found["differences"]
    assert any("1 of 3 downstream nodes not attached; missing: db9" in one for one in found["differences"])
    assert "`repmgr node check` ended with 25: WARNING: x" in found["differences"]
    assert found["nodes"][-1]["reachable"] is False


def test_slots_by_names_of_repmgr_s_own_are_not_missed_since_the_guard_makes_them():
    checks = _repmgr.parse_node_check(recorded("node_check_away.csv"))
    assert "CRITICAL" in {one["status"] for one in checks if one["name"] == "Missing physical replication slots"}
    assert "slots" not in str(_repmgr_cluster.differences([], checks, []))


def test_two_writers_are_named():
    nodes = [
        {"name": name, "type": kind, "active": True, "in_recovery": False, "reachable": True, "actual_upstream": None}
        for name, kind in (("db1", "primary"), ("db2", "standby"))
    ]
    assert "db1 and db2 are out of recovery at once" in _repmgr_cluster.differences(nodes, [], [])


def test_the_guards_say_from_whom_a_node_streams(observed):
    guards = {"db2": {"upstream": "db3", "streaming": True}, "db3": None}
    found = observed(local(True, "10.77.0.33", ()), guards=guards, nodes=("db1", "db2", "db3"))
    assert "repmgr has db1 as upstream of db2, and it streams from db3" in found["differences"]


def test_a_server_that_is_down_is_the_problem(observed):
    found = observed(None)
    assert found["nodes"] == []
    assert "PostgreSQL does not answer through /run/postgresql: refused" in found["problem"]


def test_a_tool_that_prints_nothing_of_use_is_the_problem(observed):
    found = observed(local(), show="nodes.json", status=1)
    assert "was not understood" in found["problem"]
    assert [one["reachable"] for one in found["nodes"]] == [None, None, None]
