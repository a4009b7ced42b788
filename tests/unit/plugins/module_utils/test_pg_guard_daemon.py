"""The guard's round: what it does about what it sees, and what it leaves alone."""

from __future__ import annotations

import fcntl
import threading
from types import SimpleNamespace

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_guard_acts, _pg_guard_daemon, _pg_guard_node
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Heard, Promise, Quorum, Rank, Standby
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_daemon import Guard
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import Control
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_local import Look
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_sql import Slot
from tests.unit.plugins.module_utils.pg_guard_world import (
    IDENTIFIER,
    NAMES,
    PID,
    VALUES,
    WITNESS,
    Clock,
    World,
    config,
    finish,
    look,
    peer,
    primary_status,
)


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    for module in (_pg_guard_daemon, _pg_guard_acts):
        monkeypatch.setattr(module, "time", found)
    return found


@pytest.fixture
def world(tmp_path, monkeypatch, clock):
    return World(tmp_path, monkeypatch)


def guard_of(world, **changes):
    guard = Guard(config(**changes), str(world.directory))
    guard.node.started_at = 0.0
    return guard


def rounds(guard, times=1):
    """Go round, each time with the act before finished."""
    for _time in range(times):
        guard.round()
        if guard._job:
            guard._job.join(5.0)


def healthy(world):
    """Make this node the primary, with all as it should be."""
    world.leads(synchronous=NAMES)
    quorum = Quorum((2, 0))
    world.peers.say(peer("db2", upstream="db1", quorum=quorum), peer("db3", upstream="db1", quorum=quorum))


def test_a_healthy_primary_is_left_alone(world):
    healthy(world)
    guard = guard_of(world)
    rounds(guard, 3)
    assert world.did == []
    assert guard.node.reason == "primary of timeline 2"
    assert guard.node.me().is_writer


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (lambda world: world.peers.say(peer("db2", "primary", 3)), "db2 has timeline 3"),
        (lambda world: world.peers.say(peer("db2", promise=Promise(3, "db3"))), "db2 promised"),
        (lambda world: world.peers.said.update({n: Heard(None, 4.1) for n in ("db2", "db3")}), "has seen 1 of 3"),
        (lambda world: setattr(world.observer, "silent", 3.1), "flushed nothing for 3.1 s"),
    ],
    ids=["outrun", "promised away", "alone", "hung"],
)
def test_a_primary_that_may_be_one_no_longer_is_killed_and_starts_as_a_standby(world, happens, why):
    healthy(world)
    happens(world)
    guard = guard_of(world)
    rounds(guard)
    assert world.did == ["kill", "start"]
    assert why in guard.node.reason
    assert (world.path / "standby.signal").exists()


@pytest.mark.parametrize("elected", [None, 1, 3])
@pytest.mark.parametrize(
    "promise",
    [
        None,
        {"timeline": 2, "candidate": "db2"},
        {"timeline": 1, "candidate": "db1"},
        # It stood for just this one, and did not win.
        {"timeline": 2, "candidate": "db1"},
    ],
)
def test_a_primary_that_somebody_else_promoted_is_killed_and_what_it_has_never_counts_again(world, promise, elected):
    healthy(world)
    (world.directory / "promise.json").unlink()
    (world.directory / "elected.json").unlink()
    if promise:
        world.remember("promise", promise)
    if elected:
        world.remember("elected", elected)
    guard = guard_of(world)
    before = world.each_time("kill", lambda: (world.remembered("joined"), world.data.control()))
    guard.round()
    assert world.did == ["kill"]
    assert before == [(None, None)]
    assert "for which db1 was not elected" in guard.node.reason
    assert not guard.node.me().writable


def test_one_whose_data_was_found_to_be_of_no_use_is_killed_also_by_the_next_guard(world):
    healthy(world)
    (world.directory / "joined.json").unlink()
    (world.directory / "promise.json").unlink()
    world.observer.look = world.observer.look._replace(control=None)
    guard = guard_of(world)
    guard.round()
    assert world.did[:1] == ["kill"]


def alone(world, **changes):
    """A guard that comes to a server which ran before it, on the only node of its cluster."""
    world.leads()
    for name in ("joined", "promise", "elected"):
        (world.directory / f"{name}.json").unlink(missing_ok=True)
    world.observer.look = world.observer.look._replace(status=primary_status()._replace(slots=(), standbys=()))
    return guard_of(world, data_nodes={"db1": "192.0.2.11"}, **changes)


def test_a_server_that_ran_before_its_guard_came_is_stopped_in_order_and_starts_as_a_standby(world):
    guard = alone(world)
    rounds(guard)
    assert world.did == ["checkpoint", "stop", "start"]
    assert (world.path / "standby.signal").exists()
    assert not guard.node.me().is_writer


