from __future__ import annotations

from collections.abc import Mapping

import pytest
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from jinja2 import StrictUndefined

from ansible_collections.escala.ha.plugins.filter.platform_hosts import FilterModule

platform_hosts = FilterModule().filters()["platform_hosts"]


class Variables(Mapping):
    """Like a host's variables: evaluated only when looked at, and an error only then."""

    def __init__(self, **values):
        self._values = values

    def __getitem__(self, name):
        value = self._values[name]
        if isinstance(value, Exception):
            raise value
        return value

    def __contains__(self, name):
        return name in self._values

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)


def known(names=(), sealed=(), **values):
    return platform_hosts(["app1"], {"app1": Variables(**values)}, names, sealed)["app1"]


def test_values_are_returned_as_far_as_they_are_set():
    assert known(["app_ports", "app_name"], app_ports=(3001, 3002), other=1)["values"] == {"app_ports": [3001, 3002]}


@pytest.mark.parametrize(
    ("registered", "absent"),
    [
        ({"unreachable": True, "msg": "timed out"}, "unreachable"),
        ({"failed": True, "msg": " Missing sudo password\n"}, "Missing sudo password"),
        (None, "it was not asked"),
    ],
)
def test_a_host_that_was_not_seen_says_why(registered, absent):
    values = {} if registered is None else {"seen": registered}
    found = platform_hosts(["app1"], {"app1": Variables(**values)}, [], registered="seen")["app1"]
    assert (found["observed"], found["absent"]) == (None, absent)


def test_what_was_seen_is_handed_on():
    found = platform_hosts(["app1"], {"app1": Variables(seen={"clock": {}, "memory_mib": 1})}, [], registered="seen")
    assert (found["app1"]["observed"], found["app1"]["absent"]) == ({"clock": {}, "memory_mib": 1}, "")


def test_a_group_s_roles_and_limits_are_its_hosts_defaults():
    variables = Variables(group_names=["app_servers", "all_else"])
    limits = {"app_servers": {"preflight_minimum_memory_mib": 900}, "load_balancers": {"preflight_x": 1}}
    roles = {"app_servers": ["app", "not_there"], "load_balancers": ["keepalived"]}
    defaults = platform_hosts(["app1"], {"app1": variables}, [], (), roles, limits)["app1"]["defaults"]
    assert (defaults["app_ports"], defaults["preflight_minimum_memory_mib"]) == ([3001, 3002], 900)
    # A template of the role's is not for others to read.
    assert not {"keepalived_router_id", "preflight_x", "app_state_directory"} & set(defaults)


def test_of_a_host_in_two_groups_the_defaults_of_the_later_one_count():
    limits = {"load_balancers": {"preflight_x": 1, "preflight_y": 1}, "app_servers": {"preflight_x": 2}}
    variables = Variables(group_names=["app_servers", "load_balancers"])
    found = platform_hosts(["one"], {"one": variables}, [], (), {}, limits)["one"]["defaults"]
    assert found == {"preflight_x": 2, "preflight_y": 1}


def test_other_hosts_variables_are_seen_as_the_host_s_own_tasks_see_them(tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "all: {hosts: {app1: {peer: '{{ hostvars.lb1.platform_address }}'}, lb1: {platform_address: 192.0.2.1}}}"
    )
    loader = DataLoader()
    manager = InventoryManager(loader=loader, sources=[str(inventory)])
    hostvars = HostVars(manager, VariableManager(loader=loader, inventory=manager), loader)
    found = platform_hosts(["app1"], hostvars, ["peer"])["app1"]
    assert (found["values"], found["problems"]) == ({"peer": "192.0.2.1"}, {})


def test_of_a_sealed_variable_only_its_name_is_returned():
    result = known(sealed=["app_secrets"], app_secrets={"JWT_SECRET": "hunter2"})
    assert result["sealed"] == ["app_secrets"]
    assert "hunter2" not in str(result)


@pytest.mark.parametrize("value", [None, "", "  ", {}, {"JWT_SECRET": ""}, {"JWT_SECRET": None}])
def test_a_sealed_variable_without_a_value_in_every_part_is_not_set(value):
    assert known(sealed=["app_secrets"], app_secrets=value)["sealed"] == []


@pytest.mark.parametrize(
    "broken",
    [
        AnsibleError("'secret_a' is undefined"),
        StrictUndefined("'secret_a' is undefined"),
        {"JWT_SECRET": StrictUndefined("'secret_a' is undefined")},
        [StrictUndefined("'secret_a' is undefined")],
    ],
)
def test_what_cannot_be_evaluated_is_a_problem_and_no_error(broken):
    result = known(["app_secrets"], app_secrets=broken)
    assert result["problems"] == {"app_secrets": "cannot be evaluated, 'secret_a' is undefined"}
    assert result["values"] == {}
