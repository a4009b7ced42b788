from __future__ import annotations

import os
import socket

import pytest

from ansible_collections.escala.ha.plugins.module_utils._tcp_connections import ports_in, ports_translated, ports_used

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def line(port: int, state: str = "01", address: str = "150200C0") -> str:
    return f"   0: {address}:{port:04X} 470200C0:1538 {state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1\n"


def test_connections_are_found_by_their_local_port_with_whomever_they_are():
    assert ports_in(HEAD + line(40001) + line(40002, address="0000000000000000FFFF0000150200C0")) == {40001, 40002}


@pytest.mark.parametrize(
    ("state", "counts"),
    [("01", True), ("02", True), ("04", True), ("08", True), ("06", False), ("07", False), ("0A", False)],
)
def test_what_is_only_waited_out_nobody_has(state, counts):
    assert ports_in(HEAD + line(40001, state)) == ({40001} if counts else set())


def test_whoever_is_translated_uses_both_ports():
    table = (
        "ipv4     2 tcp      6 431999 ESTABLISHED src=172.17.0.2 dst=192.0.2.71 sport=40001 dport=5432"
        " src=192.0.2.71 dst=192.0.2.21 sport=5432 dport=61000 [ASSURED] mark=0 use=1\n"
        "ipv4     2 udp      17 29 src=172.17.0.2 dst=192.0.2.9 sport=40009 dport=53 src=192.0.2.9 dst=192.0.2.21 sport=53 dport=40009 use=1\n"
    )
    assert ports_translated(table) == {40001, 5432, 61000}


def test_each_network_of_the_host_is_asked_once(tmp_path):
    for process, network, port in (("1", "host", 40001), ("2", "host", 1), ("30", "container", 40002)):
        (tmp_path / process / "ns").mkdir(parents=True)
        (tmp_path / process / "net").mkdir()
        os.symlink(f"net:[{network}]", tmp_path / process / "ns" / "net")
        (tmp_path / process / "net" / "tcp").write_text(HEAD + line(port))
    # One that ends meanwhile, and what is no process.
    (tmp_path / "40").mkdir()
    (tmp_path / "sys").mkdir()
    assert ports_used(str(tmp_path)) == [40001, 40002]


def test_this_machine_s_own_connection_is_among_them():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getsockname()[1] in ports_used()
