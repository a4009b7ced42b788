from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.escala.ha.plugins.filter.upstream_tries import FilterModule

upstream_tries = FilterModule().filters()["upstream_tries"]


def test_one_try_more_than_a_host_has_instances():
    assert upstream_tries([{"address": "192.0.2.1", "port": 3001}, {"address": "192.0.2.1", "port": 3002}]) == 3


def test_an_empty_upstream_is_refused():
    with pytest.raises(AnsibleFilterError, match="no server"):
        upstream_tries([])
