import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.virtual_ip_witness_verdict import FilterModule

virtual_ip_witness_verdict = FilterModule().filters()["virtual_ip_witness_verdict"]


def test_no_witness_fails():
    assert not virtual_ip_witness_verdict({}, "192.0.2.100")["passed"]


def test_a_list_of_results_without_names_is_refused():
    with pytest.raises(AnsibleFilterError, match="dictionary of hosts, not list"):
        virtual_ip_witness_verdict([], "192.0.2.100")
