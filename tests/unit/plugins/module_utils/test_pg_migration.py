"""What keeps a database from being carried, and what keeps the two ends from changing places."""

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_migration as migration
from ansible_collections.escala.ha.plugins.module_utils._pg_migration import MigrationError, State, end_from

GIB = 1 << 30
POOLERS = ("192.0.2.21", "192.0.2.22")


def end(**changes):
    """As the servers answer, in JSON."""
    return end_from(
        {
            "version": 15,
            "encoding": "UTF8",
            "locale": "C.UTF-8",
            "wal_level": "logical",
            "size_bytes": 4 * GIB,
            "connection_limit": -1,
            "tables": ["public.notes", "public.users"],
            "unkeyed": [],
            "unlogged": [],
            "foreign": [],
            "large_objects": 0,
            "extensions": ["plpgsql"],
            "available": ["plpgsql", "pg_trgm"],
            "columns": {"public.notes": "c1", "public.users": "c2"},
            "definitions": {"public.notes": "d1", "public.users": "d2"},
            "slots_free": 10,
            "senders_free": 10,
            "connections_free": 90,
            "superusers": [],
            "clients": [[f"{address}:40001", address, f"app (backend) from {address}"] for address in POOLERS],
            "prepared": 0,
            "published": True,
            "subscribed": False,
            "slot": "reserved",
            **changes,
        }
    )


FOLLOWING = {"connection_limit": 0, "subscribed": True, "slot": None, "clients": []}
BEGUN = State("old", "192.0.2.71", 5432, "source", {"public.notes": "d1", "public.users": "d2"})
ROOM = {"db1": 10 * GIB, "db2": 10 * GIB}


def begin(source=None, cluster=None, free=ROOM, pools=60, others=()):
    return migration.cannot_begin(source or end(), cluster or end(version=17, tables=[]), free, pools, others)


def switch(serving=None, following=None, state=BEGUN, behind=0, may_end=False, past=()):
    clients = migration.Clients(POOLERS, may_end, frozenset(past))
    return migration.cannot_switch(serving or end(), following or end(**FOLLOWING), state, behind, 1000, clients)


def test_what_is_well_may_begin_and_change_places():
    assert begin() == []
    assert switch() == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"source": end(unkeyed=["public.log"])}, "public.log without a primary key"),
        ({"source": end(unlogged=["public.cache"])}, "public.cache unlogged: nothing of them is replicated"),
        ({"source": end(foreign=["public.far"])}, "public.far foreign"),
        ({"source": end(large_objects=3)}, "3 large objects: they are not replicated"),
        (
            {"source": end(connection_limit=0)},
            "the old server's database lets nobody in, as an earlier migration leaves it",
        ),
        ({"others": ["public.notes"]}, "the cluster's database is not empty: it has public.notes"),
        ({"source": end(wal_level="replica")}, "the old server has wal_level = replica: it must be logical"),
        ({"cluster": end(wal_level="replica")}, "the cluster has wal_level = replica"),
        ({"source": end(slots_free=2)}, "the old server has 2 replication slots and 10 senders left, a copy takes 3"),
        ({"cluster": end(senders_free=0)}, "the cluster has 10 replication slots and 0 senders left"),
        ({"source": end(version=18)}, "the old server has PostgreSQL 18, and the cluster 17, which cannot read"),
        ({"source": end(encoding="LATIN1")}, "in LATIN1, the cluster's in UTF8: text would change"),
        ({"source": end(locale="pt_BR.UTF-8")}, "sorts by pt_BR.UTF-8, the cluster's by C.UTF-8"),
        ({"source": end(extensions=["plpgsql", "postgis"])}, "lack the extensions postgis: install their packages"),
        (
            {"free": {"db1": 10 * GIB, "db2": 6 * GIB}},
            "has 4096 MiB and needs 7168 MiB free on each node: db2 has 6144 MiB",
        ),
        ({"pools": 91}, "the poolers may make 91 connections to the old server, which has 90 left"),
    ],
)
def test_what_cannot_be_carried_is_refused_with_why_and_what_to_do(arguments, said):
    [reason] = begin(**arguments)
    assert said in reason


