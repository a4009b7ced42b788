from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._shared_storage_checks import judge
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_verdicts import storage_verdicts
from tests.unit.plugins.module_utils.test_shared_storage_checks import BUCKET, DIRECTORY, mounted, opened

UNSEEN = "nothing of it is seen here within 5 s"


def result(host, outcome, options=DIRECTORY):
    return {"verdicts": judge(outcome, {**options, "host": host}, False)}


def by_name(results):
    return {verdict["name"].removeprefix("shared_storage_"): verdict for verdict in storage_verdicts(results)}


def good(host, other):
    return result(host, mounted(peers={other: None}, owners={f"{host}.token": 994}))


def lonely(host, other, source="192.0.2.41:/uploads", **changes):
    seen = mounted(step="meet", done=["write"], peers={other: UNSEEN}, owners={f"{host}.token": 994}, **changes)
    seen.seen["directory"] = {**seen.seen["directory"], "mount": {**seen.seen["directory"]["mount"], "source": source}}
    return result(host, seen)


def test_hosts_that_agree_are_named_once_and_all_evidence_is_kept():
    verdicts = by_name({"app1": good("app1", "app2"), "app2": good("app2", "app1")})
    assert all(verdict["passed"] for verdict in verdicts.values())
    assert verdicts["mounted"]["reason"] == "app1, app2: /srv/uploads is 192.0.2.41:/uploads, nfs4"
    assert verdicts["shared"]["reason"] == "app1: read whole what app2 stored; app2: read whole what app1 stored"
    assert set(verdicts["mounted"]["evidence"]) == {"app1", "app2"}


def test_a_check_that_fails_on_one_host_fails_with_that_host_s_reason():
    bad = result("app2", mounted(step="write", done=[], problem="it is full", milliseconds={}))
    verdicts = by_name({"app1": lonely("app1", "app2"), "app2": bad})
    assert verdicts["writes"]["reason"] == "app2: the first file failed: it is full"
    assert not verdicts["shared"]["passed"]
    assert "of its own" not in verdicts["shared"]["reason"]


def test_hosts_that_each_have_a_storage_of_their_own_are_told_so():
    verdicts = by_name({"app1": lonely("app1", "app2"), "app2": lonely("app2", "app1", "192.0.2.42:/uploads")})
    assert verdicts["shared"]["reason"].startswith(
        "each host has a storage of its own: all could write, and none sees anything of another."
        " app1 has /srv/uploads on nfs4 from 192.0.2.41:/uploads at /srv/uploads, app2 has"
    )
    assert "forks must not be fewer" in verdicts["shared"]["reason"]


def test_buckets_of_their_own_are_told_so_too():
    others = {"app1": "app2", "app2": "app1"}
    results = {
        host: result(host, opened(step="meet", done=["write"], peers={other: UNSEEN}), BUCKET)
        for host, other in others.items()
    }
    assert by_name(results)["shared"]["reason"].count("has a bucket") == 2


def test_hosts_that_were_not_looked_for_fail_it_even_where_each_passes_alone():
    results = {host: result(host, mounted(peers={}, owners={})) for host in ("app1", "app2")}
    shared = by_name(results)["shared"]
    assert not shared["passed"]
    assert shared["reason"].startswith("app1 did not look for app2; app2 did not look for app1. Name all")


def test_two_that_see_each_other_and_a_third_that_sees_nobody_do_not_all_have_their_own():
    some = result("app1", mounted(step="meet", done=["write"], peers={"app2": None, "app3": UNSEEN}))
    lonely_one = result("app3", mounted(step="meet", done=["write"], peers={"app1": UNSEEN, "app2": UNSEEN}))
    verdicts = by_name({"app1": some, "app3": lonely_one})
    assert "of its own" not in verdicts["shared"]["reason"]


@pytest.mark.parametrize(
    ("away", "words"),
    [
        ({"unreachable": True}, "app2 could not be entered, so it was not asked"),
        ({"skipped": True}, "app2 could not be entered"),
        ({"msg": "no python\nat all."}, "app2 could not be asked: no python at all."),
        ({}, "app2 could not be asked: it said nothing"),
    ],
)
def test_a_host_that_could_not_be_asked_fails_the_writing(away, words):
    verdicts = by_name({"app1": good("app1", "app2"), "app2": away})
    assert words in verdicts["writes"]["reason"]
    assert [name for name, verdict in verdicts.items() if not verdict["passed"]] == ["writes"]
    (only,) = storage_verdicts({"app2": away})
    assert (only["name"], only["passed"]) == ("shared_storage_writes", False)
    assert words in only["reason"]


def test_a_host_that_fails_and_one_that_is_away_are_both_told():
    bad = result("app1", mounted(step="write", done=[], problem="it is full", milliseconds={}))
    reason = by_name({"app1": bad, "app2": {"unreachable": True}})["writes"]["reason"]
    assert "app2 could not be entered" in reason
    assert "it is full" in reason


def test_a_platform_without_application_hosts_has_nobody_to_ask():
    (only,) = storage_verdicts({})
    assert "there is no application host" in only["reason"]


def test_what_is_no_verdict_is_refused():
    with pytest.raises(ValueError, match="verdict"):
        storage_verdicts({"app1": {"verdicts": [{"name": "x"}]}})
