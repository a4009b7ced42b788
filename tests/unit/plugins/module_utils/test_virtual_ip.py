import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils import _virtual_ip

VIP = "192.0.2.100"
LISTING = json.dumps(
    [
        {"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8}]},
        {
            "ifname": "eth0",
            "addr_info": [
                {"family": "inet", "local": "192.0.2.11", "prefixlen": 24},
                {"family": "inet", "local": VIP, "prefixlen": 24},
                {},
            ],
        },
        {"ifname": "eth1"},
    ]
)


def judged(**holds):
    return _virtual_ip.judge_holders(VIP, {host: {"holds": held} for host, held in holds.items()})


def test_a_host_that_has_the_address_says_on_which_interface():
    seen = _virtual_ip.observe(VIP, lambda: (0, LISTING, ""))
    assert (seen["holds"], seen["interface"], seen["problem"]) == (True, "eth0", None)
    assert {"interface": "lo", "address": "127.0.0.1", "prefix_length": 8} in seen["addresses"]


def test_an_address_that_merely_begins_alike_is_another_one():
    assert _virtual_ip.observe("192.0.2.10", lambda: (0, LISTING, ""))["holds"] is False


@pytest.mark.parametrize(
    ("status", "listing", "errors"),
    [
        (127, "", "no such program"),
        (0, "not JSON", ""),
        (0, '{"ifname": 1}', ""),
        (0, '[{"addr_info": [{"local": "::"}]}]', ""),
    ],
)
def test_what_cannot_be_read_is_an_observation_too(status, listing, errors):
    seen = _virtual_ip.observe(VIP, lambda: (status, listing, errors))
    assert seen["holds"] is None
    assert seen["problem"].startswith("the addresses could not be listed")


def test_one_holder_passes_and_names_who_stands_by():
    verdict = judged(lb1=False, lb2=True)
    assert verdict["passed"]
    assert verdict["reason"] == "lb2 holds 192.0.2.100, lb1 stands by"


def test_a_balancer_alone_passes():
    assert judged(lb1=True)["reason"] == "lb1 holds 192.0.2.100"


def test_two_holders_fail_with_both_names():
    verdict = judged(lb1=True, lb2=True, lb3=None)
    assert not verdict["passed"]
    assert "lb1 and lb2 hold" in verdict["reason"]


def test_no_holder_fails():
    assert "no balancer holds" in judged(lb1=False, lb2=False)["reason"]


def test_without_balancers_nobody_holds_it():
    assert "no balancer holds" in judged()["reason"]


def test_a_balancer_that_was_away_may_hold_it():
    verdict = _virtual_ip.judge_holders(VIP, {"lb1": {"holds": True}, "lb2": {"unreachable": True, "msg": "no route"}})
    assert not verdict["passed"]
    assert verdict["reason"].startswith("lb2 could not be observed")


@given(st.dictionaries(st.sampled_from(["lb1", "lb2", "lb3"]), st.sampled_from([True, False, None])))
def test_it_passes_exactly_when_all_are_known_and_one_holds(held):
    expected = None not in held.values() and list(held.values()).count(True) == 1
    assert judged(**held)["passed"] is expected


def test_a_host_without_the_program_is_an_observation_too():
    def missing():
        raise FileNotFoundError(2, "No such file or directory")

    assert _virtual_ip.observe(VIP, missing)["problem"].endswith("No such file or directory")


SEEN = {
    "address": VIP,
    "state": "one",
    "since": 1795480601.2,
    "reason": f"lb1 (02:00:00:00:00:01) holds {VIP}",
    "holders": [{"mac": "02:00:00:00:00:01", "host": "lb1"}],
    "age_seconds": 0.5,
    "problem": None,
}
TWO = {
    **SEEN,
    "state": "two",
    "reason": f"lb1 and lb2 hold {VIP} at the same time; stop one",
    "holders": [{"mac": "02:00:00:00:00:02", "host": "lb2"}, {"mac": "02:00:00:00:00:01", "host": "lb1"}],
}


def test_a_witness_s_state_is_returned_with_its_age():
    written = {key: SEEN[key] for key in ("address", "state", "since", "reason", "holders")}
    assert _virtual_ip.witnessed(lambda: json.dumps({**written, "checked_at": 99.5}), 100.0) == SEEN


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"checked_at": "now"}'])
def test_a_state_that_makes_no_sense_is_an_observation(content):
    seen = _virtual_ip.witnessed(lambda: content, 100.0)
    assert seen["state"] is None
    assert seen["problem"].startswith("the witness's state could not be read")


def test_witnesses_that_see_the_same_one_holder_pass():
    verdict = _virtual_ip.judge_witnesses(VIP, {"app1": SEEN, "app2": SEEN})
    assert verdict["passed"]
    assert verdict["reason"] == f"app1, app2 see {VIP} at lb1 only"


def test_two_holders_that_one_witness_sees_fail_with_names_time_and_what_to_do():
    verdict = _virtual_ip.judge_witnesses(VIP, {"app1": SEEN, "app2": TWO})
    assert verdict["reason"] == (
        f"app2 since 2026-11-24 00:36:41 UTC: lb1 and lb2 hold {VIP} at the same time; stop one"
    )
    assert verdict["evidence"]["witnesses"] == {"app1": "one: lb1", "app2": "two: lb1 and lb2"}


def test_witnesses_that_see_different_holders_fail():
    other = {**SEEN, "holders": [{"mac": "02:00:00:00:00:99", "host": None}]}
    verdict = _virtual_ip.judge_witnesses(VIP, {"app1": SEEN, "app2": other})
    assert "app1 sees lb1, app2 sees 02:00:00:00:00:99" in verdict["reason"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"age_seconds": 6.0}, "app1 looked last 6 s ago, limit 5 s"),
        ({"address": "192.0.2.200"}, "watches 192.0.2.200 and not"),
        ({"state": None, "problem": "no such file"}, "app1 says nothing: no such file"),
        ({"unreachable": True, "msg": "no route"}, "app1 says nothing: no route"),
        ({"state": "none", "holders": [], "reason": "nobody answers"}, "nobody answers"),
    ],
)
def test_a_witness_that_does_not_see_one_holder_now_fails(changes, complaint):
    verdict = _virtual_ip.judge_witnesses(VIP, {"app1": {**SEEN, **changes}})
    assert not verdict["passed"]
    assert complaint in verdict["reason"]


def test_a_witness_that_was_skipped_fails():
    assert "app1 says nothing" in _virtual_ip.judge_witnesses(VIP, {"app1": {"skipped": True}})["reason"]


def test_nobody_who_watches_fails():
    assert "no host watches" in _virtual_ip.judge_witnesses(VIP, {})["reason"]
