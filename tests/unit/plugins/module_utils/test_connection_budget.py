"""Every sum is right whatever the numbers are, and a shortage names the variable of its limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils._connection_budget import connection_budget

OTHERS = {"superusers": 8}
INSTANCES = {"count": 2, "pool_size": 10}
FEW = st.integers(1, 500)


def test_a_shortage_names_its_variable_and_the_limit():
    found = connection_budget({"app": 20, "app_ro": 20}, 5, 200, OTHERS, {"count": 60, "pool_size": 20}, 2000)
    assert [(one.variable, one.limit) for one in found.shortages] == [
        ("postgresql_max_connections", 200),
        ("pgbouncer_max_client_connections", 2000),
    ]
    assert found.reason == "; ".join(f"{one.problem}: {one.remedy}" for one in found.shortages)


@given(pools=st.lists(FEW, min_size=1, max_size=3), hosts=FEW, limit=FEW, rest=st.integers(0, 500))
def test_it_fits_exactly_where_the_sum_does(pools, hosts, limit, rest):
    per_host = {f"pool{number}": pool for number, pool in enumerate(pools)}
    found = connection_budget(per_host, hosts, limit, {"others": rest}, {"count": 1, "pool_size": 1}, 10)
    assert found.needed == hosts * sum(pools) + rest
    assert (found.shortages == ()) is (found.needed <= limit)


@pytest.mark.parametrize("hosts", [0, None, "many", float("inf")])
def test_what_is_no_number_is_refused(hosts):
    with pytest.raises(ValueError, match="at least 1|is missing"):
        connection_budget({"app": 20}, hosts, 200, OTHERS, INSTANCES, 2000)
