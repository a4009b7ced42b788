import json

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_degrade import out_already, parsed, refusal
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
    assert refusal(state, accept_loss=False) == ""


@pytest.mark.parametrize("promise", [None, Promise(3, "db2"), Promise(2, "db1"), Promise(4, "db1")])
def test_another_node_goes_on_only_with_the_loss_accepted(promise):
    state = STANDBY._replace(promise=promise)
    assert "db1 was not the primary of timeline 3" in refusal(state, accept_loss=False)
    assert refusal(state, accept_loss=True) == ""


def test_a_node_without_data_never_goes_on():
    assert refusal(STANDBY._replace(joined=False), accept_loss=True) == "db1 has no data of the cluster"


def test_what_is_out_need_not_be_taken_out():
    state = STANDBY._replace(quorum=Quorum((3, 1), ("db2", "db3")))
    assert out_already(state, ["db3", "db2"])
    assert not out_already(state, ["db4"])


def test_a_state_is_read_as_guards_write_it():
    assert parsed(json.dumps(STANDBY.to_json())) == STANDBY
    with pytest.raises(ValueError, match="cannot be read"):
        parsed("no guard answers")