@pytest.mark.parametrize(
    "remembers",
    [("joined", IDENTIFIER), ("elected", 1), ("promise", {"timeline": 1, "candidate": "db1"})],
    ids=["it has joined", "it was elected", "it has promised"],
)
def test_one_that_its_guard_has_known_before_is_not_begun_with(world, remembers):
    alone(world)
    world.remember(*remembers)
    guard = guard_of(world, data_nodes={"db1": "192.0.2.11"})
    rounds(guard)
    assert world.did[0] == "kill"


def test_a_server_that_runs_where_others_may_have_data_is_killed(world):
    alone(world)
    guard = guard_of(world)
    rounds(guard)
    assert world.did[0] == "kill"


def test_a_primary_is_fenced_before_anything_is_written_that_may_fail(world):
    healthy(world)
    later = Quorum((3, 0), ("db1",))
    world.peers.say(peer("db2", "primary", 3, quorum=later))
    guard = guard_of(world)
    quorums = world.each_time("kill", lambda: world.remembered("quorum"))
    (world.directory / "quorum.json.new").mkdir()
    rounds(guard)
    assert world.did == ["kill", "start"]
    assert quorums == [{"version": [2, 0], "out": []}]
    assert guard.node.memory.quorum == Quorum((2, 0))


class EnoughError(Exception):
    """Ends a loop that never returns."""


def goes_round(world, guard, monkeypatch, *between):
    """Have the guard run, do one of these after each round, and return the reasons that it told."""
    reasons, acts = [], list(between)
    monkeypatch.setattr(world.peers, "start", lambda: None, raising=False)
    monkeypatch.setattr(world.observer, "run", lambda: None, raising=False)
    process = SimpleNamespace(wait_end=lambda _wake, _seconds: finish("start"))
    monkeypatch.setattr(world.observer, "process", process, raising=False)

    def alive(reason):
        reasons.append(reason)
        if not acts:
            raise EnoughError
        acts.pop(0)()

    with pytest.raises(EnoughError):
        guard.run(alive)
    return reasons


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("it goes back")], ids=repr)
def test_a_round_that_cannot_write_is_no_last_one_and_the_next_fences_first(world, monkeypatch, capsys, error):
    healthy(world)
    world.peers.say(peer("db3", upstream="db1", quorum=Quorum((2, 1), ("db2",))))
    guard = guard_of(world)

    def fails(_quorum):
        raise error

    monkeypatch.setattr(guard.node.memory, "learned", fails)
    reasons = goes_round(
        world, guard, monkeypatch, lambda: None, lambda: world.peers.say(peer("db2", "primary", 3)), lambda: None
    )
    assert reasons[:2] == [f"a round ended early: {error}"] * 2
    assert reasons[2] == "db2 has timeline 3, db1 is primary of 2"
    assert [one for one in world.did if one != "look"] == ["kill", "start"]
    assert capsys.readouterr().err.count("<3>a round ended early") == 1


def test_a_fork_is_killed_in_each_round_also_while_that_it_never_counts_cannot_be_written(world, monkeypatch):
    world.leads(3, elected=False)
    (world.path.parent / ".main.rewind.new").mkdir()
    guard = guard_of(world)
    reasons = goes_round(world, guard, monkeypatch, lambda: None)
    assert [one for one in world.did if one != "look"] == ["kill", "kill"]
    assert all("a round ended early" in reason for reason in reasons)
    assert not guard.node.me().writable


def test_a_promotion_of_the_guards_own_is_not_taken_for_another_ones(world):
    world.leads(5)
    guard, release = guard_of(world), threading.Event()
    world.peers.said = {name: Heard(None, 0.1) for name in ("db2", "db3")}
    guard.begin("be elected", release.wait)
    guard.round()
    release.set()
    assert world.did == []


def test_while_an_act_is_under_way_a_primary_is_fenced_all_the_same(world):
    healthy(world)
    world.peers.say(peer("db2", "primary", 3))
    guard, release = guard_of(world), threading.Event()
    guard.begin("copy", release.wait)
    guard.round()
    release.set()
    finish("copy")
    assert "kill" in world.did


def test_one_that_is_killed_and_not_yet_gone_is_not_killed_again_in_each_round(world):
    healthy(world)
    world.peers.say(peer("db2", "primary", 3))
    world.control.dies = False
    guard = guard_of(world)
    rounds(guard, 3)
    assert world.did.count("kill") == 1


def test_a_standby_is_never_fenced(world):
    world.stands()
    world.peers.said = {name: Heard(None, 99.0) for name in ("db2", "db3")}
    world.observer.silent = 99.0
    guard = guard_of(world, automatic=False)
    rounds(guard, 2)
    assert world.did == []


def stopped(world, *, in_order):
    world.observer.alive = False
    world.observer.look = Look(1.0, Control(IDENTIFIER, in_order, None))


