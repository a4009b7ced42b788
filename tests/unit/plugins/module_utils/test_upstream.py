from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._upstream import tries_that_reach_a_second_host


def test_a_request_is_tried_once_more_than_the_fullest_host_has_instances():
    servers = [{"address": "192.0.2.1"}, {"address": "192.0.2.2"}, {"address": "192.0.2.2"}]
    assert tries_that_reach_a_second_host(servers) == 3


def test_nothing_cannot_be_tried():
    with pytest.raises(ValueError, match="no server"):
        tries_that_reach_a_second_host([])
