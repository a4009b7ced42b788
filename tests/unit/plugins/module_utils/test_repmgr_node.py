"""From the record there is and the node as it is: which command, if any, lies between."""

import json
from pathlib import Path

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _repmgr_node
from ansible_collections.escala.ha.plugins.module_utils._repmgr import Local

NODES = json.loads((Path(__file__).parent / "recordings" / "repmgr_5.5_nodes.json").read_text())
BY_NAME = {one["node_name"]: one for one in NODES}


def config(name, **changes):
    return {"node_id": name[2:], "node_name": name, "conninfo": BY_NAME[name]["conninfo"], **changes}


def local(in_recovery, upstream_host=None, of=NODES):
    return Local(in_recovery, upstream_host, [], list(of))


def changed(name, **changes):
    return [{**one, **(changes if one["node_name"] == name else {})} for one in NODES]


def without(*names):
    return [one for one in NODES if one["node_name"] not in names]


def planned(name, seen, state="registered", upstream=None, settings=None):
    options = {"name": name, "state": state, "upstream": upstream, "config_file": "/etc/repmgr.conf"}
    return _repmgr_node.plan(options, settings or config(name), seen)


PRIMARY = local(False)
STANDBY = local(True, "10.77.0.31")


@pytest.mark.parametrize(("name", "seen"), [("db1", PRIMARY), ("db2", STANDBY), ("db3", local(True, "db1"))])
def test_what_is_registered_as_it_is_stays(name, seen):
    plan = planned(name, seen)
    assert (plan.words, plan.before) == ([], plan.after)


def test_the_order_of_a_connection_string_says_nothing():
    turned = " ".join(reversed(BY_NAME["db1"]["conninfo"].split()))
    assert planned("db1", PRIMARY, settings=config("db1", conninfo=turned)).words == []


@pytest.mark.parametrize(
    ("name", "seen", "words"),
    [
        ("db1", local(False, of=[]), ["primary", "register"]),
        (
            "db2",
            local(True, "10.77.0.31", without("db2")),
            ["standby", "register", "--upstream-node-id=1", "--wait-sync=15"],
        ),
        (
            "db2",
            local(True, None, without("db2")),
            ["standby", "register", "--upstream-node-id=1", "--wait-sync=15"],
        ),
        ("db2", local(False), ["primary", "register", "--force"]),
        (
            "db1",
            local(True, "10.77.0.32"),
            ["standby", "register", "--force", "--upstream-node-id=2", "--wait-sync=15"],
        ),
        (
            "db3",
            local(True, "10.77.0.32"),
            ["standby", "register", "--force", "--upstream-node-id=2", "--wait-sync=15"],
        ),
        (
            "db2",
            local(True, "10.77.0.31", changed("db2", active=False)),
            ["standby", "register", "--force", "--upstream-node-id=1", "--wait-sync=15"],
        ),
        (
            "db2",
            local(True, "10.77.0.31", changed("db2", slot_name="repmgr_slot_2")),
            ["standby", "register", "--force", "--upstream-node-id=1", "--wait-sync=15"],
        ),
    ],
)
def test_a_node_is_registered_as_its_server_says(name, seen, words):
    assert planned(name, seen).words == words


def test_an_upstream_may_be_named():
    plan = planned("db2", STANDBY, upstream="db3")
    assert "--upstream-node-id=3" in plan.words
    assert (plan.before["upstream"], plan.after["upstream"]) == ("db1", "db3")


def test_another_connection_string_is_registered_and_shows_no_password():
    plan = planned("db1", PRIMARY, settings=config("db1", conninfo="host=x password=secret"))
    assert plan.words == ["primary", "register", "--force"]
    assert "secret" not in str(plan)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("db3", ["standby", "unregister", "--node-id=3"]),
        ("db1", ["primary", "unregister", "--node-id=1"]),
        ("db9", []),
    ],
)
def test_a_node_is_forgotten_from_any_host(name, words):
    assert planned(name, PRIMARY, state="unregistered", settings=config("db1")).words == words


@pytest.mark.parametrize(
    ("name", "seen", "settings", "message"),
    [
        ("db2", PRIMARY, config("db1"), "repmgr.conf is of db1"),
        ("db1", PRIMARY, {"node_name": "db1"}, "must have a whole number as node_id"),
        ("db1", PRIMARY, config("db1", node_id="one"), "must have a whole number as node_id"),
        ("db2", local(True, "10.77.0.31", []), config("db2"), "the upstream 10.77.0.31 is not registered here"),
        ("db2", local(True, None, []), config("db2"), "the upstream of this standby is not registered here"),
        (
            "db2",
            local(True, "10.77.0.31", without("db2")),
            config("db2", node_id="3"),
            "the id 3 of db2 is already that of db3",
        ),
    ],
)
def test_what_cannot_be_registered_says_why(name, seen, settings, message):
    with pytest.raises(_repmgr_node.NodeError, match=message):
        planned(name, seen, settings=settings)


def carried_out(after, status=0):
    """Register db2, with what repmgr ends with and the metadata that is there afterwards."""
    options = {"name": "db2", "state": "registered", "upstream": None, "config_file": "/etc/repmgr.conf"}
    plan = _repmgr_node.plan(options, config("db2"), local(True, "10.77.0.31", without("db2")))
    commands = []

    def run(command):
        commands.append(command)
        return status, "", "ERROR: no primary, password=secret"

    done = _repmgr_node.carry_out(options, plan, run, lambda: local(True, "10.77.0.31", after), config("db2"))
    return done, commands


def test_it_is_seen_to_be_done():
    done, (command,) = carried_out(NODES)
    assert done.after["node_name"] == "db2"
    assert command[-4:] == ["standby", "register", "--upstream-node-id=1", "--wait-sync=15"]


def test_what_repmgr_says_is_told_without_a_password():
    with pytest.raises(_repmgr_node.NodeError, match=r"ended with 1: ERROR: no primary, password=\*"):
        carried_out(NODES, status=1)


def test_a_success_that_changed_nothing_is_none():
    with pytest.raises(_repmgr_node.NodeError, match="succeeded, and its record is not as it should be"):
        carried_out(without("db2"))
