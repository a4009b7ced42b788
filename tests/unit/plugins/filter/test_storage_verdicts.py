import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.storage_verdicts import FilterModule

storage_verdicts = FilterModule().filters()["storage_verdicts"]


def test_a_host_that_is_away_is_a_failed_verdict():
    assert [one["passed"] for one in storage_verdicts({"app1": {"unreachable": True}})] == [False]


def test_a_list_of_results_without_names_is_refused():
    with pytest.raises(AnsibleFilterError, match="of hosts, not list"):
        storage_verdicts([{"unreachable": True}])


def test_a_result_that_is_no_verdict_is_refused():
    with pytest.raises(AnsibleFilterError, match="verdict"):
        storage_verdicts({"app1": {"verdicts": [{"name": "x"}]}})
