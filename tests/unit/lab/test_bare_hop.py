"""The hop that does nothing listens while it is wanted and never longer. socat's place is taken by a small program."""

import socket
import sys

import pytest

from tests.lab.bare_hop import bare_hops

# It accepts, and has a child that does so too, as socat has for a connection.
LISTENS = """#!{python}
import os, socket, sys, time
port = int(sys.argv[1].split(":")[1].split(",")[0])
listener = socket.create_server(("127.0.0.1", port))
os.fork()
while True:
    listener.accept()[0].sendall(sys.argv[2].encode())
"""
ENDS = "#!{python}\nraise SystemExit(3)\n"


@pytest.fixture
def socat(tmp_path, monkeypatch):
    """Put a program in socat's place."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def put(text):
        program = tmp_path / "socat"
        program.write_text(text.format(python=sys.executable))
        program.chmod(0o755)

    return put


def said_by(hop):
    address, _, port = hop.partition(":")
    with socket.create_connection((address, int(port)), 2) as connection:
        return connection.recv(100).decode()


def test_each_target_has_a_hop_in_its_order_and_none_outlives_its_time(socat):
    socat(LISTENS)
    with bare_hops(["10.0.0.1:3001", "10.0.0.2:3002"]) as hops:
        assert [said_by(hop) for hop in hops] == ["TCP:10.0.0.1:3001,nodelay", "TCP:10.0.0.2:3002,nodelay"]
    for hop in hops:
        with pytest.raises(ConnectionRefusedError):
            said_by(hop)


def test_a_hop_that_does_not_start_is_said_at_once(socat):
    socat(ENDS)
    with pytest.raises(AssertionError, match="socat ended with 3"), bare_hops(["10.0.0.1:3001"]):
        pass