def test_a_server_that_an_operator_stopped_in_order_is_left_alone_until_it_is_started(world, clock):
    healthy(world)
    guard = guard_of(world)
    rounds(guard)
    stopped(world, in_order=True)
    for _round in range(3):
        rounds(guard)
        clock.now += 60
    assert world.did == []
    assert "stopped in order" in guard.node.reason
    # Started by hand it is the guard's again: when it crashes it is started.
    world.observer.alive = True
    world.stands(joined=False, conninfo="host='db1'")
    world.peers.say(peer("db2", "primary", 2), peer("db3"))
    rounds(guard)
    stopped(world, in_order=False)
    rounds(guard)
    assert world.did[-1] == "start"


def test_how_a_server_ended_is_not_read_from_a_look_before_its_end(world, clock):
    healthy(world)
    guard = guard_of(world)
    rounds(guard)
    # The kernel says at once that it has ended, and the files are read a moment later.
    world.observer.alive = False
    rounds(guard)
    assert world.did == []
    stopped(world, in_order=True)
    rounds(guard)
    assert world.did == []
    assert "stopped in order" in guard.node.reason


def test_what_somebody_started_after_a_stop_in_order_and_the_guard_killed_is_started_again(world, clock):
    healthy(world)
    guard = guard_of(world)
    rounds(guard)
    stopped(world, in_order=True)
    rounds(guard)
    assert world.did == []
    # A restart by hand, in the middle of whose start another node is elected.
    clock.now += 1
    guard.acts.kill("db2 is to be primary of timeline 3")
    stopped(world, in_order=True)
    clock.now += 10
    rounds(guard)
    assert world.did == ["kill", "start"]


def test_a_server_that_crashed_is_started_and_not_in_a_hurry(world, clock, monkeypatch):
    healthy(world)
    guard = guard_of(world)
    rounds(guard)
    stopped(world, in_order=False)
    rounds(guard)
    assert world.did == ["start"]
    clock.now += 2.9
    rounds(guard, 2)
    assert world.did == ["start"]
    clock.now += 0.2
    rounds(guard)
    assert world.did == ["start", "start"]


def test_after_a_boot_what_was_stopped_in_order_is_started(world):
    healthy(world)
    stopped(world, in_order=True)
    rounds(guard_of(world))
    assert world.did == ["start"]


def test_what_a_former_guard_was_stopping_is_no_operators_stop(world):
    healthy(world)
    guard = guard_of(world)
    # It refuses sessions already, or still.
    world.observer.look = world.observer.look._replace(status=None, rank=None)
    rounds(guard)
    assert guard.node.me().role == "starting"
    stopped(world, in_order=True)
    rounds(guard)
    assert world.did[-1] == "start"


def test_what_an_act_stops_is_no_operators_stop(world, clock):
    healthy(world)
    guard = guard_of(world)
    rounds(guard)
    world.control.broken["start"] = "systemctl failed with 1: no"
    guard.hand_over("db2")
    finish("hand over")
    stopped(world, in_order=True)
    del world.control.broken["start"]
    clock.now += 10
    rounds(guard)
    assert world.did == ["checkpoint", "dismiss all but db1 db2 db3", "stop", "start", "start"]


def test_what_the_gate_would_refuse_is_not_started_in_vain_and_the_reason_said(world, clock, capsys):
    world.stands(joined=False)
    world.remember("joined", "7500000000000000002")
    stopped(world, in_order=False)
    guard = guard_of(world)
    for _round in range(3):
        rounds(guard)
        clock.now += 10
    assert world.did == []
    assert "belongs to another cluster" in guard.node.reason
    assert capsys.readouterr().err.count("<3>PostgreSQL does not start: the data directory has system identifier") == 1
    # Once the right data is back it is started.
    world.remember("joined", IDENTIFIER)
    rounds(guard_of(world))
    assert world.did == ["start"]


def vacant(world, **changes):
    world.stands(**changes)
    world.peers.say(peer("db2", lsn=90), age=0.1)
    world.peers.said["db3"] = Heard(peer("db3", "primary", 2, 120), 2.6)


def test_the_first_in_rank_stands_once_the_primary_has_been_silent(world, monkeypatch):
    vacant(world)
    guard = guard_of(world)
    stood = []
    monkeypatch.setattr(guard.ballots, "stand", stood.append)
    rounds(guard)
    assert [(one.candidate, one.timeline, one.pre) for one in stood] == [("db1", 3, True)]


def test_the_second_in_rank_waits_for_the_first(world, clock, monkeypatch):
    vacant(world)
    world.peers.say(peer("db2", lsn=110))
    guard = guard_of(world)
    stood = []
    monkeypatch.setattr(guard.ballots, "stand", stood.append)
    rounds(guard, 2)
    assert stood == []
    clock.now += 1.1
    rounds(guard)
    assert len(stood) == 1


