import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.connection_budget import FilterModule

connection_budget = FilterModule().filters()["connection_budget"]

POOLS = {"app": 20, "app_ro": 20}
OTHERS = {"superusers": 8, "migrations": 4}
INSTANCES = {"count": 2, "pool_size": 10}


def judged(pools=POOLS, hosts=4, limit=200, others=OTHERS, instances=INSTANCES, clients=2000):
    return connection_budget(pools, hosts, limit, others, instances, clients)


def test_what_fits_says_the_sum():
    assert judged() == {
        "fits": True,
        "needed": 172,
        "reason": "4 application hosts x 40 connections (app 20, app_ro 20) + 12 for others (superusers 8, migrations 4)"
        " = 172 connections, max_connections is 200",
    }


@pytest.mark.parametrize(("limit", "fits"), [(172, True), (171, False)])
def test_the_limit_itself_still_fits(limit, fits):
    assert judged(limit=limit)["fits"] is fits


def test_what_does_not_fit_says_both_ways_out():
    reason = judged(hosts=5)["reason"]
    assert "= 212 connections, and max_connections is 200: raise postgresql_max_connections to 212 or more" in reason
    assert "share 37 connections" in reason


def test_where_smaller_pools_cannot_help_only_the_other_way_is_said():
    reason = judged(hosts=300)["reason"]
    assert reason.endswith("raise postgresql_max_connections to 12012 or more")


def test_instances_that_the_pooler_would_not_take_are_a_fault_too():
    found = judged(instances={"count": 4, "pool_size": 10}, clients=79)
    assert found["fits"] is False
    assert "4 instances x 10 x 2 databases = 80 clients of one pooler, which takes 79" in found["reason"]


def test_numbers_may_come_as_text():
    assert judged(pools={"app": "20"}, hosts="1", limit="40", clients="100")["needed"] == 32


@pytest.mark.parametrize(
    "wrong", [{"pools": {}}, {"hosts": 0}, {"limit": "many"}, {"instances": {"count": 1}}, {"pools": {"app": 0}}]
)
def test_what_is_no_budget_is_refused(wrong):
    with pytest.raises(AnsibleFilterError, match="connection_budget"):
        judged(**wrong)
