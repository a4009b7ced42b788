"""What the guard does to its PostgreSQL, and in which order: every step may be the last before a power failure."""

from __future__ import annotations

import os
import signal

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_guard_acts
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Promise, Upstream
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_acts import Acts
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_control import ActError
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import Control as ControlFile
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_sql import Slot
from tests.unit.plugins.module_utils.pg_guard_world import (
    IDENTIFIER,
    NAMES,
    PID,
    Clock,
    World,
    look,
    peer,
    primary_status,
    status,
)

REFUSED = SessionError("refused", "no")
OF_DB1 = "1\t0/5000090\tno recovery target specified\n"


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(_pg_guard_acts, "time", found)
    return found


def acts_of(world, **changes):
    node = world.node(**changes)
    return node, Acts(node)


def test_a_killed_primary_is_no_writer_before_the_first_process_dies(world, capsys):
    world.leads()
    node, acts = acts_of(world)
    assert node.me().writable
    seen = world.each_time("kill", lambda: node.me().writable)
    acts.kill("it is alone")
    assert seen == [False]
    assert node.reason == "it is alone"
    assert "<4>Fenced: it is alone" in capsys.readouterr().err


def test_a_primary_that_cannot_die_yet_stays_no_writer_and_it_is_said(world, capsys):
    world.leads()
    world.control.dies = False
    node, acts = acts_of(world)
    acts.kill("it hangs")
    assert not node.me().writable
    assert "wait for a disk" in capsys.readouterr().err


def test_every_start_is_one_as_a_standby(world):
    _node, acts = acts_of(world)
    signals = world.each_time("start", lambda: (world.path / "standby.signal").exists())
    acts.start("it is not running")
    assert signals == [True]


def promotable(world):
    world.stands(slots=(Slot("db2", False, False), Slot("db3", False, False)))
    world.remember("promise", {"timeline": 5, "candidate": "db1"})
    world.remember("elected", 5)
    (world.path / "pg_wal" / "00000002.history").write_text(OF_DB1)


def test_a_promotion_makes_stubs_and_whom_commits_wait_for_before_it_begins(world, capsys):
    promotable(world)
    world.server.comes_out_on = 5
    world.observer.coming = [world.observer.look, look(primary_status(5), 5)]
    node, acts = acts_of(world)
    stubs = world.each_time("promote", world.data.history_sizes)
    acts.promote(5, 10.0)
    assert world.did == [
        'synchronous ANY 1 ("db1", "db2", "db3")',
        "look",
        "promote",
        "status",
        "look",
        "upstream none",
    ]
    assert stubs == [{"00000002.history": len(OF_DB1), "00000003.history": 0, "00000004.history": 0}]
    assert (world.path / "standby.signal").exists()
    assert node.me().is_writer
    assert "Primary of timeline 5, 2 skipped" in capsys.readouterr().err


def test_a_node_that_did_not_know_whom_commits_wait_for_learns_it_before_it_takes_any(world):
    promotable(world)
    world.stands(synchronous="")
    world.server.comes_out_on = 5
    acts_of(world)[1].promote(5, 10.0)
    assert world.did.index(f"synchronous {NAMES}") < world.did.index("checkpoint") < world.did.index("promote")


def test_slots_are_there_before_the_promotion_for_its_standbys_to_find(world):
    promotable(world)
    world.observer.look = look(status(slots=(Slot("db3", False, False),)))
    world.server.comes_out_on = 5
    acts_of(world)[1].promote(5, 10.0)
    assert world.did.index("create slot db2") < world.did.index("promote")
    assert "create slot db3" not in world.did


@pytest.mark.parametrize(("leaves", "timeline"), [(True, 3), (True, None), (False, 5)])
def test_a_promotion_that_comes_out_otherwise_is_killed_and_never_a_writer(world, leaves, timeline):
    promotable(world)
    world.server.leaves_recovery, world.server.comes_out_on = leaves, timeline
    node, acts = acts_of(world)
    acts.promote(5, 10.0)
    assert world.did[-1] == "kill"
    assert node.reason == f"the promotion to timeline 5 ended on {timeline or 'none'}"
    world.observer.look = look(primary_status(5), 5)
    assert not node.me().writable


