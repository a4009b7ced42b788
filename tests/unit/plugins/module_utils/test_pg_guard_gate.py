"""What is put right before every start of PostgreSQL, and which starts are refused."""

from __future__ import annotations

import json

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Quorum
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import DataDirectory
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_gate import is_fork, pass_gate
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_promise import Memory
from tests.unit.plugins.module_utils.pg_guard_world import IDENTIFIER, POSTGRESQL, WITNESS, config, write_control

HISTORY = "1\t0/5000090\tno recovery target specified\n"


class Host:
    def __init__(self, tmp_path):
        self.main, self.memory = tmp_path / "main", tmp_path / "memory"
        (self.main / "pg_wal").mkdir(parents=True)
        self.memory.mkdir()
        write_control(self.main)
        self.data = DataDirectory(str(self.main))
        self.config = config(postgresql={**POSTGRESQL, "data_directory": str(self.main)})

    def starts(self):
        return pass_gate(self.config, str(self.memory)) == 0

    def files(self):
        return {str(one.relative_to(self.main)): one.read_bytes() for one in self.main.rglob("*") if one.is_file()}


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_what_was_a_primary_starts_as_a_standby(host, capsys):
    assert host.starts()
    assert (host.main / "standby.signal").exists()
    assert "<6>PostgreSQL may start: standby.signal is put back" in capsys.readouterr().err


def test_what_streamed_from_anybody_starts_without_an_upstream(host):
    (host.main / "postgresql.auto.conf").write_text(
        "primary_conninfo = 'host=''db2'''\nprimary_slot_name = 'db1'\nwork_mem = '8MB'\n"
    )
    assert host.starts()
    assert host.data.upstream_settings() == {"primary_conninfo": "", "primary_slot_name": ""}
    assert "work_mem = '8MB'" in (host.main / "postgresql.auto.conf").read_text()


def test_a_promotion_that_did_not_happen_leaves_nothing_to_look_for(host):
    remember(host, "promise.json", '{"timeline": 2, "candidate": "db1"}')
    remember(host, "elected.json", "2")
    for name, content in (("00000002", HISTORY), ("00000003", ""), ("00000004", "")):
        (host.main / "pg_wal" / f"{name}.history").write_text(content)
    assert host.starts()
    assert sorted(host.data.history_sizes()) == ["00000002.history"]


def test_a_second_start_finds_nothing_to_put_right(host, capsys):
    assert host.starts()
    before = host.files()
    assert host.starts()
    assert host.files() == before
    assert "it starts as a standby" in capsys.readouterr().err


def remember(host, name, content):
    (host.memory / name).write_text(content)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda host: remember(host, "joined.json", '"7500000000000000002"'), "belongs to another cluster"),
        (lambda host: host.data.mark_rewind(True), "is of no use as it is"),
        (lambda host: (host.main / "global" / "pg_control").unlink(), "has no data yet"),
        (lambda host: remember(host, "promise.json", '{"timeline"'), "what the guard remembers"),
        (lambda host: remember(host, "quorum.json", "[1]"), "what the guard remembers"),
        (lambda host: remember(host, "elected.json", ""), "what the guard remembers"),
        (lambda host: (host.memory / "promise.json").mkdir(), "what the guard remembers"),
        (lambda host: (host.main / "postgresql.auto.conf").write_bytes(b"x = '\xff'\n"), "what the guard remembers"),
        (lambda host: (host.main / "standby.signal.new").mkdir(), "what the guard remembers"),
    ],
)
def test_a_start_that_could_go_wrong_is_refused_with_the_reason(host, capsys, spoil, why):
    spoil(host)
    assert not host.starts()
    assert why in capsys.readouterr().err


def test_the_data_of_another_cluster_is_left_as_it_is(host):
    remember(host, "joined.json", '"7500000000000000002"')
    before = host.files()
    assert not host.starts()
    assert host.files() == before


