"""The filters that judge the database are thin: what they are given must be dictionaries of hosts."""

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter import pooler_verdicts, replication_verdicts, repmgr_catalogue_verdict

AWAY = {"unreachable": True}
FILTERS = {
    name: function
    for module in (pooler_verdicts, replication_verdicts, repmgr_catalogue_verdict)
    for name, function in module.FilterModule().filters().items()
}


def test_each_judges_hosts_that_are_away():
    assert [one["passed"] for one in FILTERS["replication_verdicts"]({"db1": AWAY})] == [False, False]
    assert [one["name"] for one in FILTERS["pooler_verdicts"]({"app1": AWAY}, {"db1": AWAY})] == [
        "pooler_writes",
        "pooler_reads",
    ]
    assert FILTERS["repmgr_catalogue_verdict"]({"db1": AWAY})["passed"] is False


@pytest.mark.parametrize("name", ["replication_verdicts", "repmgr_catalogue_verdict"])
def test_a_list_of_results_without_names_is_refused(name):
    with pytest.raises(AnsibleFilterError, match="of hosts, not list"):
        FILTERS[name]([AWAY])


@pytest.mark.parametrize("given", [([AWAY], {}), ({}, [AWAY])])
def test_poolers_and_data_nodes_must_both_have_names(given):
    with pytest.raises(AnsibleFilterError, match="dictionaries of hosts, not list"):
        FILTERS["pooler_verdicts"](*given)


def test_a_result_that_is_no_verdict_is_refused():
    with pytest.raises(AnsibleFilterError, match="verdict"):
        FILTERS["replication_verdicts"]({"db1": {"verdicts": [{"name": "x"}]}})
