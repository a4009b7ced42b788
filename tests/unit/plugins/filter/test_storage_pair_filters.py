from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter import (
    storage_pair_faults,
    storage_pair_refusals,
    storage_pair_step,
    storage_pair_verdicts,
)
from tests.unit.plugins.module_utils.test_storage_pair import both, host


@pytest.mark.parametrize(
    ("plugin", "name", "expected"),
    [
        (storage_pair_refusals, "storage_pair_refusals", []),
        (storage_pair_step, "storage_pair_step", {"do": "nothing", "host": None, "reason": "the cluster has it"}),
        (storage_pair_faults, "storage_pair_faults", []),
    ],
)
def test_each_filter_judges_what_the_hosts_said(plugin, name, expected):
    assert plugin.FilterModule().filters()[name](both()) == expected


def test_a_host_that_gave_no_answer_is_named():
    faults = storage_pair_faults.FilterModule().filters()["storage_pair_faults"]
    assert faults({"nas1": host("nas1")}, ["nas2"]) == ["nas2 could not be asked; bring it back"]


def verdicts(results):
    return storage_pair_verdicts.FilterModule().filters()["storage_pair_verdicts"](results)


def test_a_whole_pair_passes_and_says_who_serves():
    (verdict,) = verdicts(both())
    assert verdict["passed"]
    assert verdict["reason"].startswith("nas1 serves and nas2 has all that it has")
    assert verdict["evidence"]["nas2"]["replication"]["disk"] == "UpToDate"


@pytest.mark.parametrize(
    "answer", [{"unreachable": True, "msg": "timed out"}, {"failed": True, "msg": "no Python"}], ids=["away", "failed"]
)
def test_a_host_that_could_not_be_asked_fails_it(answer):
    (verdict,) = verdicts({"nas1": host("nas1"), "nas2": answer})
    assert not verdict["passed"]
    assert "nas2 could not be asked; bring it back" in verdict["reason"]


def test_nobody_who_answers_fails_it():
    (verdict,) = verdicts({"nas1": {"unreachable": True}, "nas2": {"unreachable": True}})
    assert not verdict["passed"]


def test_every_fault_fails_it():
    (verdict,) = verdicts(both(second={"quorum": {"device_votes": False}}))
    assert not verdict["passed"]
    assert "nas2: the quorum host gives no vote here" in verdict["reason"]


def test_servers_that_are_no_pair_are_not_judged():
    assert (
        verdicts({"storage1": {"skipped": True, "changed": False}, "storage2": {"skipped": True, "changed": False}})
        == []
    )


def test_only_a_dictionary_of_hosts_is_taken():
    with pytest.raises(AnsibleFilterError, match="not list"):
        verdicts([])
