import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.application_instances import FilterModule

application_instances = FilterModule().filters()["application_instances"]


def test_each_host_and_port_is_one_instance_with_its_name_and_neighbours_are_on_different_hosts():
    hostvars = {
        "app1": {"platform_address": "192.0.2.21", "app_ports": [3001, 3002]},
        "app2": {"platform_address": "192.0.2.22", "app_ports": [3001]},
    }
    assert application_instances(["app1", "app2"], hostvars) == [
        {"name": "app1-3001", "address": "192.0.2.21", "port": 3001},
        {"name": "app2-3001", "address": "192.0.2.22", "port": 3001},
        {"name": "app1-3002", "address": "192.0.2.21", "port": 3002},
    ]


def test_other_variables_can_hold_address_and_ports():
    hostvars = {"app1": {"place": "192.0.2.21", "doors": ["80"]}}
    found = application_instances(["app1"], hostvars, address="place", ports="doors")
    assert found == [{"name": "app1-80", "address": "192.0.2.21", "port": 80}]


@pytest.mark.parametrize(
    ("listens_on", "reached_at"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "192.0.2.21"), ("::", "192.0.2.21")],  # noqa: S104
)
def test_an_instance_is_reached_where_it_listens(listens_on, reached_at):
    hostvars = {"app1": {"platform_address": "192.0.2.21", "app_ports": [3001], "app_listen_address": listens_on}}
    assert application_instances(["app1"], hostvars)[0]["address"] == reached_at


@pytest.mark.parametrize("missing", ["platform_address", "app_ports"])
def test_a_variable_that_is_not_set_is_named_with_its_host(missing):
    variables = {"platform_address": "192.0.2.21", "app_ports": [3001]}
    del variables[missing]
    with pytest.raises(AnsibleFilterError, match=f"{missing} is not set for the host app1"):
        application_instances(["app1"], {"app1": variables})