@pytest.mark.parametrize(("ends", "killed"), [(True, False), (False, True)], ids=["it ends", "it stands still"])
def test_a_promotion_waits_for_replay_as_long_as_it_goes_on(world, monkeypatch, ends, killed):
    promotable(world)
    replaying = [status(replayed_lsn=lsn) for lsn in (100, 200, 300)]
    last = primary_status(5) if ends else replaying[-1]
    promoted, statuses = iter([False, False, False, ends]), iter([*replaying, last])
    monkeypatch.setattr(world.server, "promote", lambda _limit: next(promoted))
    monkeypatch.setattr(world.server, "status", lambda _limit: next(statuses))
    world.observer.coming = [world.observer.look, look(primary_status(5), 5)]
    acts_of(world)[1].promote(5, 10.0)
    assert ("kill" in world.did) is killed
    assert next(statuses, None) is None


def test_a_timeline_that_is_taken_is_not_promoted_to(world):
    promotable(world)
    (world.path / "pg_wal" / "00000005.history").write_text(OF_DB1)
    with pytest.raises(ActError, match="timeline 5 cannot be taken"):
        acts_of(world)[1].promote(5, 10.0)
    assert world.did == []


def test_a_node_that_does_not_know_its_timeline_is_not_promoted(world):
    promotable(world)
    world.observer.look = look()._replace(rank=None)
    with pytest.raises(ActError, match="does not know its own timeline"):
        acts_of(world)[1].promote(5, 10.0)
    assert world.did == []


def test_without_whom_commits_wait_for_there_is_no_promotion(world):
    promotable(world)
    world.server.broken["synchronous"] = REFUSED
    with pytest.raises(SessionError):
        acts_of(world)[1].promote(5, 10.0)
    assert "promote" not in world.did


FOLLOW = Upstream("follow", "it is on its history", "db2", Promise(3, "db2"))


def test_a_node_promises_on_the_disk_before_it_follows(world):
    world.stands()
    world.peers.say(peer("db2", "primary", 3))
    _node, acts = acts_of(world)
    promised = world.each_time("upstream", lambda: world.remembered("promise"))
    acts.follow(FOLLOW)
    assert world.did == ["upstream host='db2' db1"]
    assert promised == [{"timeline": 3, "candidate": "db2"}]


@pytest.mark.parametrize(
    "happened",
    [
        lambda node, _peers: node.memory.promised(Promise(4, "db3")),
        lambda _node, peers: peers.say(peer("db2", "primary", 3)._replace(writable=False)),
        lambda _node, peers: peers.say(peer("db2", "standby", 3)),
        lambda _node, peers: peers.said.clear(),
    ],
    ids=["promised", "fenced", "demoted", "unheard"],
)
def test_a_node_follows_nobody_when_a_promise_was_given_or_the_primary_went_meanwhile(world, happened):
    world.stands()
    world.peers.say(peer("db2", "primary", 3))
    node, acts = acts_of(world)
    happened(node, world.peers)
    acts.follow(FOLLOW)
    assert world.did == []
    assert node.memory.promise in (None, Promise(4, "db3"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, Promise(3, "db2")),
        (Promise(2, "db1"), Promise(3, "db2")),
        (Promise(3, "db2"), Promise(3, "db2")),
        # A vote has promised more since the verdict, or the same timeline by another way.
        (Promise(3, "db3"), Promise(3, "db3")),
        (Promise(4, "db3"), Promise(4, "db3")),
    ],
    ids=str,
)
@pytest.mark.parametrize("act", ["promise", "follow"])
def test_of_two_promises_the_later_is_kept_and_it_is_no_fault(world, act, before, after):
    world.stands()
    world.peers.say(peer("db2", "primary", 3))
    node, acts = acts_of(world)
    if before:
        node.memory.promised(before)
    getattr(acts, act)(FOLLOW)
    assert node.memory.promise == after
    assert bool(world.did) is (act == "follow" and after.timeline == 3)


def test_a_primary_that_has_gone_meanwhile_is_promised_nothing(world):
    world.stands()
    node, acts = acts_of(world)
    acts.promise(FOLLOW)
    world.peers.say(peer("db2", "primary", 3)._replace(writable=False))
    acts.promise(FOLLOW)
    assert node.memory.promise is None


def test_a_verdict_that_promises_nothing_leaves_the_promise_as_it_is(world):
    world.stands()
    world.peers.say(peer("db2", "primary", 3))
    node, acts = acts_of(world)
    acts.promise(FOLLOW._replace(promise=None))
    assert node.memory.promise is None


def test_no_promise_is_given_while_an_upstream_is_being_set(world):
    world.stands()
    world.peers.say(peer("db2", "primary", 3))
    node, acts = acts_of(world)
    held = world.each_time("upstream", node.hand.locked)
    acts.follow(FOLLOW)
    assert held == [True]
    assert not node.hand.locked()


