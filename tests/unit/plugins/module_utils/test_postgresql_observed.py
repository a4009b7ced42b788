"""What real servers answered is read as it was meant."""

import re

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _postgresql_observed as observed
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Quorum
from ansible_collections.escala.ha.plugins.module_utils._postgresql_cluster import NEVER_BELOW_THE_PRIMARY
from tests.unit.plugins.module_utils.postgresql_cluster import ADDRESSES, RECORDED, answers


def test_a_primary_is_read():
    node = observed.node_from(RECORDED["db1"])
    assert (node["in_recovery"], node["timeline"], node["lsn"]) == (False, 2, 0x449D750)
    assert [(one["name"], one["state"], one["sync_state"], one["tls"]) for one in node["standbys"]] == [
        ("db2", "streaming", "quorum", "TLSv1.3"),
        ("db3", "streaming", "quorum", "TLSv1.3"),
    ]
    assert [(one["name"], one["active"], one["retained_bytes"]) for one in node["slots"]] == [
        ("db2", True, 0),
        ("db3", True, 0),
    ]
    assert (node["checksums"], node["tls"]["version"], node["receiver"]) == (True, "TLSv1.3", None)


def test_a_standby_is_read():
    node = observed.node_from(RECORDED["db2"])
    assert (node["in_recovery"], node["timeline"], node["lsn"], node["replay_lsn"]) == (True, 2, 0x449D750, 0x449D750)
    assert {key: node["receiver"][key] for key in ("status", "host", "slot", "sslmode")} == {
        "status": "streaming",
        "host": "db1",
        "slot": "db2",
        "sslmode": "verify-full",
    }
    assert observed.upstream_of(node, ADDRESSES) == "db1"


@pytest.mark.parametrize(
    "shown", ["port=5432 sslmode=verify-full sslrootcert=/ca.pem", "port='5432' sslmode='verify-full'"]
)
def test_how_a_standby_is_connected_is_read_as_the_server_shows_it_and_as_it_was_written(shown):
    [pattern] = re.findall(r"substring\(conninfo FROM '(sslmode.*?)'\)", observed.QUERY)
    assert re.findall(pattern.replace("''", "'"), shown) == ["verify-full"]


def test_every_node_has_the_same_keys():
    for answer in RECORDED.values():
        assert observed.node_from(answer).keys() == observed.UNKNOWN.keys()


def test_without_a_receiver_the_disk_says_the_timeline():
    answer = {**answers()["db2"], "receiver": None, "checkpoint_timeline": 2, "recovery_timeline": 4}
    node = observed.node_from(answer)
    assert (node["timeline"], observed.upstream_of(node, ADDRESSES)) == (4, None)


@pytest.mark.parametrize(("host", "name"), [("10.77.0.33", "db3"), ("db3", "db3"), ("192.0.2.9", "192.0.2.9")])
def test_an_upstream_has_the_name_of_a_node_where_it_is_one(host, name):
    answer = answers()["db2"]
    answer["receiver"]["sender_host"] = host
    assert observed.upstream_of(observed.node_from(answer), ADDRESSES) == name


def test_a_position_is_the_larger_of_received_and_replayed():
    answer = {**answers()["db2"], "received": "0/5000000", "replayed": "0/6000000"}
    assert observed.node_from(answer)["lsn"] == 0x6000000
    assert observed.node_from({**answer, "received": None, "replayed": None})["lsn"] is None


def test_what_a_standby_misses_is_refused():
    with pytest.raises(KeyError):
        observed.node_from({"in_recovery": True})


def test_the_functions_that_decide_get_the_same():
    primary = observed.state_of("db1", observed.node_from(RECORDED["db1"]), None, Quorum())
    standby = observed.state_of("db2", observed.node_from(RECORDED["db2"]), "db1", Quorum())
    assert (primary.is_writer, primary.rank) == (True, (2, 0x449D750))
    assert [one.flush_lsn for one in primary.standbys] == [0x449D750, 0x449D750]
    assert (standby.is_writer, standby.streaming, standby.upstream) == (False, True, "db1")


def test_what_is_judged_is_asked():
    assert set(NEVER_BELOW_THE_PRIMARY) <= set(observed.SETTINGS)
    assert list(observed.SETTINGS) == sorted(observed.SETTINGS)
