from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.filter import (
    storage_pair_faults,
    storage_pair_refusals,
    storage_pair_step,
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
