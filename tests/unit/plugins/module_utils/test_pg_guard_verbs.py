"""What others ask of a guard: what is done, and above all what is refused."""

from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_guard_verbs
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Ballot, Heard, Quorum, Rank
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_daemon import Guard
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_verbs import Verbs
from tests.unit.plugins.module_utils.pg_guard_world import WITNESS, Clock, World, config, finish, look, peer


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


def verbs_of(world, **changes):
    guard = Guard(config(**changes), str(world.directory))
    guard.node.started_at = 0.0
    return guard, Verbs(guard)


def leads(world):
    world.leads()
    world.peers.say(peer("db2", upstream="db1"), peer("db3", upstream="db1"))


@pytest.mark.parametrize("question", [None, [], "status", {}, {"verb": "promote"}, {"verb": None}, {"verb": "_status"}])
def test_what_is_no_verb_is_refused(world, question):
    world.stands()
    with pytest.raises(ValueError, match="the verbs are status, validate, fence, handover, degrade"):
        verbs_of(world)[1].command(question)


def test_the_status_says_what_the_node_is_and_whom_it_hears(world):
    leads(world)
    world.peers.said["db3"] = Heard(None, 4.0)
    answer = verbs_of(world)[1].command({"verb": "status"})
    assert answer["ok"]
    assert "db1 is primary, takes writes at 0/64 of timeline 2" in answer["reason"]
    assert "heard db2 0.1 s ago, db3 never" in answer["reason"]
    assert answer["state"]["role"] == "primary"


@pytest.mark.parametrize(("age", "primary"), [(0.1, "db3"), (1.9, "db3"), (2.0, None)])
def test_the_status_says_whom_the_node_takes_for_the_primary(world, age, primary):
    world.stands()
    world.peers.say(peer("db2"))
    world.peers.say(peer("db3", "primary"), age=age)
    assert verbs_of(world)[1].command({"verb": "status"})["state"]["primary"] == primary
    leads(world)
    assert verbs_of(world)[1].command({"verb": "status"})["state"]["primary"] == "db1"


def test_a_witness_hears_a_primary_too(world):
    world.peers.say(peer("db3", "primary"))
    assert verbs_of(world, **WITNESS)[1].command({"verb": "status"})["state"]["primary"] == "db3"


@pytest.mark.parametrize(
    ("age", "ok", "why"), [(0.1, False, "db3 is the primary of timeline 2"), (9.0, True, "db1 stands for timeline 3")]
)
def test_a_node_may_be_promoted_only_where_there_is_no_primary(world, age, ok, why):
    world.stands()
    world.peers.say(peer("db2", lsn=90))
    world.peers.say(peer("db3", "primary"), age=age)
    answer = verbs_of(world)[1].command({"verb": "validate"})
    assert (answer["ok"], why in answer["reason"]) == (ok, True)
    assert world.did == []


def test_a_vote_is_given_for_a_ballot_and_for_nothing_else(world):
    world.stands()
    _guard, verbs = verbs_of(world)
    answer = verbs.vote(Ballot("db2", 3, Rank(2, 100)).to_json())
    assert (answer["granted"], answer["promise"]) == (True, {"timeline": 3, "candidate": "db2"})
    for nonsense in (None, [], {}, {"candidate": "db2", "timeline": 1, "rank": [1, 1]}):
        with pytest.raises(ValueError, match=r"."):
            verbs.vote(nonsense)


def test_a_vote_that_cannot_be_kept_is_no_answer(world):
    world.stands()
    world.server.broken["upstream"] = SessionError("limit", "no answer within the limit")
    with pytest.raises(OSError, match="db1 cannot stop its receiver: no answer"):
        verbs_of(world)[1].vote(Ballot("db2", 3, Rank(2, 100)).to_json())


def test_a_fenced_node_is_killed_started_and_stands_back_first(world):
    leads(world)
    guard, verbs = verbs_of(world)
    stands_back = world.each_time("kill", lambda: guard.stands_back_until)
    answer = verbs.command({"verb": "fence"})
    finish("start")
    assert answer["ok"]
    assert not answer["state"]["writable"]
    assert world.did == ["kill", "start"]
    assert stands_back[0] > 0


def test_a_witness_has_nothing_to_fence(world):
    with pytest.raises(ValueError, match="w is a witness"):
        verbs_of(world, **WITNESS)[1].command({"verb": "fence"})


@pytest.mark.parametrize("verb", ["fence", "handover"])
def test_a_guard_that_is_busy_says_so_and_does_nothing(world, monkeypatch, verb):
    leads(world)
    guard, verbs = verbs_of(world)
    monkeypatch.setattr(_pg_guard_verbs, "time", Clock())
    monkeypatch.setattr(guard, "busy", lambda: True)
    with pytest.raises(ValueError, match="busy with something else"):
        verbs.command({"verb": verb, "to": "db2"})
    assert world.did == []


