"""Who joins a cluster or leaves it, and why it may not."""

import pytest

from ansible_collections.escala.ha.plugins.filter.postgresql_membership import postgresql_membership

ADDRESSES = {"db1": "192.0.2.31", "db2": "192.0.2.32", "db3": "192.0.2.33", "db4": "192.0.2.34"}


def inventory(*names):
    return [{"name": name, "address": ADDRESSES[name], "host": name, "id": 1} for name in names]


def told(*names, witnesses=()):
    return {
        "data_nodes": {name: ADDRESSES[name] for name in names},
        "witnesses": dict.fromkeys(witnesses, "192.0.2.39"),
    }


def node(name, upstream="db1", **changes):
    return {"name": name, "reachable": True, "problem": None, "upstream": upstream, "guard": {}, **changes}


def seen(*nodes, primary="db1"):
    return {
        "primary": primary,
        "reason": "db1 and db2 claim timeline 3",
        "nodes": nodes or [node("db1", None), node("db2")],
    }


TWO = {"db1": told("db1", "db2"), "db2": told("db1", "db2")}
THREE = {name: told("db1", "db2", "db3") for name in ("db1", "db2", "db3")}


def test_one_that_no_guard_knows_joins():
    found = postgresql_membership({**TWO, "db3": None}, inventory("db1", "db2", "db3"), seen=seen())
    assert found["new"] == ["db3"]
    assert found["cannot_join"] == []
    # Of two nodes one confirms the other; asked with one that has no data yet there would be nobody to confirm a primary that was alone.
    assert found["staying"] == {name: ADDRESSES[name] for name in ("db1", "db2")}


def test_one_whose_host_is_new_joins_again():
    found = postgresql_membership({**THREE, "db3": None}, inventory("db1", "db2", "db3"), seen=seen())
    assert found["new"] == ["db3"]
    assert list(found["staying"]) == ["db1", "db2"]
    assert found["cannot_join"] == []


@pytest.mark.parametrize(
    "guards",
    [
        # Broken off when one of the two knew it, and its own guard had been told.
        {"db1": told("db1", "db2", "db3"), "db2": told("db1", "db2"), "db3": told("db1", "db2", "db3")},
        {"db1": told("db1", "db2"), "db2": told("db1", "db2", "db3"), "db3": None},
    ],
)
def test_a_run_that_was_broken_off_goes_on(guards):
    found = postgresql_membership(guards, inventory("db1", "db2", "db3"), seen=seen())
    assert found["new"] == ["db3"]
    assert found["cannot_join"] == []


def test_where_all_have_joined_nothing_is_in_the_way_even_while_one_is_copied_to():
    copying = node("db3", None, reachable=False, problem="starting up")
    found = postgresql_membership(
        THREE, inventory("db1", "db2", "db3"), seen=seen(node("db1", None), node("db2"), copying)
    )
    assert found["new"] == []
    assert found["cannot_join"] == []


@pytest.mark.parametrize(
    ("guards", "names", "witnesses", "looks", "said"),
    [
        ({"db1": None, "db2": None}, ("db1", "db2"), (), None, "there is no cluster to join: etapa_3_postgresql.yml"),
        ({**TWO, "db3": None, "db4": None}, ("db1", "db2", "db3", "db4"), (), None, "db3, db4 would join at once"),
        # One that is gone and one that is new are two as well.
        ({**THREE, "db3": None, "db4": None}, ("db1", "db2", "db3", "db4"), (), None, "db4, db3 would join at once"),
        (
            {"db1": told("db1", "db2", "db3"), "db2": told("db1", "db2", "db3"), "db4": None},
            ("db1", "db2", "db4"),
            (),
            None,
            "the cluster knows db3, which the inventory does not name: remove_standby.yml first",
        ),
        (TWO, ("db1", "db2"), ("arbiter",), None, "arbiter would vote without data"),
        (
            {**TWO, "db3": None},
            ("db1", "db2", "db3"),
            (),
            seen(primary=None),
            "no primary that all agree on: db1 and db2",
        ),
        (
            {**TWO, "db3": None},
            ("db1", "db2", "db3"),
            (),
            seen(node("db1", None), node("db2", reachable=False, problem="refused"), primary=None),
            "db2 does not answer: refused",
        ),
        (
            {**TWO, "db3": None},
            ("db1", "db2", "db3"),
            (),
            seen(node("db1", None), node("db2", None)),
            "db2 does not stream from db1",
        ),
        (
            {**TWO, "db3": None},
            ("db1", "db2", "db3"),
            (),
            seen(node("db1", None), node("db2", reachable=False, problem="timeout")),
            "db2 does not answer: timeout",
        ),
    ],
)
def test_what_may_not_join(guards, names, witnesses, looks, said):
    arbiters = [{"name": name, "address": "192.0.2.39"} for name in witnesses]
    [reason] = postgresql_membership(guards, inventory(*names), arbiters, looks)["cannot_join"]
    assert said in reason


def test_one_that_the_inventory_does_not_name_any_more_leaves():
    guards = {"db1": THREE["db1"], "db2": THREE["db2"]}
    off = {"nodes": [node("db3", None, reachable=False, problem="no route", guard=None)], "claimants": []}
    found = postgresql_membership(guards, inventory("db1", "db2"), seen=seen(), seen_going=off)
    assert found["leaving"] == ["db3"]
    assert found["cannot_leave"] == []
    assert found["going"] == {"db3": ADDRESSES["db3"]}
    assert found["staying"] == {name: ADDRESSES[name] for name in ("db1", "db2")}


@pytest.mark.parametrize(
    ("guards", "names", "looks", "said"),
    [
        ({"db1": None}, ("db1",), None, "there is no cluster to leave"),
        ({"db1": THREE["db1"]}, ("db1",), None, "the cluster knows db2, db3, which the inventory does not name"),
        ({"db1": TWO["db1"], "db3": None}, ("db1", "db3"), None, "db3 is in the inventory and not in the cluster yet"),
        (
            {"db1": THREE["db1"], "db2": THREE["db2"]},
            ("db1", "db2"),
            seen(node("db1", None), node("db2", None)),
            "db2 does not stream from db1",
        ),
    ],
)
def test_what_may_not_leave(guards, names, looks, said):
    [reason] = postgresql_membership(guards, inventory(*names), (), looks)["cannot_leave"]
    assert said in reason


def test_the_primary_does_not_leave():
    going = {"nodes": [node("db2", None)], "claimants": ["db2"]}
    found = postgresql_membership({"db1": TWO["db1"]}, inventory("db1"), (), seen(primary=None), going)
    [reason] = found["cannot_leave"]
    assert reason.startswith("db2 is the primary: name it in postgres_servers again")


def test_where_all_have_left_nothing_is_in_the_way():
    found = postgresql_membership(TWO, inventory("db1", "db2"), seen=seen())
    assert (found["leaving"], found["cannot_leave"]) == ([], [])


def test_a_witness_is_no_standby():
    guards = {name: told("db1", "db2", witnesses=["arbiter"]) for name in ("db1", "db2")}
    found = postgresql_membership(guards, inventory("db1", "db2"), seen=seen())
    assert found["leaving"] == ["arbiter"]
    assert found["cannot_leave"] == [
        "arbiter votes without data, and is no standby: etapa_3_postgresql.yml has it leave, by itself"
    ]
