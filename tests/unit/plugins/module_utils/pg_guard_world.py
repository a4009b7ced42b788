"""One data node whose server, unit and peers only write down what they are told, around the guard's real parts and a real directory."""

from __future__ import annotations

import json
import struct
import threading

from ansible_collections.escala.ha.plugins.module_utils import _pg_guard_node
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Heard, NodeState, Rank, Standby
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import Timings, config_from
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_control import ActError
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import Control, DataDirectory
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_local import Look
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_sql import Slot, Status

IDENTIFIER = "7400000000000000001"
# Beyond what Linux gives to any process: a test that signals it must not hit one of the machine it runs on.
PID = 4_194_305
NAMES = 'ANY 1 ("db1", "db2", "db3")'
IN_PRODUCTION = 6

POSTGRESQL = {
    "version": 17,
    "cluster": "main",
    "port": 5432,
    "data_directory": "/var/lib/postgresql/17/main",
    "configuration_file": "/etc/postgresql/17/main/postgresql.conf",
    "binaries": "/usr/lib/postgresql/17/bin",
    "unit": "postgresql@17-main",
    "user": "postgres",
    "socket_directory": "/var/run/postgresql",
    "guard_role": "escala_guard",
    "replication_user": "replicator",
    "password_file": "/etc/escala/postgresql.pgpass",
    "ca_file": "/etc/ssl/escala/ca.pem",
}
VALUES = {
    "node": "db1",
    "data_nodes": {"db1": "192.0.2.11", "db2": "192.0.2.12", "db3": "192.0.2.13"},
    "witnesses": {},
    "listen_address": "192.0.2.11",
    "port": 5433,
    "identity": {"ca_file": "ca.pem", "certificate_file": "me.crt", "key_file": "me.key"},
    "timings": {**Timings()._asdict(), "request_timeout_seconds": 0.2},
    "postgresql": POSTGRESQL,
    "automatic": True,
    "continue_alone": False,
    "catalogue_database": None,
}


def config(**changes):
    return config_from(json.dumps({**VALUES, **changes}))


WITNESS = {"node": "w", "witnesses": {"w": "192.0.2.20"}, "postgresql": None}


class Clock:
    """Stands for the module time: what sleeps moves it."""

    def __init__(self, now=1000.0):
        self.now = now

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def status(**changes):
    """A standby that has all and receives nothing."""
    base = Status(
        in_recovery=True,
        version=170000,
        received_lsn=100,
        replayed_lsn=100,
        written_lsn=None,
        written_timeline=None,
        replay_lag_seconds=0.0,
        waits_for_wal=True,
        receiver_status=None,
        receiver_host=None,
        conninfo="",
        slot="",
        synchronous="",
        standbys=(),
        slots=(),
    )
    return base._replace(**changes)


def primary_status(timeline=2, **changes):
    return status(
        in_recovery=False,
        received_lsn=None,
        replayed_lsn=None,
        written_lsn=100,
        written_timeline=timeline,
        slots=(Slot("db2", True, False), Slot("db3", True, False)),
        standbys=(Standby("db2", "streaming", "quorum", 100), Standby("db3", "streaming", "quorum", 100)),
        **changes,
    )


def look(found=None, timeline=2, **changes):
    base = Look(
        at=1.0,
        control=Control(IDENTIFIER, False, None),
        pid=PID,
        status=found or status(),
        rank=Rank(timeline, 100),
        rank_final=True,
    )
    return base._replace(**changes)


def write_control(data, identifier=int(IDENTIFIER), state=IN_PRODUCTION, lsn=0, timeline=0, checkpoint=1):
    """A pg_control as PostgreSQL 15 to 18 lay it out, of which only what the guard reads is filled in."""
    content = bytearray(b"\xaa" * 8192)
    struct.pack_into("<Q", content, 0, identifier)
    struct.pack_into("<I", content, 16, state)
    struct.pack_into("<I", content, 48, checkpoint)
    struct.pack_into("<QI", content, 136, lsn, timeline)
    (data / "global").mkdir(parents=True, exist_ok=True)
    (data / "global" / "pg_control").write_bytes(content)


class Data(DataDirectory):
    """A real directory with a server that only has a number."""

    pid = PID

    def postmaster(self):
        return self.pid


class Observer:
    def __init__(self, world):
        self.world = world
        self.look = Look()
        self.alive = True
        self.silent = 0.0
        self.coming = []
        self.blind = False

    def lives(self):
        return self.alive

    def silent_seconds(self):
        return self.silent

    def wake(self, _busy_seconds=0.0):
        pass

    def after(self, _moment, _limit_seconds):
        self.world.did.append("look")
        if self.blind:
            raise TimeoutError("the server was not seen in time")
        if self.coming:
            self.look = self.coming.pop(0)
        return self.look


