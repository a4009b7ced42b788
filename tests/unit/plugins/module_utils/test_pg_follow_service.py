"""What the follower does to PgBouncer, with a console and a kernel that only write down what they were asked for."""

import os
from pathlib import Path

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_follow_service as service
from ansible_collections.escala.ha.plugins.module_utils._pg_follow import Course
from ansible_collections.escala.ha.plugins.module_utils._pgbouncer import ConsoleError
from ansible_collections.escala.ha.plugins.module_utils._pgbouncer_sockets import Connection
from tests.unit.plugins.module_utils.test_pg_follow import CONFIG

TO_DB1 = Course("db1", ("db2", "db3"))
TO_DB2 = Course("db2", ("db3",))


class World:
    """PgBouncer and the kernel of one host."""

    def __init__(self):
        self.commands = []
        self.paused = set()
        self.servers = []
        self.sockets = []
        self.ended = []
        self.away = False
        self.refused: set[str] = set()

    def console(self, _directory, _port):
        if self.away:
            raise ConsoleError("connection", "connection refused")
        return Session(self)

    def serve(self, database, address, local_port, state="active"):
        row = {"database": database, "addr": address, "port": "5432", "local_addr": "192.0.2.21", "state": state}
        self.servers.append({**row, "local_port": str(local_port), "user": "app", "close_needed": "0"})


class Session:
    def __init__(self, world):
        self.world = world

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        pass

    def ask(self, command, _limit_seconds=2.0):
        if command == "SHOW DATABASES":
            return [{"name": name, "paused": str(int(name in self.world.paused))} for name in ("app", "app_ro")]
        if command == "SHOW SERVERS":
            return self.world.servers
        self.begin(command)
        return []

    def begin(self, command):
        if command in self.world.refused:
            raise ConsoleError("connection", "closed in the middle")
        self.world.commands.append(command)
        name = command.partition('"')[2].rstrip('"')
        if command.startswith("PAUSE"):
            self.world.paused.add(name)
        if command.startswith("RESUME"):
            self.world.paused.remove(name)

    def end(self, _limit_seconds):
        raise ConsoleError("limit", "a transaction is under way")


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(service, "Console", world.console)
    monkeypatch.setattr(service.sockets, "destroy", lambda one: world.ended.append(one.local_port) or True)
    monkeypatch.setattr(
        service.sockets, "connections", lambda address, _port: [one for one in world.sockets if one.address == address]
    )
    return world


@pytest.fixture
def config(tmp_path):
    return CONFIG._replace(
        databases_file=str(tmp_path / "databases.ini"),
        state_file=str(tmp_path / "state.json"),
        metrics_file=str(tmp_path / "metrics.prom"),
    )


@pytest.fixture
def pooler(world, config):
    return service.Pooler(config)


def test_a_route_is_written_and_loaded_once(world, pooler, config):
    for now in (0.0, 1.0, 60.0):
        pooler.steer(TO_DB1, [], now)
    assert world.commands == ["RELOAD"]
    assert "app = host=192.0.2.31 " in Path(config.databases_file).read_text()
    assert os.stat(config.databases_file).st_mode & 0o777 == 0o640


def test_what_pgbouncer_does_not_take_is_tried_again_and_said(world, pooler):
    world.away = True
    pooler.steer(TO_DB1, [], 0.0)
    assert pooler.problem == "connection refused"
    world.away = False
    pooler.steer(TO_DB1, [], 0.1)
    assert world.commands == []
    pooler.steer(TO_DB1, [], 0.6)
    assert (world.commands, pooler.problem) == (["RELOAD"], None)


def test_connections_to_the_old_writer_are_ended_and_those_to_the_new_one_stay(world, pooler):
    pooler.steer(TO_DB1, [], 0.0)
    world.serve("app", "192.0.2.31", 4001)
    world.serve("app", "192.0.2.32", 4002)
    # A report that is under way on a standby that is no longer read from, and well, may end.
    world.serve("app_ro", "192.0.2.32", 4003)
    world.serve("pgbouncer", "", 0)
    pooler.steer(TO_DB2, [], 10.0)
    assert world.ended == [4001]