@pytest.mark.parametrize("automatic", [True, False])
def test_without_automatic_failover_only_a_handover_promotes(world, monkeypatch, automatic):
    vacant(world)
    guard = guard_of(world, automatic=automatic)
    stood = []
    monkeypatch.setattr(guard.ballots, "stand", stood.append)
    rounds(guard)
    assert len(stood) == automatic
    world.peers.say(peer("db3", "stopped", 2, 120, handing_over_to="db1"))
    rounds(guard)
    assert len(stood) == automatic + 1


@pytest.mark.parametrize(("out", "stands"), [(["db2", "db3"], True), (["db3"], False), ([], False)], ids=str)
def test_without_automatic_failover_one_that_an_operator_left_alone_goes_on(world, monkeypatch, out, stands):
    world.stands()
    world.remember("quorum", {"version": [52, 0], "out": out})
    world.peers.say(peer("db2"))
    world.peers.said["db3"] = Heard(None, 60.0)
    guard = guard_of(world, automatic=False)
    stood = []
    monkeypatch.setattr(guard.ballots, "stand", stood.append)
    rounds(guard)
    assert bool(stood) is stands
    assert stands or guard.node.reason.startswith("automatic failover is off")


def test_a_node_that_an_operator_fenced_leaves_the_election_to_others_for_a_while(world, clock, monkeypatch):
    vacant(world)
    guard = guard_of(world)
    stood = []
    monkeypatch.setattr(guard.ballots, "stand", stood.append)
    guard.stands_back_until = clock.now + 60
    rounds(guard)
    assert stood == []
    clock.now += 61
    rounds(guard)
    assert len(stood) == 1


def test_what_others_decided_of_the_quorum_is_kept_before_anything_else(world):
    vacant(world)
    world.peers.say(peer("db2", quorum=Quorum((52, 0), ("db1",))))
    guard = guard_of(world)
    rounds(guard)
    assert world.remembered("quorum") == {"version": [52, 0], "out": ["db1"]}
    assert "out of the quorum" in guard.node.reason


def test_a_witness_only_votes(world):
    world.peers.say(peer("db1", quorum=Quorum((2, 1), ("db3",))))
    guard = guard_of(world, **WITNESS)
    rounds(guard, 2)
    assert world.did == []
    assert world.remembered("quorum") == {"version": [2, 1], "out": ["db3"]}
    assert guard.node.me().role == "witness"


def primary_is(world, name="db2", timeline=2, **changes):
    world.peers.say(peer(name, "primary", timeline, 200, **changes))


def test_a_standby_of_nobody_follows_the_primary_and_promises_its_timeline(world):
    world.stands()
    primary_is(world)
    rounds(guard_of(world))
    assert world.did == ["upstream host='db2' db1"]
    assert world.remembered("promise") == {"timeline": 2, "candidate": "db2"}


def test_a_standby_that_streams_is_left_alone_and_promises(world):
    world.stands(conninfo="host='db2'", receiver_status="streaming")
    primary_is(world)
    rounds(guard_of(world), 2)
    assert world.did == []
    assert world.remembered("promise") == {"timeline": 2, "candidate": "db2"}


def streams(world, **changes):
    world.stands(conninfo="host='db2'", receiver_status="streaming", **changes)
    primary_is(world)
    return guard_of(world)


def test_a_standby_that_was_started_by_hand_is_started_in_its_unit_once_it_streams(world):
    world.control.by_unit = False
    world.stands(conninfo="host='db2'")
    primary_is(world)
    guard = guard_of(world)
    rounds(guard)
    assert world.did == []
    world.stands(conninfo="host='db2'", receiver_status="streaming")
    rounds(guard)
    assert world.did == ["stop", "start"]


def test_a_primary_outside_of_its_unit_is_not_interrupted_for_that(world):
    healthy(world)
    world.control.by_unit = False
    rounds(guard_of(world), 2)
    assert world.did == []


def test_a_promise_that_a_vote_gave_meanwhile_is_no_fault_of_a_round(world):
    guard = streams(world)
    real = guard.acts.promise

    def promise(verdict):
        guard.node.memory.promised(Promise(5, "db3"))
        real(verdict)

    guard.acts.promise = promise
    rounds(guard)
    assert guard.node.memory.promise == Promise(5, "db3")


def test_a_node_beyond_the_primarys_history_is_rewound(world):
    world.stands(replayed_lsn=100)
    primary_is(world, timeline=3, history=((2, 50),))
    rounds(guard_of(world))
    assert world.did == ["stop", "rewind db2", "start"]


def test_after_a_failed_rewind_comes_a_copy(world, clock):
    world.stands()
    world.control.broken["rewind"] = "no"
    primary_is(world, timeline=3, history=((2, 50),))
    guard = guard_of(world)
    rounds(guard)
    world.observer.look = world.observer.look._replace(control=None, status=None, rank=None)
    rounds(guard)
    assert world.did == ["stop", "rewind db2", "copy db2", "swap a copy of db2", "start"]