def test_dead_branches_are_dropped_while_the_server_is_stopped_and_it_starts_without_an_upstream(world):
    world.stands()
    (world.path / "pg_wal" / "00000004.history").write_text(OF_DB1)
    world.peers.say(peer("db2", "primary", 3))
    acts_of(world)[1].follow(FOLLOW._replace(drop_timelines=(4,)))
    assert world.did == ["stop", "start"]
    assert world.data.history_sizes() == {}


def test_a_server_that_takes_no_sessions_yet_reads_its_upstream_from_its_files(world, monkeypatch):
    signals = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append((pid, number)))
    world.observer.look = look()._replace(status=None)
    world.peers.say(peer("db2", "primary", 3))
    acts = acts_of(world)[1]
    acts.follow(FOLLOW)
    assert world.data.upstream_settings() == {"primary_conninfo": "host='db2'", "primary_slot_name": "db1"}
    assert signals == [(PID, signal.SIGHUP)]
    world.data.pid = None
    acts.stop_receiving(float("inf"))
    assert not any(world.data.upstream_settings().values())
    assert (len(signals), world.did) == (1, ["receives nothing"] * 4)


def test_the_receiver_is_gone_only_when_it_was_absent_several_times_in_a_row(world, clock):
    world.stands()
    world.control.receiving = [True, False, False, True, False]
    acts_of(world)[1].stop_receiving(clock.now + 1.0)
    assert world.did[0] == "upstream none"
    assert world.did[1:] == ["receives"] + ["receives nothing"] * 2 + ["receives"] + ["receives nothing"] * 4


def test_a_receiver_that_goes_on_is_no_stopped_one(world, clock):
    world.stands()
    world.control.receiving = [True]
    with pytest.raises(TimeoutError, match="still runs"):
        acts_of(world)[1].stop_receiving(clock.now + 0.5)


def test_a_receiver_is_not_stopped_when_the_server_refuses_to_forget_its_upstream(world, clock):
    world.stands()
    world.server.broken["upstream"] = REFUSED
    with pytest.raises(SessionError):
        acts_of(world)[1].stop_receiving(clock.now + 0.5)


REWIND = Upstream("rewind", "it left its history", "db2", Promise(3, "db2"), (2,))
CLONE = Upstream("clone", "it has no data", "db2", Promise(3, "db2"))


def test_a_rewound_node_counts_as_one_without_data_before_anything_is_taken_back(world):
    world.stands()
    _node, acts = acts_of(world)
    joined = world.each_time("rewind", lambda: world.remembered("joined"))
    acts.rewind(REWIND)
    assert world.did == ["stop", "rewind db2", "start"]
    assert joined == [None]
    assert acts.rewind_failed is False


def test_after_a_rewind_that_failed_nothing_is_started_and_a_copy_is_due(world, capsys):
    world.stands()
    world.control.broken["rewind"] = "pg_rewind failed with 1: no"
    _node, acts = acts_of(world)
    acts.rewind(REWIND)
    assert world.did == ["stop", "rewind db2"]
    assert acts.rewind_failed is True
    assert world.remembered("joined") is None
    assert "a fresh copy follows: pg_rewind failed" in capsys.readouterr().err


def without_looks(world):
    """What was done, apart from looking whether WAL is still received."""
    return [step for step in world.did if not step.startswith("receives")]


def test_a_copy_is_whole_before_the_old_data_stops_to_serve_and_to_count(world):
    world.stands()
    _node, acts = acts_of(world)
    acts.rewind_failed = True
    copied = world.each_time("copy", lambda: world.remembered("joined"))
    swapped = world.each_time("swap", lambda: world.remembered("joined"))
    acts.clone(CLONE)
    # What it confirmed while it is copied over would be gone with it.
    assert without_looks(world) == ["upstream none", "copy db2", "stop", "swap a copy of db2", "start"]
    assert (copied, swapped) == ([IDENTIFIER], [None])
    assert acts.rewind_failed is False


def test_a_copy_that_fails_costs_nothing(world):
    world.stands()
    world.control.broken["copy"] = "pg_basebackup failed with 1: no"
    with pytest.raises(ActError):
        acts_of(world)[1].clone(CLONE)
    assert without_looks(world) == ["upstream none", "copy db2"]
    assert world.remembered("joined") == IDENTIFIER


