import os
import socket

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pgbouncer_sockets import Connection, connections, destroy


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request):
    family = socket.AF_INET if request.param == "127.0.0.1" else socket.AF_INET6
    try:
        listener = socket.create_server((request.param, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {request.param}")
    with listener, socket.create_connection(listener.getsockname()[:2]) as client:
        server, _address = listener.accept()
        with server:
            yield client, listener.getsockname()[:2]


def test_connections_to_a_server_are_listed_with_whose_they_are(pair):
    client, (address, port) = pair
    assert connections(address, port) == [Connection(*client.getsockname()[:2], address, port, os.getuid())]


def test_nothing_else_is_listed(pair):
    _client, (address, port) = pair
    assert connections(address, port + 1 if port < 65535 else 1) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="ending connections needs CAP_NET_ADMIN")
def test_a_connection_is_ended_and_its_program_sees_it_at_once(pair):
    client, (address, port) = pair
    connection = connections(address, port)[0]
    client.settimeout(1)
    assert destroy(connection)
    with pytest.raises(ConnectionError):
        client.recv(1)
    assert not destroy(connection)


def test_what_is_no_connection_is_not_ended(pair):
    _client, (address, port) = pair
    try:
        assert not destroy(Connection(address, 1, address, port, 0))
    except PermissionError:
        assert os.geteuid() != 0