def test_a_copy_that_failed_costs_its_source_much_and_is_not_tried_again_at_once(world, clock):
    world.observer.look = look(control=None, rank_final=False)._replace(status=None, rank=None)
    world.control.broken["copy"] = "pg_basebackup failed with 1: no"
    primary_is(world)
    guard = guard_of(world)
    rounds(guard)
    clock.now += 9.9
    rounds(guard)
    assert world.did.count("copy db2") == 1
    clock.now += 0.2
    rounds(guard)
    assert world.did.count("copy db2") == 2


def test_data_of_another_cluster_is_never_touched(world, capsys):
    world.stands()
    primary_is(world, system_identifier="75")
    rounds(guard_of(world), 3)
    assert world.did == []
    assert "belongs to another cluster" in capsys.readouterr().err


def test_a_standby_from_whose_primary_nothing_comes_for_long_is_copied(world, clock):
    world.stands(conninfo="host='db2'")
    primary_is(world)
    guard = guard_of(world)
    for _look in range(3):
        rounds(guard)
        clock.now += 9.9
    assert world.did == []
    clock.now += 1
    rounds(guard)
    assert [step for step in world.did if not step.startswith("receives")][:2] == ["upstream none", "copy db2"]


def test_the_time_without_wal_begins_anew_when_it_streamed_in_between(world, clock):
    world.stands(conninfo="host='db2'")
    primary_is(world)
    guard = guard_of(world)
    rounds(guard)
    clock.now += 29
    world.stands(conninfo="host='db2'", receiver_status="streaming")
    rounds(guard)
    world.stands(conninfo="host='db2'")
    rounds(guard)
    clock.now += 29
    rounds(guard)
    assert world.did == []


def test_an_orphan_slot_of_a_standby_is_dropped(world):
    world.stands(conninfo="host='db2'", receiver_status="streaming", slots=(Slot("db3", False, False),))
    primary_is(world)
    rounds(guard_of(world))
    assert world.did == ["drop slot db3", "look"]


def test_a_copy_counts_once_it_is_whole(world):
    world.stands(joined=False)
    guard = guard_of(world)
    world.observer.look = look(rank_final=False)
    rounds(guard)
    assert world.remembered("joined") is None
    world.observer.look = look()
    rounds(guard)
    assert world.remembered("joined") == IDENTIFIER


def test_data_of_another_cluster_than_what_counts_already_never_counts(world):
    world.stands(joined=False)
    primary_is(world, system_identifier="7500000000000000002")
    guard = guard_of(world)
    rounds(guard)
    assert world.remembered("joined") is None
    assert (world.did, "another cluster" in guard.node.reason) == ([], True)


def test_a_primary_makes_the_slots_of_its_standbys_first(world):
    healthy(world)
    world.observer.look = look(primary_status(2, synchronous=NAMES)._replace(slots=()))
    rounds(guard_of(world))
    assert world.did[:2] == ["create slot db2", "create slot db3"]


def test_whom_commits_wait_for_is_put_right(world):
    healthy(world)
    world.observer.look = look(primary_status(2, synchronous=""))
    rounds(guard_of(world))
    # Whether commits wait at all is known when the checkpointer has been through a checkpoint.
    assert world.did == [f"synchronous {NAMES}", "checkpoint", "look"]


def test_a_checkpoint_that_cannot_be_taken_keeps_nothing_else_from_being_done(world, clock):
    without_room(world)
    room = world.observer.look.free_bytes
    world.observer.look = look(primary_status(2, synchronous=""))._replace(free_bytes=room)
    world.server.broken["checkpoint"] = SessionError("refused", "No space left on device")
    guard = guard_of(world)
    rounds(guard)
    assert world.did == [f"synchronous {NAMES}", "checkpoint"]
    clock.now += 1.5
    rounds(guard)
    # It gives way to one that has room, which begins with a checkpoint of its own.
    assert world.did[2:] == ["checkpoint", "dismiss all but db1 db2 db3", "stop", "start"]


def test_a_standby_that_does_not_take_the_setting_is_not_told_all_the_time(world, clock):
    world.stands(synchronous="", conninfo="host='db2'", slot="db1", receiver_status="streaming")
    world.peers.say(peer("db2", "primary", 2), peer("db3", upstream="db2"))
    guard = guard_of(world)
    for _second in range(29):
        rounds(guard)
        clock.now += 1
    assert world.did.count(f"synchronous {NAMES}") == 1
    clock.now += 2
    rounds(guard)
    assert world.did.count(f"synchronous {NAMES}") == 2


