import pytest

from ansible_collections.escala.ha.plugins.module_utils import (
    _application,
    _database_verdicts,
    _load_balancer,
    _load_balancer_edge,
    _load_balancer_state,
    _postgresql_checks,
    _postgresql_token,
    _shared_storage_checks,
    _tls,
    _verdict,
    _virtual_ip,
)
from ansible_collections.escala.ha.plugins.module_utils._portuguese import CHECKS, words_for
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check

OURS = [
    value
    for module in (
        _database_verdicts,
        _load_balancer,
        _load_balancer_edge,
        _postgresql_checks,
        _postgresql_token,
        _shared_storage_checks,
        _tls,
        _virtual_ip,
    )
    for value in vars(module).values()
    if isinstance(value, Check)
]


@pytest.mark.parametrize("check", OURS, ids=lambda check: check.name)
def test_every_check_has_words_in_portuguese(check):
    assert words_for(check.name) is not None


def test_a_place_at_the_end_of_the_name_is_added_to_the_title():
    ready = CHECKS["instances_ready"]
    assert words_for(_application.readiness_check("lb1").name) == (f"{ready.title} (lb1)", ready.next_step)
    unseen = {"engine": "nginx", "problem": "refused", "checked_seconds_ago": None, "note": ""}
    for verdict in (
        _load_balancer_state.judge_rotation("lb1", unseen, []),
        _load_balancer_state.judge_freshness("lb1", unseen, 5),
        _load_balancer_state.judge_uploads("lb1", unseen | {"uploads": None}, None),
        _load_balancer_state.judge_services("lb1", unseen | {"services": []}),
    ):
        assert words_for(verdict["name"]).title.endswith("(lb1)")
    (away,) = _verdict.gather({"lb2": {"unreachable": True}})
    assert words_for(away["name"]).title == f"{CHECKS['host_reachable'].title} (lb2)"


def test_an_unknown_check_has_none():
    assert words_for("some_check") is None
    assert words_for("some_check_from_lb1") is None
