from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._upstream import servers_by_port, tries_that_reach_a_second_host


def server(address, port):
    return {"address": address, "port": port}


def test_neighbours_are_on_different_hosts():
    assert servers_by_port([("192.0.2.1", [3001, 3002]), ("192.0.2.2", [3001, 3002])]) == [
        server("192.0.2.1", 3001),
        server("192.0.2.2", 3001),
        server("192.0.2.1", 3002),
        server("192.0.2.2", 3002),
    ]


def test_hosts_may_differ_in_their_number_of_instances():
    servers = servers_by_port([("192.0.2.1", [3001]), ("192.0.2.2", [4001, 4002])])
    assert servers == [server("192.0.2.1", 3001), server("192.0.2.2", 4001), server("192.0.2.2", 4002)]
    assert tries_that_reach_a_second_host(servers) == 3


def test_no_host_has_no_servers():
    assert servers_by_port([]) == []


def test_nothing_cannot_be_tried():
    with pytest.raises(ValueError, match="no server"):
        tries_that_reach_a_second_host([])
