import json

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_degrade import (
    is_others_part,
    out_already,
    parsed,
    refusal,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_state import NodeState, Promise, Quorum

STANDBY = NodeState("db1", "standby", timeline=3, joined=True)


@pytest.mark.parametrize(
    "state",
    [
        STANDBY._replace(role="primary", writable=True),
        STANDBY._replace(promise=Promise(3, "db1")),
    ],
)
def test_the_last_primary_goes_on(state):
    for primary in (None, "db1"):
        assert refusal(state, primary, ["db2", "db3"], accept_loss=False) == ""


@pytest.mark.parametrize("promise", [None, Promise(3, "db2"), Promise(2, "db1"), Promise(4, "db1")])
def test_another_node_goes_on_only_with_the_loss_accepted(promise):
    state = STANDBY._replace(promise=promise)
    assert "db1 was not the primary of timeline 3" in refusal(state, None, ["db2"], accept_loss=False)
    assert refusal(state, None, ["db2"], accept_loss=True) == ""


def test_a_node_without_data_never_goes_on():
    told = refusal(STANDBY._replace(joined=False), None, ["db2"], accept_loss=True)
    assert told == "db1 has no data of the cluster"


@pytest.mark.parametrize(
    ("primary", "without", "others"),
    [
        (None, ["db3"], False),
        ("db1", ["db3"], False),
        ("db2", ["db3"], True),
        ("db2", ["db2", "db3"], False),
    ],
)
def test_where_another_node_that_is_left_is_primary_it_is_for_that_one_to_do(primary, without, others):
    assert is_others_part(STANDBY, primary, without) == others


@pytest.mark.parametrize("accept_loss", [False, True])
def test_a_primary_that_is_heard_is_not_powered_off_and_no_loss_is_offered_for_it(accept_loss):
    told = refusal(STANDBY, "db2", ["db2", "db3"], accept_loss)
    assert told == "db2 is heard, and is the primary: power it off before it is taken out"


def test_what_is_out_need_not_be_taken_out():
    state = STANDBY._replace(quorum=Quorum((3, 1), ("db2", "db3")))
    assert out_already(state, ["db3", "db2"])
    assert not out_already(state, ["db4"])
    assert not out_already(state._replace(quorum=Quorum((3, 2), ("db1", "db2"))), ["db2"])


def test_a_node_without_which_the_others_went_on_goes_on_only_with_the_loss_accepted():
    state = STANDBY._replace(promise=Promise(3, "db1"), quorum=Quorum((3, 1), ("db1",)))
    assert "db1 is out of the quorum" in refusal(state, None, ["db2", "db3"], accept_loss=False)
    assert refusal(state, None, ["db2", "db3"], accept_loss=True) == ""


def test_a_state_is_read_as_guards_write_it():
    # A guard of an earlier version does not say whom it takes for the primary.
    assert parsed(json.dumps(STANDBY.to_json())) == (STANDBY, None)
    for primary in ("db2", None):
        assert parsed(json.dumps({**STANDBY.to_json(), "primary": primary})) == (STANDBY, primary)
    with pytest.raises(ValueError, match="cannot be read"):
        parsed("no guard answers")
