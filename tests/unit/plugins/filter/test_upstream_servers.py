from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.upstream_servers import FilterModule

upstream_servers = FilterModule().filters()["upstream_servers"]

HOSTVARS = {
    "app1": {"platform_address": "192.0.2.1", "app_ports": [3001], "public": "203.0.113.1", "web_ports": [80]},
    "app2": {"platform_address": "192.0.2.2"},
}


def test_a_host_s_address_and_ports_are_taken_from_its_variables():
    assert upstream_servers(["app1"], HOSTVARS) == [{"address": "192.0.2.1", "port": 3001}]


def test_the_variables_may_have_other_names():
    assert upstream_servers(["app1"], HOSTVARS, "public", "web_ports") == [{"address": "203.0.113.1", "port": 80}]


def test_a_missing_variable_is_named_with_its_host():
    with pytest.raises(AnsibleFilterError, match="app_ports is not set for the host app2"):
        upstream_servers(["app1", "app2"], HOSTVARS)