def test_the_data_that_the_node_joined_with_may_start(host):
    remember(host, "joined.json", json.dumps(IDENTIFIER))
    remember(host, "promise.json", '{"timeline": 9, "candidate": "db2"}')
    assert host.starts()


def test_the_gate_needs_no_running_guard_and_changes_no_memory(host):
    remember(host, "promise.json", '{"timeline": 9, "candidate": "db2"}')
    assert host.starts()
    assert [one.name for one in host.memory.iterdir()] == ["promise.json"]


@pytest.mark.parametrize(
    ("promise", "joined", "elected", "starts"),
    [
        (None, True, None, False),
        ({"timeline": 2, "candidate": "db1"}, True, None, False),
        # It has never been part of a cluster that a guard looks after.
        ({"timeline": 2, "candidate": "db1"}, False, None, True),
        ({"timeline": 2, "candidate": "db1"}, True, 2, False),
        ({"timeline": 3, "candidate": "db2"}, True, None, False),
        ({"timeline": 3, "candidate": "db2"}, True, 2, False),
        # Stood for in vain, or promised more to others: its number makes it no less a fork.
        ({"timeline": 3, "candidate": "db1"}, True, None, False),
        ({"timeline": 3, "candidate": "db1"}, True, 2, False),
        ({"timeline": 4, "candidate": "db2"}, True, None, False),
        ({"timeline": 4, "candidate": "db1"}, True, 4, False),
        ({"timeline": 3, "candidate": "db1"}, True, 3, True),
        ({"timeline": 3, "candidate": "db1"}, False, 3, True),
        ({"timeline": 4, "candidate": "db2"}, True, 3, True),
        # It has never been guarded.
        (None, False, None, True),
    ],
)
def test_what_its_own_server_wrote_on_a_timeline_without_an_election_is_not_started(
    host, promise, joined, elected, starts
):
    write_control(host.main, checkpoint=3)
    if elected:
        remember(host, "elected.json", json.dumps(elected))
    if joined:
        remember(host, "joined.json", json.dumps(IDENTIFIER))
    if promise:
        remember(host, "promise.json", json.dumps(promise))
    before = host.files()
    assert host.starts() is starts
    assert starts or host.files() == before


def test_what_was_promoted_to_a_timeline_before_its_first_checkpoint_is_not_started(host):
    remember(host, "joined.json", json.dumps(IDENTIFIER))
    (host.main / "pg_wal" / "00000002.history").write_text(HISTORY)
    assert not host.starts()


@pytest.mark.parametrize(
    ("changes", "out", "fork"),
    [
        ({}, (), True),
        ({}, ("db2",), True),
        ({}, ("db2", "db3"), False),
        # Another one is the last, or a witness votes as well.
        ({}, ("db1", "db2"), True),
        ({"witnesses": WITNESS["witnesses"]}, ("db2", "db3"), True),
        ({"witnesses": WITNESS["witnesses"]}, ("db2", "db3", "w"), False),
        ({"data_nodes": {"db1": "192.0.2.11"}}, (), False),
    ],
)
def test_only_the_last_voter_that_is_remembered_has_nobody_to_fork_from(tmp_path, changes, out, fork):
    memory = Memory(str(tmp_path))
    memory.has_joined(IDENTIFIER)
    if out:
        memory.learned(Quorum((2, 1), out))
    assert is_fork(config(**changes), 3, memory) is fork
    assert not is_fork(config(**changes), 1, memory)
    memory.won(3)
    assert not is_fork(config(**changes), 3, memory)


def test_what_the_last_voter_wrote_starts_and_counts(host):
    write_control(host.main, checkpoint=3)
    remember(host, "joined.json", json.dumps(IDENTIFIER))
    remember(host, "quorum.json", '{"version": [2, 1], "out": ["db2"]}')
    assert not host.starts()
    remember(host, "quorum.json", '{"version": [2, 2], "out": ["db2", "db3"]}')
    assert host.starts()
