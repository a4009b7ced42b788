import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.verdicts import FilterModule
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check

verdicts = FilterModule().filters()["verdicts"]
GOOD = Check(1, "some_check", "Something holds").passes("it does")


def test_the_verdicts_of_all_hosts_come_in_one_list():
    assert verdicts({"lb1": {"verdicts": [GOOD]}, "lb2": {"verdicts": []}}) == [GOOD]


@pytest.mark.parametrize("results", [[{"verdicts": [GOOD]}], {"lb1": {"msg": "boom"}}, {"lb1": {"verdicts": ["x"]}}])
def test_anything_else_is_refused(results):
    with pytest.raises(AnsibleFilterError):
        verdicts(results)