@pytest.mark.parametrize(
    ("spoil", "to", "why"),
    [
        (lambda world: world.stands(conninfo="host='db3'"), "db2", "db1 is no primary that takes writes, ask on db3"),
        (lambda _world: None, "db1", "db1 is no data node that was ever heard"),
        (lambda _world: None, "db9", "db9 is no data node"),
        (lambda _world: None, None, "None is no data node"),
        (lambda world: world.peers.said.update(db2=Heard(None, 5.0)), "db2", "db2 is no data node that was ever heard"),
        (lambda world: world.peers.say(peer("db2"), age=2.1), "db2", "heard 2.1 s ago: only a healthy standby"),
        (lambda world: world.peers.say(peer("db2", "starting")), "db2", "db2 is starting"),
        (
            lambda world: setattr(
                world.observer,
                "look",
                look(world.observer.look.status._replace(standbys=world.observer.look.status.standbys[1:])),
            ),
            "db2",
            "db2 does not stream from db1",
        ),
        (lambda world: world.remember("quorum", {"version": [2, 1], "out": ["db2"]}), "db2", "only a healthy standby"),
    ],
    ids=["standby", "itself", "unknown", "nobody", "never heard", "stale", "starting", "does not stream", "out"],
)
def test_a_handover_to_one_that_cannot_take_over_is_refused_before_anything_stops(world, spoil, to, why):
    leads(world)
    spoil(world)
    with pytest.raises(ValueError, match=why):
        verbs_of(world)[1].command({"verb": "handover", "to": to})
    assert world.did == []


@pytest.mark.parametrize(("elected", "ok"), [("db2", True), ("db3", False)])
def test_a_handover_returns_with_the_new_primary_whoever_it_is(world, monkeypatch, elected, ok):
    leads(world)
    monkeypatch.setattr(_pg_guard_verbs, "time", Clock())
    _guard, verbs = verbs_of(world)
    world.did.hooks.append(lambda what: world.peers.say(peer(elected, "primary", 3)) if what == "stop" else None)
    real = world.peers.heard

    def heard():
        finish("hand over")
        return real()

    monkeypatch.setattr(world.peers, "heard", heard)
    answer = verbs.command({"verb": "handover", "to": "db2"})
    assert (answer["ok"], answer["reason"]) == (ok, f"{elected} is primary of timeline 3")
    assert world.did == ["checkpoint", "dismiss all but db1 db2 db3", "stop", "start"]


def test_a_former_primary_that_is_long_gone_is_no_answer_to_a_handover(world, monkeypatch):
    leads(world)
    world.peers.say(peer("db3", "primary", 1), age=500.0)
    monkeypatch.setattr(_pg_guard_verbs, "time", Clock())
    answer = verbs_of(world)[1].command({"verb": "handover", "to": "db2"})
    finish("hand over")
    assert "no new primary" in answer["reason"]


def test_a_handover_after_which_nobody_is_primary_ends_and_says_where_to_look(world, monkeypatch):
    leads(world)
    monkeypatch.setattr(_pg_guard_verbs, "time", Clock())
    answer = verbs_of(world)[1].command({"verb": "handover", "to": "db2"})
    finish("hand over")
    assert not answer["ok"]
    assert "no new primary within 30 s" in answer["reason"]


def test_nodes_that_are_powered_off_are_taken_out_for_good(world):
    world.stands()
    world.peers.said = {"db2": Heard(peer("db2"), 60.0), "db3": Heard(None, 60.0)}
    guard, verbs = verbs_of(world)
    answer = verbs.command({"verb": "degrade", "to": ["db2", "db3"]})
    assert answer["ok"]
    assert world.remembered("quorum")["out"] == ["db2", "db3"]
    assert world.remembered("quorum")["version"][0] > 50
    assert guard.node.memory.quorum != Quorum()


@pytest.mark.parametrize(("without", "why"), [(["db2"], "db2 was heard"), (["db1"], "this node"), (["x"], "none of")])
def test_a_node_that_is_heard_or_unknown_is_not_taken_out(world, without, why):
    leads(world)
    before = world.remembered("quorum")
    with pytest.raises(ValueError, match=why):
        verbs_of(world)[1].command({"verb": "degrade", "to": without})
    assert world.remembered("quorum") == before


def test_a_standby_that_hears_a_primary_takes_nobody_out(world):
    world.stands()
    world.peers.say(peer("db3", "primary"))
    world.peers.said["db2"] = Heard(None, 60.0)
    before = world.remembered("quorum")
    with pytest.raises(ValueError, match="db3 is the primary, heard 0.1 s ago, .*: ask on db3"):
        verbs_of(world)[1].command({"verb": "degrade", "to": ["db2"]})
    assert world.remembered("quorum") == before


def test_a_standby_takes_nobody_out_where_a_primary_has_only_been_silent(world):
    world.stands()
    world.peers.say(peer("db3", "primary"), age=60.0)
    world.peers.said["db2"] = Heard(None, 60.0)
    before = world.remembered("quorum")
    with pytest.raises(ValueError, match="db3 is not heard now and may be primary: ask on db3 if it runs, and name it"):
        verbs_of(world)[1].command({"verb": "degrade", "to": ["db2"]})
    assert world.remembered("quorum") == before


@pytest.mark.parametrize(
    ("automatic", "without", "then"),
    [
        (True, ["db3", "db4", "db5"], "a primary is elected among those that are left"),
        (False, ["db2", "db3", "db4", "db5"], "a primary is elected among those that are left"),
        (False, ["db3", "db4", "db5"], "of db1, db2 none is elected until it is switched on"),
    ],
)
def test_what_follows_when_nodes_are_taken_out_is_what_the_guard_then_does(world, automatic, without, then):
    world.stands()
    # Of five, two are too few to elect; of three they would be left to it.
    nodes = {f"db{number}": f"192.0.2.1{number}" for number in range(1, 6)}
    world.peers.said = {name: Heard(None, 60.0) for name in list(nodes)[1:]}
    if "db2" not in without:
        world.peers.say(peer("db2"))
    answer = verbs_of(world, automatic=automatic, data_nodes=nodes)[1].command({"verb": "degrade", "to": without})
    assert then in answer["reason"]