def test_connections_to_a_host_that_is_gone_are_ended_also_those_that_are_only_being_made(world, pooler):
    pooler.steer(TO_DB1, [], 0.0)
    world.serve("app_ro", "192.0.2.31", 4001)
    world.sockets = [
        Connection("192.0.2.21", 4002, "192.0.2.31", 5432, os.getuid()),
        Connection("192.0.2.21", 4003, "192.0.2.31", 5432, os.getuid() + 1),
        Connection("192.0.2.21", 4004, "192.0.2.32", 5432, os.getuid()),
    ]
    pooler.steer(TO_DB2, ["192.0.2.31"], 10.0)
    assert world.ended == [4001, 4002]
    assert pooler.cut == 2


def test_a_host_that_is_gone_and_still_the_last_writer_keeps_its_connections(world, pooler):
    pooler.steer(TO_DB1, [], 0.0)
    world.serve("app", "192.0.2.31", 4001)
    pooler.steer(TO_DB1._replace(held_since=10.0), ["192.0.2.31"], 10.0)
    assert world.ended == []


def test_clients_are_held_back_and_go_on_when_the_new_route_is_loaded(world, pooler, tmp_path):
    pooler.steer(TO_DB1, [], 0.0)
    pooler.steer(TO_DB1._replace(held_since=10.0), [], 10.0)
    pooler.steer(TO_DB1._replace(held_since=10.0), [], 11.0)
    assert (world.paused, (tmp_path / "held").read_text()) == ({"app"}, "app")
    pooler.steer(TO_DB2, [], 14.0)
    assert world.commands == ["RELOAD", 'PAUSE "app"', "RELOAD", 'RESUME "app"']
    assert not (tmp_path / "held").exists()


def test_what_an_operator_paused_stays_paused(world, pooler):
    world.paused = {"app"}
    pooler.steer(TO_DB1._replace(held_since=0.0), [], 0.0)
    pooler.steer(TO_DB2, [], 1.0)
    assert world.paused == {"app"}
    assert world.commands == ["RELOAD", "RELOAD"]
    # It was a switchover; the next failover holds clients back as ever.
    world.paused = set()
    pooler.steer(TO_DB2._replace(held_since=60.0), [], 60.0)
    assert world.paused == {"app"}


def test_what_an_operator_resumed_meanwhile_is_no_fault(world, pooler):
    pooler.steer(TO_DB1._replace(held_since=0.0), [], 0.0)
    world.paused = set()
    pooler.steer(TO_DB2, [], 1.0)
    assert pooler.problem is None
    assert 'RESUME "app"' not in world.commands


def test_what_the_follower_before_held_back_is_let_go_by_the_next(world, pooler, config):
    pooler.steer(TO_DB1._replace(held_since=0.0), [], 0.0)
    after = service.Pooler(config)
    after.adopt()
    after.steer(TO_DB2, [], 0.0)
    assert world.paused == set()


def test_what_the_follower_before_held_back_goes_on_also_when_no_guard_is_heard(world, pooler, config):
    pooler.steer(TO_DB1._replace(held_since=0.0), [], 0.0)
    after = service.Pooler(config)
    after.adopt()
    world.away = True
    after.let_go(1.0)
    assert "refused" in after.problem
    world.away = False
    after.let_go(60.0)
    assert (world.paused, after.problem) == (set(), None)


def test_a_hold_that_was_not_done_to_its_end_is_done_again(world, pooler, tmp_path):
    world.refused = {'PAUSE "app"'}
    held = TO_DB1._replace(held_since=0.0)
    pooler.steer(held, [], 0.0)
    assert (world.paused, pooler.problem) == (set(), "closed in the middle")
    world.refused = set()
    pooler.steer(held, [], 60.0)
    assert (world.paused, pooler.problem) == ({"app"}, None)
    assert (tmp_path / "held").read_text() == "app"


def test_a_follower_that_is_stopped_leaves_nobody_waiting(world, pooler):
    pooler.steer(TO_DB1._replace(held_since=0.0), [], 0.0)
    pooler.release()
    assert world.paused == set()
