from __future__ import annotations

import os
import socket
import struct

import pytest

from ansible_collections.escala.ha.plugins.module_utils._tcp_connections import ports_in, ports_to

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def word(address: str) -> str:
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    return "".join(f"{each:08X}" for each in struct.unpack(f"={len(packed) // 4}I", packed))


def line(local: str, local_port: int, remote: str, port: int, state: str = "01") -> str:
    return f"   0: {word(local)}:{local_port:04X} {word(remote)}:{port:04X} {state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1\n"


def test_connections_to_the_server_are_found_by_their_local_port():
    table = HEAD + line("192.0.2.21", 40001, "192.0.2.71", 5432) + line("192.0.2.21", 40002, "192.0.2.71", 5433)
    table += line("192.0.2.21", 40003, "192.0.2.72", 5432)
    assert ports_in(table, "192.0.2.71", 5432) == {40001}


@pytest.mark.parametrize(
    ("state", "counts"), [("01", True), ("02", True), ("08", True), ("06", False), ("07", False), ("0A", False)]
)
def test_what_is_only_waited_out_nobody_has(state, counts):
    assert ports_in(HEAD + line("192.0.2.21", 40001, "192.0.2.71", 5432, state), "192.0.2.71", 5432) == (
        {40001} if counts else set()
    )


def test_a_program_that_speaks_both_has_its_ipv4_connections_in_the_other_table():
    assert ports_in(HEAD + line("::ffff:192.0.2.21", 40001, "::ffff:192.0.2.71", 5432), "192.0.2.71", 5432) == {40001}


def test_ipv6_is_compared_as_an_address_and_not_as_text():
    assert ports_in(HEAD + line("2001:db8::1", 40001, "2001:db8::7", 5432), "2001:DB8:0::7", 5432) == {40001}


def test_each_network_of_the_host_is_asked_once(tmp_path):
    for process, network, port in (("1", "host", 40001), ("2", "host", 1), ("30", "container", 40002)):
        (tmp_path / process / "ns").mkdir(parents=True)
        (tmp_path / process / "net").mkdir()
        os.symlink(f"net:[{network}]", tmp_path / process / "ns" / "net")
        (tmp_path / process / "net" / "tcp").write_text(HEAD + line("192.0.2.21", port, "192.0.2.71", 5432))
    # One that ends meanwhile, and what is no process.
    (tmp_path / "40").mkdir()
    (tmp_path / "sys").mkdir()
    assert ports_to("192.0.2.71", 5432, str(tmp_path)) == [40001, 40002]


def test_this_machine_s_own_connection_is_among_them():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert ports_to(*server.getsockname()) == [client.getsockname()[1]]