def test_a_primary_that_is_stopped_in_order_and_was_replaced_meanwhile_stays_stopped(world, clock):
    """Its walsender waits for a receiver that hangs, and the others do not wait for that."""
    healthy(world)
    guard = guard_of(world)
    rounds(guard)
    world.did.clear()
    world.observer.look = world.observer.look._replace(control=Control(IDENTIFIER, True, None))
    world.peers.say(peer("db2", "primary", 3, promise=Promise(3, "db2")), peer("db3", promise=Promise(3, "db2")))
    rounds(guard)
    assert world.did == ["kill"]
    clock.now += 1
    stopped(world, in_order=True)
    rounds(guard)
    assert world.did == ["kill"]
    assert "stopped in order" in guard.node.reason


def test_slots_that_cannot_be_made_keep_nothing_else_from_being_done(world, clock):
    without_room(world)
    world.observer.look = world.observer.look._replace(
        status=primary_status(2, synchronous=NAMES)._replace(slots=(Slot("db2", True, False),))
    )
    world.server.broken["create slot"] = SessionError("refused", "No space left on device")
    guard = guard_of(world)
    rounds(guard)
    assert world.did == ["create slot db3"]
    clock.now += 1.5
    rounds(guard)
    # The disk that is too full for a slot is why it hands over.
    assert world.did == ["create slot db3", "checkpoint", "dismiss all but db1 db2 db3", "stop", "start"]


def test_a_standby_that_lacks_what_it_was_consistent_with_is_led_to_the_primary(world, clock, monkeypatch):
    """It was killed just after the primary began a new timeline: it has a part of that one's first segment, and reads no other."""
    monkeypatch.setattr(_pg_guard_node.time, "monotonic", clock.monotonic)
    world.stands()
    needs = Control(IDENTIFIER, False, Rank(2, 150))
    world.observer.look = Look(1.0, needs, PID, error="the database system is starting up")
    history = ((2, 200),)
    world.peers.say(peer("db2", "primary", 3, lsn=300, history=history), peer("db3", timeline=3, upstream="db2"))
    guard = guard_of(world)
    rounds(guard)
    assert world.did == []
    assert "does not know yet how far its own WAL goes" in guard.node.reason
    clock.now += 5
    rounds(guard)
    assert "host='db2'" in world.data.upstream_settings()["primary_conninfo"]
    # To others it says nothing of what it needs: a vote counts what a node has.
    assert (guard.node.me().rank, guard.node.me().rank_final) == (Rank(0, 0), False)
    before = list(world.did)
    rounds(guard)
    assert world.did == before
    # A vote that came to nothing took it away again.
    world.data.write_upstream("", "")
    clock.now += 10
    rounds(guard)
    assert "host='db2'" in world.data.upstream_settings()["primary_conninfo"]


def test_a_standby_that_starts_for_long_is_never_copied_over_for_that(world, clock, monkeypatch):
    monkeypatch.setattr(_pg_guard_node.time, "monotonic", clock.monotonic)
    world.stands()
    world.observer.look = Look(1.0, Control(IDENTIFIER, False, Rank(2, 250)), PID, error="starting up")
    world.peers.say(peer("db2", "primary", 3, lsn=300, history=((2, 200),)), peer("db3", timeline=3, upstream="db2"))
    guard = guard_of(world)
    for _round in range(20):
        rounds(guard)
        clock.now += 30
    assert world.did == []
    assert "to be consistent, which db2 does not have" in guard.node.reason


def test_a_standby_sets_whom_commits_wait_for_long_before_it_is_elected(world):
    world.stands(synchronous="", conninfo="host='db2'", slot="db1", receiver_status="streaming")
    world.peers.say(peer("db2", "primary", 2), peer("db3", upstream="db2"))
    guard = guard_of(world)
    rounds(guard)
    assert world.did == [f"synchronous {NAMES}", "look"]
    world.stands(synchronous=NAMES, conninfo="host='db2'", slot="db1", receiver_status="streaming")
    rounds(guard)
    assert world.did == [f"synchronous {NAMES}", "look"]


def test_a_checkpoint_that_fails_is_taken_again_before_commits_are_said_to_wait(world, clock):
    healthy(world)
    guard = guard_of(world)
    world.observer.look = look(primary_status(2, synchronous=""))
    world.server.broken["checkpoint"] = "no answer within 60.0 s"
    rounds(guard)
    del world.server.broken["checkpoint"]
    # The setting is in force by now, as far as it can be asked for.
    world.observer.look = look(primary_status(2, synchronous=NAMES))
    clock.now += 10
    rounds(guard)
    rounds(guard)
    assert world.did == [f"synchronous {NAMES}", "checkpoint", f"synchronous {NAMES}", "checkpoint", "look"]


def returning(world, synchronous, flushed):
    """What the primary sees while db3, which is out of its quorum, has come this far."""
    rows = (Standby("db2", "streaming", "quorum", flushed), Standby("db3", "streaming", "quorum", flushed))
    world.observer.look = look(primary_status(2, synchronous=synchronous)._replace(standbys=rows))