def test_a_receiver_that_does_not_end_before_a_copy_is_ended_with_its_server(world, clock):
    world.stands()
    world.control.receiving = [True]
    acts_of(world)[1].clone(CLONE)
    assert without_looks(world) == ["upstream none", "stop", "copy db2", "swap a copy of db2", "start"]


@pytest.mark.parametrize("act", ["follow", "rewind", "clone"])
def test_a_verdict_without_a_source_is_misuse(world, act):
    world.stands()
    with pytest.raises(ValueError, match="names no source"):
        getattr(acts_of(world)[1], act)(Upstream(act, "why"))
    assert world.did == []


def test_a_handover_writes_out_first_and_names_its_target_before_the_server_stops(world):
    world.leads()
    node, acts = acts_of(world)
    told = world.each_time("stop", lambda: node.document()["handing_over_to"])
    acts.hand_over("db2")
    assert world.did == ["checkpoint", "dismiss all but db1 db2 db3", "stop", "start"]
    assert told == ["db2"]


def test_a_handover_whose_checkpoint_gets_no_answer_stops_nothing(world):
    world.leads()
    world.server.broken["checkpoint"] = SessionError("limit", "no answer within the limit")
    node, acts = acts_of(world)
    with pytest.raises(SessionError):
        acts.hand_over("db2")
    assert world.did == ["checkpoint"]
    assert node.me().is_writer
    assert node.handing_over_to is None


def test_a_full_disk_that_refuses_a_checkpoint_is_no_hindrance_to_a_handover(world):
    world.leads()
    world.server.broken["checkpoint"] = REFUSED
    acts_of(world)[1].hand_over("db2")
    assert world.did == ["checkpoint", "dismiss all but db1 db2 db3", "stop", "start"]


@pytest.mark.parametrize(("written_on", "fork"), [(None, False), (1, False), (2, True)])
def test_a_server_that_is_stopped_is_a_fork_by_its_control_file(world, written_on, fork):
    world.stands()
    world.observer.look = look(control=ControlFile(IDENTIFIER, True, None, written_on))._replace(status=None)
    assert bool(acts_of(world)[1].fork()) is fork


def test_what_an_elected_primary_wrote_is_no_fork_also_after_it_promised_a_later_timeline(world):
    world.leads(2)
    node, acts = acts_of(world)
    assert acts.fork() == ""
    node.memory.promised(Promise(3, "db2"))
    assert acts.fork() == ""


@pytest.mark.parametrize(
    "promises",
    [
        # Elections that came to nothing took 3 and 4, and a promotion by hand takes the first number that has no history.
        [Promise(3, "db2"), Promise(4, "db2")],
        # It stood for 3 itself, was outranked, and somebody promoted it all the same.
        [Promise(3, "db1")],
    ],
    ids=["promised more", "lost its own election"],
)
def test_what_was_written_on_a_timeline_is_a_fork_unless_the_election_for_it_was_won(world, promises):
    world.stands()
    node, acts = acts_of(world)
    for promise in promises:
        node.memory.promised(promise)
    world.observer.look = look(primary_status(3), 3)
    assert acts.fork()
    # Also where it was elected before, or is elected for another one.
    for other in (2, 4):
        node.memory.won(other)
        assert acts.fork()
    node.memory.won(3)
    assert acts.fork() == ""


def test_the_last_voter_of_its_quorum_has_nobody_to_fork_from(world):
    world.leads(3, elected=False)
    _node, acts = acts_of(world)
    assert acts.fork()
    world.remember("quorum", {"version": [2, 1], "out": ["db2", "db3"]})
    _node, acts = acts_of(world)
    assert acts.fork() == ""


def test_data_is_marked_before_it_is_forgotten_that_the_node_joined(world, monkeypatch):
    world.leads(3, elected=False)
    node, acts = acts_of(world)
    marked = []
    forget = node.memory.forgets_joined

    def forgets():
        marked.append((world.data.control(), world.remembered("joined")))
        forget()

    monkeypatch.setattr(node.memory, "forgets_joined", forgets)
    acts.condemn(acts.fork())
    assert marked == [(None, IDENTIFIER)]
    assert world.remembered("joined") is None


def test_a_server_is_killed_also_where_it_cannot_be_forgotten_that_its_node_joined(world, monkeypatch):
    world.leads(3, elected=False)
    node, acts = acts_of(world)

    def fails():
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(node.memory, "forgets_joined", fails)
    with pytest.raises(OSError, match="Input/output"):
        acts.condemn(acts.fork())
    assert world.did == ["kill"]
    assert world.data.control() is None


