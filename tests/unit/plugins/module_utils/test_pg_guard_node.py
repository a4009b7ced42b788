"""What a node tells others, and when it tells them."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_guard_node
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Promise, state_from
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_node import Node
from tests.unit.plugins.module_utils.pg_guard_world import WITNESS, World, config, look, peer, status


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


def test_a_witness_says_its_promise_and_has_no_data(world):
    world.remember("promise", {"timeline": 3, "candidate": "db2"})
    me = world.node(**WITNESS).me()
    assert (me.node, me.role, me.promise, me.joined, me.timeline) == ("w", "witness", Promise(3, "db2"), False, 0)


def test_a_server_that_has_been_silent_for_too_long_hangs(world):
    world.leads()
    node = world.node()
    world.observer.silent = 2.9
    assert node.me().is_writer
    world.observer.silent = 3.0
    assert (node.me().role, node.me().writable) == ("hung", False)


def test_only_the_process_that_was_fenced_is_no_writer(world):
    world.leads()
    node = world.node()
    node.fenced_pid = world.observer.look.pid
    assert not node.me().writable
    world.observer.look = world.observer.look._replace(pid=99)
    assert node.me().writable


def test_what_is_published_has_a_version_that_rises_with_what_is_of_weight(world):
    told = []
    world.stands()
    node = Node(config(), lambda: told.append(1), str(world.directory))
    node.publish()
    first = node.document()["version"]
    world.observer.look = look(status(replayed_lsn=900))
    node.publish()
    assert (node.document()["version"], len(told)) == (first, 1)
    node.memory.promised(Promise(3, "db2"))
    node.publish()
    assert (node.document()["version"], len(told)) == (first + 1, 2)


def test_a_new_guard_has_no_version_of_the_former_one(world, monkeypatch):
    world.stands()
    former = world.node()
    for number in range(2, 9):
        former.memory.promised(Promise(number, "db2"))
        former.publish()
    later = SimpleNamespace(time=lambda: time.time() + 1.0, monotonic=time.monotonic)
    monkeypatch.setattr(_pg_guard_node, "time", later)
    assert world.node().document()["version"] > former.document()["version"]


def test_one_who_waits_is_told_at_once_and_one_who_knows_less_does_not_wait(world):
    world.stands()
    node = world.node()
    node.publish()
    known = node.document()["version"]
    began = time.monotonic()
    assert node.document(known - 1, 5.0)["version"] == known
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(node.document(known, 5.0)))
    waiter.start()
    node.memory.promised(Promise(3, "db2"))
    node.publish()
    waiter.join(5.0)
    assert state_from(answers[0]).promise == Promise(3, "db2")
    assert time.monotonic() - began < 2.0


def test_one_who_waits_in_vain_is_told_what_is(world):
    world.stands()
    node = world.node()
    began = time.monotonic()
    assert state_from(node.document(node.document()["version"], 0.02)).role == "standby"
    assert time.monotonic() - began >= 0.02


def test_how_long_a_role_lasts_begins_anew_with_each(world, monkeypatch):
    clock = [1000.0]

    monkeypatch.setattr(_pg_guard_node, "time", SimpleNamespace(time=time.time, monotonic=lambda: clock[0]))
    world.stands()
    node = world.node()
    node.me()
    clock[0] = 1007.0
    assert node.me().since_seconds == 7.0
    world.leads()
    assert node.me().since_seconds == 0.0


def test_what_others_were_heard_is_said(world):
    world.stands()
    world.peers.say(peer("db2"), age=0.3)
    assert world.node().me().sees == {"db2": 0.3}


def test_the_journal_gets_a_line_when_it_says_something_else(world, capsys):
    node = world.node()
    for text in ("one", "one", "two", "one"):
        node.say("subject", text, "<4>")
    node.say("other", "one")
    assert capsys.readouterr().err.splitlines() == ["<4>one", "<4>two", "<4>one", "<6>one"]


def test_a_guard_whose_memory_is_damaged_does_not_begin(world):
    (world.directory / "promise.json").write_text("{")
    with pytest.raises(ValueError, match=r"."):
        world.node()