def with_db3_out(world):
    healthy(world)
    world.remember("quorum", {"version": [2, 1], "out": ["db3"]})
    quorum = Quorum((2, 1), ("db3",))
    world.peers.say(peer("db2", quorum=quorum), peer("db3", quorum=quorum))
    return guard_of(world)


def test_a_node_comes_back_into_the_quorum_only_after_commits_wait_with_it(world, clock):
    guard = with_db3_out(world)
    returning(world, 'ANY 1 ("db1", "db2")', 100)
    world.observer.coming = [look(primary_status(2, synchronous=NAMES), rank=Rank(2, 150))]
    rounds(guard)
    assert world.did == [f"synchronous {NAMES}", "checkpoint", "look"]
    assert world.remembered("quorum")["out"] == ["db3"]
    # Commits have waited with it since 150.
    returning(world, NAMES, 149)
    rounds(guard)
    assert world.remembered("quorum")["out"] == ["db3"]
    returning(world, NAMES, 150)
    rounds(guard)
    assert world.remembered("quorum") == {"version": [2, 2], "out": []}


def test_a_new_guard_does_not_know_since_when_commits_wait_and_lets_nobody_back_by_that(world):
    guard = with_db3_out(world)
    returning(world, NAMES, 900)
    rounds(guard)
    assert world.remembered("quorum")["out"] == ["db3"]


def test_a_new_guard_has_commits_wait_once_more_and_lets_a_node_back_from_then_on(world):
    guard = with_db3_out(world)
    returning(world, NAMES, 900)
    world.observer.coming = [look(primary_status(2, synchronous=NAMES), rank=Rank(2, 950))]
    rounds(guard)
    # The guard before it may have been killed before its checkpoint.
    assert world.did == [f"synchronous {NAMES}", "checkpoint", "look"]
    returning(world, NAMES, 949)
    rounds(guard, 2)
    assert world.remembered("quorum")["out"] == ["db3"]
    returning(world, NAMES, 950)
    rounds(guard)
    assert world.remembered("quorum") == {"version": [2, 2], "out": []}
    assert world.did == [f"synchronous {NAMES}", "checkpoint", "look"]


def test_a_new_guard_of_a_whole_quorum_changes_nothing_of_whom_commits_wait_for(world):
    healthy(world)
    rounds(guard_of(world), 2)
    assert world.did == []


MIB = 2**20


def without_room(world, free=10 * MIB):
    healthy(world)
    world.observer.look = world.observer.look._replace(free_bytes=free)
    quorum = Quorum((2, 0))
    for name in ("db2", "db3"):
        world.peers.say(peer(name, upstream="db1", quorum=quorum, disk_free_bytes=900 * MIB))


def test_a_primary_whose_disk_is_full_hands_over_and_not_again_within_a_minute(world, clock, capsys):
    without_room(world)
    guard = guard_of(world)
    rounds(guard)
    assert world.did == ["checkpoint", "dismiss all but db1 db2 db3", "stop", "start"]
    assert "<3>The disk of the data has 10 MiB left, so db2 takes over" in capsys.readouterr().err
    # Nobody took over.
    world.observer.alive = True
    for _round in range(3):
        clock.now += 19.9
        rounds(guard)
    assert world.did.count("checkpoint") == 1
    clock.now += 1
    rounds(guard)
    assert world.did.count("checkpoint") == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda world: without_room(world, 900 * MIB),
        lambda world: world.peers.say(
            *(peer(name, quorum=Quorum((2, 0)), disk_free_bytes=11 * MIB) for name in ("db2", "db3"))
        ),
        lambda world: world.observer.look._replace(free_bytes=None),
    ],
    ids=["room", "all full", "unknown"],
)
def test_a_primary_with_room_or_with_nobody_who_has_more_stays(world, spoil):
    without_room(world)
    changed = spoil(world)
    world.observer.look = changed or world.observer.look
    rounds(guard_of(world))
    assert world.did == []


def test_without_automatic_failover_a_full_disk_moves_nobody(world):
    without_room(world)
    rounds(guard_of(world, automatic=False))
    assert world.did == []


def catalogues(world):
    return [one for one in world.did if one.startswith("catalogue")]


def elected_for(world, guard, timeline):
    guard.node.memory.promised(Promise(timeline, "db1"))
    guard.node.memory.won(timeline)
    guard.node.memory.learned(Quorum((timeline, 0)))
    world.observer.look = look(primary_status(timeline, synchronous=NAMES), timeline)


def test_repmgrs_catalogue_is_brought_up_to_date_once_for_each_timeline(world, clock):
    healthy(world)
    guard = guard_of(world, catalogue_database="repmgr")
    rounds(guard)
    assert catalogues(world) == []
    for _round in range(4):
        clock.now += 5
        rounds(guard)
    assert catalogues(world) == ["catalogue repmgr db1"]
    elected_for(world, guard, 3)
    rounds(guard, 2)
    assert catalogues(world) == ["catalogue repmgr db1"] * 2


