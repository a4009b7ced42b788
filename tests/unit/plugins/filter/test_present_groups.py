from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.filter.present_groups import FilterModule

present_groups = FilterModule().filters()["present_groups"]
GROUPS = {"all": ["lb1", "db1"], "load_balancers": ["lb1"], "postgres_servers": ["db1"], "postgres_witnesses": []}


@pytest.mark.parametrize(
    ("names", "hosts"),
    [
        ("load_balancers", "load_balancers"),
        (["load_balancers", "app_servers", "postgres_servers"], "load_balancers:postgres_servers"),
        # Nobody, whatever else the run is limited to.
        ("app_servers", "!all"),
        ("postgres_witnesses", "!all"),
        ([], "!all"),
    ],
)
def test_the_groups_that_have_hosts_make_the_pattern(names, hosts):
    assert present_groups(names, GROUPS) == hosts