def test_all_of_it_is_said_at_once_and_long_lists_are_cut():
    many = [f"public.t{number}" for number in range(9)]
    reasons = begin(source=end(unkeyed=many, large_objects=1))
    assert [reason[:9] for reason in reasons] == ["public.t0", "1 large o"]
    assert "public.t4 and 4 more without a primary key" in reasons[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"following": end(**{**FOLLOWING, "subscribed": False})}, "the cluster does not follow any more"),
        ({"serving": end(slot=None)}, "the cluster does not follow any more"),
        ({"serving": end(slot="lost")}, "was away for longer than max_slot_wal_keep_size allows"),
        (
            {"serving": end(definitions={"public.notes": "other", "public.users": "d2", "public.new": "d3"})},
            "public.new, public.notes changed their definition",
        ),
        (
            {"following": end(**FOLLOWING, columns={"public.notes": "c1", "public.users": "other"})},
            "public.users have other columns on the two ends",
        ),
        ({"behind": 1001}, "replication is 1001 bytes behind, 1000 are allowed"),
        ({"serving": end(prepared=2)}, "2 prepared transactions are open"),
        ({"serving": end(superusers=["postgres (psql)"])}, "postgres (psql) are connected as superusers"),
        (
            {
                "serving": end(
                    clients=[
                        ["local:-1", "local", "app (daemon) from this host"],
                        ["192.0.2.21:40001", "192.0.2.21", "app (x) from 192.0.2.21"],
                    ]
                )
            },
            "app (daemon) from this host do not come by a pooler",
        ),
    ],
)
def test_what_is_in_the_way_of_changing_places_is_refused(arguments, said):
    [reason] = switch(**arguments)
    assert said in reason


def test_clients_that_may_end_are_in_nobodys_way():
    assert switch(serving=end(clients=[["local:-1", "local", "app (daemon) from this host"]]), may_end=True) == []


@pytest.mark.parametrize("may_end", [False, True])
def test_who_goes_past_the_pooler_of_its_host_is_refused_even_where_clients_may_end(may_end):
    assert switch(may_end=may_end, past=["192.0.2.21:40002"]) == []
    [reason] = switch(may_end=may_end, past=["192.0.2.21:40001"])
    assert reason.startswith("app (backend) from 192.0.2.21 do not come by the pooler of their host")


def test_what_no_pooler_knows_is_past_them_or_dead():
    connected = ["192.0.2.21:1", "192.0.2.21:2", "192.0.2.21:3", "192.0.2.99:4", "local:-1"]
    found = migration.unpooled(connected, ["192.0.2.21:1"], {"192.0.2.21": [1, 2], "192.0.2.22": [3]})
    assert found.dead == {"192.0.2.21:3"}
    # Whoever has not been asked may have it.
    assert found.past == {"192.0.2.21:2", "192.0.2.99:4", "local:-1"}


def test_where_no_host_was_asked_nothing_is_dead():
    assert migration.unpooled(["192.0.2.21:1"], [], {}) == (frozenset({"192.0.2.21:1"}), frozenset())


def test_what_a_pooler_has_is_never_ended():
    assert migration.unpooled(["192.0.2.21:1"], ["192.0.2.21:1"], {"192.0.2.21": []}) == (frozenset(), frozenset())


def test_who_is_on_another_host_goes_past_no_pooler():
    serving = end(clients=[["local:-1", "local", "app (daemon) from this host"]])
    assert switch(serving=serving, may_end=True, past=["local:-1"]) == []


def test_an_old_server_that_was_opened_since_is_not_gone_back_to():
    after = BEGUN._replace(serves="cluster")
    assert switch(state=after) == []
    [reason] = switch(state=after, following=end(**{**FOLLOWING, "connection_limit": -1}))
    assert "somebody has opened old's database since it was left" in reason
    assert "it cannot be gone back to" in reason


def test_the_state_is_read_as_it_was_written_and_leads_the_poolers_only_while_the_old_server_serves():
    assert migration.state_from(migration.state_text(BEGUN)) == BEGUN
    assert migration.state_from(None) is None
    assert (BEGUN.outside, BEGUN._replace(serves="cluster").outside) == ("192.0.2.71:5432", None)
    # A cluster before this one has a writer that may be another tomorrow.
    upgrade = BEGUN._replace(address="192.0.2.71,192.0.2.72", cluster=True)
    assert (upgrade.outside, upgrade._replace(serves="cluster").outside) == ("previous", "here")
    # One that was begun by a version that knew no clusters before this one.
    assert not migration.state_from(
        '{"source":"old","address":"192.0.2.71","port":5432,"serves":"source","definitions":{}}'
    ).cluster
    with pytest.raises(MigrationError, match="another version wrote it"):
        migration.state_from('{"source": "old"}')
    assert (migration.following_name(BEGUN), migration.following_name(BEGUN._replace(serves="cluster"))) == (
        "the cluster",
        "old",
    )