@pytest.mark.parametrize("broken", [True, False])
def test_a_catalogue_that_is_not_there_or_fails_is_tried_again_and_not_in_a_hurry(world, clock, broken):
    healthy(world)
    guard = guard_of(world, catalogue_database="repmgr")
    world.server.has_catalogue = False
    if broken:
        world.server.broken["catalogue"] = SessionError("connection", "no")
    for times in (1, 2):
        clock.now += 5
        rounds(guard)
        clock.now += 4.9
        rounds(guard)
        assert len(catalogues(world)) == times
    world.server.has_catalogue = True
    world.server.broken.clear()
    for _round in range(3):
        clock.now += 5
        rounds(guard)
    assert len(catalogues(world)) == 3


def test_without_repmgr_there_is_no_catalogue(world, clock):
    healthy(world)
    guard = guard_of(world)
    clock.now += 60
    rounds(guard, 2)
    assert world.did == []


def test_commits_that_did_not_wait_for_a_while_are_not_counted_as_if_they_had(world, clock):
    guard = with_db3_out(world)
    returning(world, 'ANY 1 ("db1", "db2")', 100)
    world.observer.coming = [look(primary_status(2, synchronous=NAMES), rank=Rank(2, 150))]
    rounds(guard)
    # An operator lets commits go on without waiting, the guard cannot change it, and then it is changed back by hand.
    world.server.broken["synchronous"] = SessionError("refused", "no")
    returning(world, "", 140)
    rounds(guard)
    clock.now += 2
    returning(world, NAMES, 160)
    rounds(guard)
    assert world.remembered("quorum")["out"] == ["db3"]


def archives(world):
    """Whether archive_command would begin now: it asks by the same lock."""
    with (world.path / "PG_VERSION").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_server_that_hands_over_waits_for_no_archiver_and_its_guard_lets_it_go_on_afterwards(world):
    healthy(world)
    guard = guard_of(world)
    rounds(guard)
    assert archives(world)
    stopping = world.each_time("stop", lambda: archives(world))
    guard.hand_over("db2")
    finish("hand over")
    assert stopping == [False]
    rounds(guard)
    assert not archives(world)
    guard.node.handing_over_to = None
    rounds(guard)
    assert archives(world)


def test_a_standby_does_not_archive_while_another_node_hands_over(world):
    world.stands()
    guard = guard_of(world)
    world.peers.say(peer("db3", "primary", 2, 120, handing_over_to="db1"))
    rounds(guard)
    assert not archives(world)
    # It has not been heard since.
    world.peers.say(peer("db3", "primary", 2, 120, handing_over_to="db1"), age=6.0)
    rounds(guard)
    assert archives(world)


def test_a_handover_that_came_to_nothing_is_forgotten(world, clock):
    healthy(world)
    guard = guard_of(world)
    guard.hand_over("db2")
    finish("hand over")
    assert guard.node.handing_over_to == "db2"
    world.observer.alive = True
    clock.now += 14
    rounds(guard)
    assert guard.node.handing_over_to == "db2"
    clock.now += 2
    rounds(guard)
    assert guard.node.handing_over_to is None


def test_an_act_that_fails_is_said_and_left_alone_for_a_moment(world, clock, capsys):
    world.stands()
    primary_is(world)
    world.server.broken["upstream"] = SessionError("refused", "it is busy")
    guard = guard_of(world)
    rounds(guard, 3)
    assert world.did.count("upstream host='db2' db1") == 1
    assert "Could not follow, it is tried again: it is busy" in capsys.readouterr().err
    clock.now += 1.1
    rounds(guard)
    assert world.did.count("upstream host='db2' db1") == 2


def test_a_fault_of_the_program_in_an_act_is_seen_and_ends_no_guard(world, capsys):
    world.stands()
    guard = guard_of(world)

    def wrong():
        raise KeyError("x")

    guard.begin("copy", wrong)
    finish("copy")
    assert "<3>BUG in copy: KeyError('x')" in capsys.readouterr().err
    assert guard.busy()


def test_the_round_comes_at_once_when_something_of_weight_has_changed(world, clock, monkeypatch):
    world.stands()
    guard = guard_of(world, **WITNESS, timings={**VALUES["timings"], "tick_seconds": 0.01})
    reasons = []

    def alive(reason):
        reasons.append(reason)
        if len(reasons) == 3:
            raise EnoughError

    monkeypatch.setattr(world.peers, "start", lambda: reasons.append("listens"), raising=False)
    with pytest.raises(EnoughError):
        guard.run(alive)
    assert reasons == ["listens", "a witness that votes and has no data", "a witness that votes and has no data"]
