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