class Server:
    def __init__(self, world):
        self.world = world
        self.broken = {}
        self.has_catalogue = True
        self.comes_out_on = None
        self.leaves_recovery = True

    def _do(self, what):
        self.world.did.append(what)
        for word, error in self.broken.items():
            if what.startswith(word):
                raise error

    def set_upstream(self, upstream, slot, _limit_seconds):
        self._do(f"upstream {upstream or 'none'} {slot}".strip())

    def set_synchronous(self, names, _limit_seconds):
        self._do(f"synchronous {names}")

    def promote(self, _limit_seconds):
        self._do("promote")
        return self.leaves_recovery

    def status(self, _limit_seconds):
        self._do("status")
        return primary_status(self.comes_out_on)

    def dismiss(self, nodes, _limit_seconds):
        self._do(f"dismiss all but {' '.join(nodes)}")

    def catalogue(self, database, primary, _limit_seconds):
        self._do(f"catalogue {database} {primary}")
        return self.has_catalogue

    def checkpoint(self, _limit_seconds):
        self._do("checkpoint")

    def create_slot(self, name, _limit_seconds):
        self._do(f"create slot {name}")

    def drop_slot(self, name, _limit_seconds):
        self._do(f"drop slot {name}")


class Unit:
    """Stands for the guard's Control."""

    def __init__(self, world):
        self.world = world
        self.dies = True
        self.by_unit = True
        self.receiving = [False]
        self.broken = {}

    def _do(self, what):
        self.world.did.append(what)
        if what.split()[0] in self.broken:
            raise ActError(self.broken[what.split()[0]])

    def conninfo_to(self, name):
        return f"host='{name}'"

    def slot(self):
        return "db1"

    def receives(self):
        found = self.receiving[0] if len(self.receiving) == 1 else self.receiving.pop(0)
        self.world.did.append("receives" if found else "receives nothing")
        return found

    def kill(self):
        self._do("kill")
        self.world.observer.alive = not self.dies
        return self.dies

    def in_unit(self):
        return self.by_unit

    def thaw(self):
        pass

    def start(self):
        self._do("start")

    def stop(self):
        self._do("stop")
        self.world.observer.alive = False

    def rewind(self, source):
        self._do(f"rewind {source}")

    def copy(self, source):
        self._do(f"copy {source}")
        return f"a copy of {source}"

    def swap(self, copied):
        self._do(f"swap {copied}")


class OtherGuard:
    """Stands for the connection to another guard, with an answer for each ballot or an error."""

    def __init__(self, answer, asked):
        self.answer, self.asked = answer, asked

    def post(self, path, body):
        self.asked.append((path, body["pre"], body["timeline"]))
        answer = self.answer(body)
        if isinstance(answer, Exception):
            raise answer
        return answer.to_json()

    def close(self):
        pass


class Others:
    """Stands for the peers: what they last said, and how they answer a ballot."""

    def __init__(self):
        self.said = {}
        self.answers = {}
        self.asked = []

    def heard(self):
        return dict(self.said)

    def sees(self):
        return {name: one.age_seconds if one.state else None for name, one in self.said.items()}

    def say(self, *states, age=0.1):
        self.said.update({state.node: Heard(state, age) for state in states})

    def peer(self, name):
        return OtherGuard(self.answers.get(name, lambda _ballot: OSError("no answer")), self.asked)


class Journal(list):
    """What was done, for whom it is told at the moment in which it is."""

    def __init__(self):
        super().__init__()
        self.hooks = []

    def append(self, what):
        super().append(what)
        for hook in self.hooks:
            hook(what)


class World:
    """What one guard has around it. `did` is all that was done, in order."""

    def __init__(self, tmp_path, monkeypatch):
        self.did = Journal()
        self.directory = tmp_path / "memory"
        self.directory.mkdir()
        self.path = tmp_path / "main"
        (self.path / "pg_wal").mkdir(parents=True)
        (self.path / "PG_VERSION").write_text("17\n")
        self.observer, self.server, self.control = Observer(self), Server(self), Unit(self)
        self.data = Data(str(self.path))
        write_control(self.path)
        self.peers = Others()
        monkeypatch.setattr(_pg_guard_node, "Postgres", lambda _config, _seen: self)
        monkeypatch.setattr(_pg_guard_node, "Peers", lambda _config, _changed: self.peers)

    def stands(self, *, timeline=2, joined=True, synchronous=NAMES, **changes):
        """Make this node a standby that has all it can have."""
        self.observer.look = look(status(synchronous=synchronous, **changes), timeline)
        if joined:
            self.remember("joined", IDENTIFIER)

    def leads(self, timeline=2, elected=True, **changes):
        """Make this node primary, elected where nothing else is said."""
        self.observer.look = look(primary_status(timeline, **changes), timeline)
        self.remember("joined", IDENTIFIER)
        if elected:
            self.remember("elected", timeline)
            self.remember("promise", {"timeline": timeline, "candidate": "db1"})
            self.remember("quorum", {"version": [timeline, 0], "out": []})

    def remember(self, name, value):
        (self.directory / f"{name}.json").write_text(json.dumps(value))

    def remembered(self, name):
        """What is on the disk now."""
        file = self.directory / f"{name}.json"
        return json.loads(file.read_text()) if file.exists() else None

    def node(self, **changes):
        return _pg_guard_node.Node(config(**changes), lambda: None, str(self.directory))

    def each_time(self, act, take):
        """The results of `take` from each time that something was done, taken at that very moment."""
        taken = []
        self.did.hooks.append(lambda what: taken.append(take()) if what.startswith(act) else None)
        return taken


def peer(name, role="standby", timeline=2, lsn=100, **changes):
    """What another node says of itself."""
    return NodeState(
        name,
        role,
        writable=role == "primary",
        timeline=timeline,
        lsn=lsn,
        **{"joined": True, "rank_final": True, "system_identifier": IDENTIFIER, **changes},
    )


def finish(name):
    """Wait for an act that was begun under this name."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(5.0)