def test_condemned_data_does_not_count_and_is_not_started_before_its_server_dies(world):
    world.leads(2)
    _node, acts = acts_of(world)
    before = world.each_time("kill", lambda: (world.remembered("joined"), world.data.control()))
    acts.condemn("somebody promoted it")
    assert before == [(None, None)]


def test_a_server_is_killed_also_where_it_cannot_be_written_down_that_it_is_condemned(world):
    world.leads(2)
    _node, acts = acts_of(world)
    (world.path.parent / ".main.rewind.new").mkdir()
    with pytest.raises(OSError, match="rewind"):
        acts.condemn("somebody promoted it")
    assert world.did == ["kill"]


def test_a_fork_is_one_whatever_step_of_its_condemnation_is_the_last(world):
    world.leads(3, elected=False)
    _node, acts = acts_of(world)
    (world.path.parent / ".main.rewind.new").mkdir()
    with pytest.raises(OSError, match="rewind"):
        acts.condemn(acts.fork())
    assert world.data.control() is None or Acts(world.node()).fork()


@pytest.mark.parametrize("kind", ["limit", "connection"])
def test_a_checkpoint_that_gets_no_answer_ends_a_handover_whatever_the_reason(world, kind):
    world.leads()
    world.server.broken["checkpoint"] = SessionError(kind, "no")
    with pytest.raises(SessionError):
        acts_of(world)[1].hand_over("db2")
    assert world.did == ["checkpoint"]


def test_a_standby_that_was_started_by_hand_is_stopped_in_order_and_started_in_its_unit(world):
    world.stands(conninfo="host='db2'", receiver_status="streaming")
    _node, acts = acts_of(world)
    signals = world.each_time("start", lambda: (world.path / "standby.signal").exists())
    acts.restart_in_unit()
    assert world.did == ["stop", "start"]
    assert signals == [True]
    # It has all its data all the time.
    assert world.remembered("joined") == IDENTIFIER


def test_a_standby_that_cannot_be_stopped_is_not_started_a_second_time(world):
    world.stands()
    world.control.broken["stop"] = "pg_ctl failed with 1: no"
    with pytest.raises(ActError):
        acts_of(world)[1].restart_in_unit()
    assert world.did == ["stop"]


def test_a_server_that_does_not_run_is_not_stopped(world):
    world.stands()
    world.observer.alive = False
    acts_of(world)[1].clone(CLONE)
    assert "stop" not in world.did


def test_a_primary_has_a_slot_and_every_history_for_its_standbys(world):
    world.leads(4)
    world.observer.look = look(primary_status(4)._replace(slots=(Slot("db3", False, True),)), 4)
    _node, acts = acts_of(world)
    acts.tend_primary()
    assert world.did == ["create slot db2", "drop slot db3", "look"]
    assert sorted(world.data.history_sizes()) == ["00000002.history", "00000003.history"]


@pytest.mark.parametrize(
    ("slots", "missing", "lost", "orphan"),
    [
        ((), ["db2", "db3"], [], []),
        ((Slot("db2", True, False), Slot("db3", True, True)), [], [], []),
        ((Slot("db2", False, True), Slot("db3", False, False)), [], ["db2"], ["db2", "db3"]),
        # A primary has one while an old server follows; where it is a standby's it is left from then.
        (
            (Slot("db2", True, False), Slot("db3", True, False), Slot("escala_migration", False, True)),
            [],
            [],
            ["escala_migration"],
        ),
        # What is not ours is left alone.
        ((Slot("archive", False, True), Slot("db1", False, False)), ["db2", "db3"], [], ["db1"]),
    ],
)
def test_only_slots_of_this_cluster_are_made_or_dropped(world, slots, missing, lost, orphan):
    world.stands(slots=slots)
    _node, acts = acts_of(world)
    assert (acts.missing_slots(), acts.lost_slots(), acts.orphan_slots()) == (missing, lost, orphan)


def test_of_a_server_that_said_nothing_no_slot_is_known(world):
    world.observer.look = look()._replace(status=None)
    _node, acts = acts_of(world)
    assert (acts.missing_slots(), acts.lost_slots(), acts.orphan_slots()) == ([], [], [])


def test_a_standby_keeps_no_slot_that_would_keep_wal_for_ever(world):
    world.stands(slots=(Slot("db2", False, False), Slot("archive", False, False)))
    acts_of(world)[1].tend_standby()
    assert world.did == ["drop slot db2", "look"]
