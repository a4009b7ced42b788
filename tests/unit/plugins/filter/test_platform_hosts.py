from __future__ import annotations

from collections.abc import Mapping

import pytest
from ansible.errors import AnsibleError
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


def test_the_system_is_named_by_its_facts():
    facts = {"distribution": "Debian", "distribution_major_version": "13"}
    assert known(ansible_facts=facts)["system"] == "Debian 13"


@pytest.mark.parametrize("values", [{}, {"ansible_facts": {}}])
def test_a_host_without_facts_has_no_known_system(values):
    assert known(**values)["system"] is None


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
