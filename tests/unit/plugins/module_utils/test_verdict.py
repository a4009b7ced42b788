import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils import _verdict
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check

CHECK = Check(1, "some_check", "Something holds")
GOOD = CHECK.passes("it does")
BAD = CHECK.fails("it does not; mend it", seen=3, limit=2)


def test_a_verdict_has_exactly_the_agreed_keys():
    assert BAD == {
        "etapa": 1,
        "name": "some_check",
        "title": "Something holds",
        "passed": False,
        "reason": "it does not; mend it",
        "evidence": {"seen": 3, "limit": 2},
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"etapa": "1"}, "etapa is str, expected int"),
        ({"etapa": True}, "etapa is bool, expected int"),
        ({"passed": "yes"}, "passed is str, expected bool"),
        ({"name": "Some-Check"}, "not snake_case"),
        ({"title": " "}, "title is empty"),
        ({"reason": ""}, "reason is empty"),
        ({"evidence": []}, "evidence is list, expected dict"),
        ({"colour": "red"}, "has the keys"),
    ],
)
def test_what_is_no_verdict_is_refused_with_what_is_wrong(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        _verdict.validated({**GOOD, **change})


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_missing_key_is_refused(key):
    with pytest.raises(ValueError, match="has the keys"):
        _verdict.validated({other: value for other, value in GOOD.items() if other != key})


def test_something_else_than_a_dictionary_is_refused():
    with pytest.raises(ValueError, match="not str"):
        _verdict.validated("passed")


def test_the_summary_names_each_failed_check_and_its_reason():
    assert _verdict.summary([GOOD, GOOD]) == "2 of 2 checks passed"
    assert _verdict.summary([GOOD, BAD]) == "1 of 2 checks failed:\n- some_check: it does not; mend it"


@given(st.lists(st.booleans()))
def test_an_outcome_passes_exactly_when_every_verdict_does(results):
    verdicts = [GOOD if passed else BAD for passed in results]
    outcome = _verdict.outcome(verdicts)
    assert outcome["passed"] is all(results)
    assert outcome["changed"] is False
    assert outcome["verdicts"] == verdicts


def test_a_line_shows_failure_without_colour():
    assert _verdict.line(GOOD) == "ok     some_check: it does"
    assert _verdict.line(BAD).startswith("FAILED some_check: ")


def test_gathering_keeps_the_verdicts_of_every_host():
    assert _verdict.gather({"lb1": {"verdicts": [GOOD]}, "lb2": {"verdicts": [BAD]}}) == [GOOD, BAD]


def test_a_host_that_was_away_fails_a_check_of_its_own():
    (verdict,) = _verdict.gather({"LB-2": {"unreachable": True, "msg": "no route"}})
    assert verdict["name"] == "host_reachable_lb_2"
    assert not verdict["passed"]


def test_a_host_may_have_several_results_and_what_was_skipped_after_it_was_away_is_nothing():
    results = {"lb1": ({"verdicts": [GOOD]}, {"verdicts": [BAD]}), "lb2": ({"unreachable": True}, {"skipped": True})}
    assert [verdict["name"] for verdict in _verdict.gather(results)] == [
        GOOD["name"],
        BAD["name"],
        "host_reachable_lb2",
    ]
    with pytest.raises(ValueError, match="lb1 has no verdicts: it was skipped"):
        _verdict.gather({"lb1": [{"verdicts": [GOOD]}, {"skipped": True}]})


def test_a_result_without_verdicts_does_not_pass_silently():
    with pytest.raises(ValueError, match="lb1 has no verdicts: boom"):
        _verdict.gather({"lb1": {"failed": True, "msg": "boom"}})
