"""A guard beside Patroni: what it says of a server that others promote, and what it leaves to Patroni."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_guard_watch
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Rank, state_from
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_local import Look
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_view import Situation, describe_watched
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_watch import Watch, WatchVerbs
from ansible_collections.escala.ha.plugins.module_utils._pg_peers import server_context
from tests.unit.plugins.module_utils.pg_guard_pki import Platform
from tests.unit.plugins.module_utils.pg_guard_world import World, config, look, peer, primary_status, status

LIVES = Situation(lives=True)
PATRONI = {"port_of_patroni": 8008}


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


@pytest.fixture
def watch(world):
    return Watch(config(**PATRONI), str(world.directory))


def said(seen, situation=LIVES):
    return describe_watched(seen, config(**PATRONI), situation, {})


def test_a_server_out_of_recovery_is_a_writer_without_an_election():
    me = said(look(primary_status(2)))
    assert (me.role, me.writable, me.joined, me.rank) == ("primary", True, True, Rank(2, 100))
    assert (me.promise, me.decided_by) == (None, "patroni")


@pytest.mark.parametrize(
    ("seen", "situation"),
    [
        (look(primary_status(2)), Situation(lives=True, hung=True)),
        (look(primary_status(2)), Situation(lives=False)),
        (look(), LIVES),
        (Look(), LIVES),
    ],
)
def test_one_that_hangs_has_ended_or_recovers_is_none(seen, situation):
    assert not said(seen, situation).is_writer


def test_data_that_are_not_consistent_yet_do_not_count():
    assert not said(look()._replace(status=None)).joined
    assert said(look()).joined


def test_the_upstream_is_told_by_its_address():
    streams = status(conninfo="user=replicator host=192.0.2.12 port=5432", receiver_status="streaming")
    assert (said(look(streams)).upstream, said(look(streams)).streaming) == ("db2", True)


def test_who_decides_comes_over_the_wire_and_is_the_guard_where_nobody_says():
    document = said(look(primary_status(2))).to_json()
    assert state_from(json.loads(json.dumps(document))).decided_by == "patroni"
    del document["decided_by"]
    assert state_from(document).decided_by == "guard"


def test_a_round_publishes_what_is_seen_and_acts_on_nothing(world, watch, monkeypatch):
    world.stands()
    told = []

    class EndOfTestError(Exception):
        pass

    def alive(reason):
        told.append(reason)
        raise EndOfTestError

    monkeypatch.setattr(watch.node.peers, "start", lambda: None, raising=False)
    monkeypatch.setattr(watch.node.here.observer, "run", lambda: None, raising=False)
    with pytest.raises(EndOfTestError):
        watch.run(alive)
    assert told == ["Patroni decides here, and the guard watches"]
    assert watch.node.document()["role"] == "standby"


def test_it_gives_no_votes(watch):
    with pytest.raises(ValueError, match="db1 does not vote: Patroni decides here"):
        WatchVerbs(watch).vote({})


@pytest.mark.parametrize("question", [None, {}, {"verb": "fence"}, {"verb": "degrade"}, {"verb": "validate"}])
def test_what_only_a_guard_that_decides_does_is_refused(watch, question):
    with pytest.raises(ValueError, match="see patronictl"):
        WatchVerbs(watch).command(question)


def test_the_status_says_who_takes_writes(world, watch):
    world.stands()
    world.peers.say(peer("db2", "primary"))
    answer = WatchVerbs(watch).command({"verb": "status"})
    assert answer["ok"]
    assert "db1 is standby" in answer["reason"]
    assert answer["state"]["primary"] == "db2"


def test_a_standby_hands_nothing_over(world, watch):
    world.stands()
    with pytest.raises(ValueError, match="db1 is no primary that takes writes"):
        WatchVerbs(watch).command({"verb": "handover", "to": "db2"})


@pytest.mark.parametrize(
    ("status_code", "new", "ok", "reason"),
    [
        (200, "db2", True, "db2 is primary of timeline 3"),
        (200, "db3", False, "db3 is primary of timeline 3"),
        (412, None, False, "Patroni answers 412: no good candidates"),
    ],
)
def test_a_switchover_is_patroni_s_to_make(world, watch, monkeypatch, status_code, new, ok, reason):
    world.leads()

    def asked(_config, target):
        assert target == "db2"
        if new:
            world.peers.say(peer(new, "primary", timeline=3))
        return status_code, "no good candidates"

    monkeypatch.setattr(_pg_guard_watch, "switch_over", asked)
    answer = WatchVerbs(watch).command({"verb": "handover", "to": "db2"})
    assert (answer["ok"], answer["reason"]) == (ok, reason)


def test_a_switchover_that_nobody_sees_is_none(world, watch, monkeypatch):
    world.leads()
    monkeypatch.setattr(_pg_guard_watch, "switch_over", lambda _config, _target: (200, "Successfully switched over"))
    monkeypatch.setattr(_pg_guard_watch, "_SEEN_SECONDS", 0.05)
    answer = WatchVerbs(watch).command({"verb": "handover", "to": "db2"})
    assert not answer["ok"]
    assert "no new primary was seen" in answer["reason"]


def test_patroni_is_asked_over_tls_with_the_node_s_certificate(tmp_path):
    platform = Platform(tmp_path)
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"Successfully switched over")

        def log_message(self, *_words):
            pass

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        # As Patroni's: whoever has no certificate of the platform's is not heard.
        server.socket = server_context(platform.identity("localhost")).wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.handle_request, daemon=True).start()
        told = config(
            port_of_patroni=server.server_address[1],
            data_nodes={"db1": "localhost", "db2": "192.0.2.12", "db3": "192.0.2.13"},
            identity=platform.identity("db1")._asdict(),
        )
        assert _pg_guard_watch.switch_over(told, "db2") == (200, "Successfully switched over")
    assert asked == [("/switchover", {"leader": "db1", "candidate": "db2"})]
