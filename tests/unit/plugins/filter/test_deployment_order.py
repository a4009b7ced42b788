import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.deployment_order import FilterModule

deployment_order = FilterModule().filters()["deployment_order"]
HOSTVARS = {"app1": {"app_ports": [3001]}, "app2": {"app_ports": [3001]}}
DRAINED = {"lb1": {"problem": None, "backends": [{"name": "app2-3001", "state": "drained"}]}}


def test_what_is_drained_comes_first():
    assert deployment_order(["app1", "app2"], HOSTVARS, {}, DRAINED) == ["app2", "app1"]


def test_faults_are_ansible_s():
    with pytest.raises(AnsibleFilterError, match="a dictionary for readiness, not list"):
        deployment_order([], {}, [], {})
    with pytest.raises(AnsibleFilterError, match="'app_ports' is not set"):
        deployment_order(["app1"], {"app1": {}}, {}, {})
    with pytest.raises(AnsibleFilterError, match="Mend it first"):
        deployment_order([], {}, {}, {"lb1": {"problem": "no answer in time", "backends": []}})
