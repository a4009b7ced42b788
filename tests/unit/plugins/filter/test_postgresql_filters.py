from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.database_nodes import database_nodes
from ansible_collections.escala.ha.plugins.filter.postgresql_access import postgresql_access
from ansible_collections.escala.ha.plugins.filter.postgresql_cluster_size import postgresql_cluster_size
from ansible_collections.escala.ha.plugins.filter.postgresql_conf import postgresql_conf
from ansible_collections.escala.ha.plugins.filter.postgresql_pgpass import postgresql_pgpass
from ansible_collections.escala.ha.plugins.filter.postgresql_plan import postgresql_plan
from ansible_collections.escala.ha.plugins.filter.postgresql_raised import postgresql_raised
from ansible_collections.escala.ha.plugins.filter.postgresql_refusals import postgresql_refusals
from ansible_collections.escala.ha.plugins.filter.postgresql_sizes import postgresql_sizes
from ansible_collections.escala.ha.plugins.filter.postgresql_synchronous_names import postgresql_synchronous_names
from ansible_collections.escala.ha.plugins.filter.postgresql_version import postgresql_version


@pytest.mark.parametrize(
    ("nodes", "witnesses", "names"),
    [
        (["db1"], [], ""),
        (["db1", "db2"], ["mon1"], 'ANY 1 ("db1", "db2")'),
        (["db1", "db2", "db3"], [], 'ANY 1 ("db1", "db2", "db3")'),
        (["a", "b", "c", "d", "e"], [], 'ANY 2 ("a", "b", "c", "d", "e")'),
    ],
)
def test_a_commit_waits_for_as_many_as_the_size_takes(nodes, witnesses, names):
    assert postgresql_synchronous_names(nodes, witnesses) == names


def test_each_says_what_it_would_not_take():
    for refused in (
        lambda: postgresql_synchronous_names([]),
        lambda: postgresql_sizes(1, 1, 1),
        lambda: postgresql_conf({"a": None}),
        lambda: postgresql_raised({"a": "many"}, {"a": 2}),
        lambda: postgresql_access([{"name": "a", "databases": ["b"], "addresses": ["c"]}]),
        lambda: postgresql_plan({}),
        lambda: postgresql_refusals({"db1": {"data": True, "least": {"a": 1}}, "db2": {}}, 17, {"a": "many"}),
        lambda: postgresql_version(["db1"], {"db1": {}}),
        lambda: postgresql_version(["db1"], {"db1": {"postgresql_version": "seventeen"}}),
        lambda: database_nodes(["db1"], {"db1": {}}),
        lambda: database_nodes(["DB1"], {"DB1": {"platform_address": "192.0.2.1"}}),
    ):
        with pytest.raises(AnsibleFilterError, match=r"^(postgresql|database)_\w+: "):
            refused()


def test_what_comes_from_jinja_as_text_is_a_number():
    assert postgresql_sizes("1024", "2", "100")["shared_buffers"] == "256MB"


def test_rules_and_settings_are_lines():
    [line] = postgresql_access([{"name": "a", "databases": ["b"], "addresses": ["192.0.2.1"]}])
    assert line.startswith("hostssl b ")
    assert postgresql_conf({"a": 1}) == "a = 1\n"
    assert postgresql_raised({"a": 1}, {"a": 2}) == {"a": 2}


def test_nodes_have_the_address_that_their_host_has():
    hostvars = {"db1.example.com": {"platform_address": "192.0.2.1"}}
    assert database_nodes(["db1.example.com"], hostvars) == [
        {"name": "db1", "id": 1, "host": "db1.example.com", "address": "192.0.2.1"}
    ]


def test_a_version_may_come_as_a_number_or_as_text():
    seen = {"db1": {"data": True, "versions": {"/x/17/main": "17"}}}
    assert postgresql_refusals(seen, 17, {}) == postgresql_refusals(seen, "17", {}) == []
    assert len(postgresql_refusals(seen, 18, {})) == len(postgresql_refusals(seen, "18", {})) == 1


def test_the_lines_that_are_written_are_those_that_are_compared():
    lines = postgresql_pgpass([{"name": "a", "password": "b:c"}, {"name": "d", "password": "e"}])
    assert lines == ["*:*:*:a:b\\:c", "*:*:*:d:e"]
    nodes = {"db1": {"data": True}, "db2": {}}
    assert postgresql_refusals(nodes, 17, {}, lines, ["# Ansible", *lines]) == []
    assert len(postgresql_refusals(nodes, 17, {}, lines, lines[:1])) == 1


def test_a_plan_says_all_three():
    seen = {"data": False}
    assert postgresql_plan({"db1": seen, "db2": seen}) == {
        "beginner": "db1",
        "primary": None,
        "restarts": [],
        "least": {},
    }


@pytest.mark.parametrize(
    ("data", "witnesses", "possible"), [(1, 0, True), (2, 0, False), (2, 1, True), (3, 0, True), (0, 1, False)]
)
def test_a_cluster_that_is_too_small_to_fail_over_is_told_what_it_lacks(data, witnesses, possible):
    size = postgresql_cluster_size(data, witnesses, True)
    assert size["possible"] == possible
    assert possible or "at least one data node" in size["reason"] or "add a witness" in size["reason"]


def test_the_version_is_the_one_that_is_set_or_the_distribution_s_own():
    debian = {"ansible_facts": {"distribution": "Debian", "distribution_major_version": "12"}}
    assert postgresql_version(["db1", "db2"], {"db1": {}, "db2": debian}) == 15
    assert postgresql_version(["db1"], {"db1": {**debian, "postgresql_version": "17"}}) == 17
