import signal

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_switchover as switchover
from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import Answer
from ansible_collections.escala.ha.plugins.module_utils._pg_switchover import SwitchoverError, Time, Way
from ansible_collections.escala.ha.plugins.module_utils._pgbouncer import ConsoleError


class Clock:
    def __init__(self):
        self.now = 0.0

    def sleep(self, seconds):
        self.now += seconds

    def as_time(self):
        return Time(lambda: self.now, self.sleep)


def node(name, lsn=100, **changes):
    return {
        "name": name,
        "address": f"192.0.2.{name[-1]}",
        "reachable": True,
        "problem": None,
        "in_recovery": name != "db1",
        "lsn": lsn,
        "lag_bytes": 0,
        "standbys": [stream("db2"), stream("db3")] if name == "db1" else [],
        **changes,
    }


def stream(name, state="streaming", sync_state="quorum"):
    return {"name": name, "state": state, "sync_state": sync_state}


def choose(*nodes, wanted="", primary="db1"):
    return switchover.choose(primary, "nobody is confirmed", nodes, wanted, 1000)


def test_the_standby_that_is_furthest_takes_over():
    assert choose(node("db1"), node("db2", 100), node("db3", 120)) == Way("db1", "db3", "192.0.2.3")


def test_the_one_that_was_asked_for_takes_over_before_one_that_is_further():
    assert choose(node("db1"), node("db2", 100), node("db3", 120), wanted="db2").target == "db2"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reachable": False, "problem": "refused"}, r"db2 does not answer \(refused\)"),
        ({"in_recovery": False}, "db2 is out of recovery itself"),
        ({"lag_bytes": 1001}, "db2 is 1001 bytes behind, and 1000 are allowed"),
    ],
)
def test_a_node_that_could_not_take_over_at_once_is_refused_with_why(changes, said):
    with pytest.raises(SwitchoverError, match=said):
        choose(node("db1"), node("db2", **changes), node("db3"), wanted="db2")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], r"does not stream \(not connected\)"),
        ([stream("db2", "catchup")], r"does not stream \(catchup\)"),
        ([stream("db2", sync_state="async")], r"is no synchronous standby \(async\)"),
    ],
)
def test_a_node_that_the_primary_does_not_send_to_is_refused(rows, said):
    with pytest.raises(SwitchoverError, match=said):
        choose(node("db1", standbys=rows), node("db2"), wanted="db2")


def test_what_is_wrong_with_each_is_said_when_nobody_can():
    with pytest.raises(
        SwitchoverError, match="nobody can take over from db1: db2 does not answer .*; db3 does not stream"
    ):
        choose(node("db1", standbys=[]), node("db2", reachable=False), node("db3"))


@pytest.mark.parametrize(("wanted", "said"), [("db9", "db9 is no data node"), ("db1", "db1 is the primary already")])
def test_a_target_that_makes_no_sense_is_refused(wanted, said):
    with pytest.raises(SwitchoverError, match=said):
        choose(node("db1"), node("db2"), wanted=wanted)


def test_without_a_primary_it_says_why_there_is_none():
    with pytest.raises(SwitchoverError, match="no primary to switch from: nobody is confirmed"):
        choose(node("db2"), primary=None)


class Server:
    """Answers the statements in their order, and then again with the last answer."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def execute(self, statement, values=(), *, limit_seconds):
        self.asked.append((statement, list(values)))
        return Answer(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0], [])


def test_a_checkpoint_is_written_before_clients_wait():
    server = Server([])
    switchover.prepare(server, 3, 60)
    assert [statement for statement, _ in server.asked][1] == "CHECKPOINT"


@pytest.mark.parametrize(
    ("free", "filled"),
    [
        ([], []),
        ([["100"]], []),
        ([[str(3 << 20)]], []),
        ([[str((3 << 20) + 24)]], ["24"]),
        ([[str((5 << 20) + 8)]], [str(1 << 20), str(1 << 20), "8"]),
    ],
)
def test_where_wal_is_archived_most_of_its_segment_is_filled_up_before_clients_wait(free, filled):
    server = Server([], [], free, [])
    switchover.prepare(server, 3, 60)
    assert [values for statement, values in server.asked if "emit_message" in statement] == [[size] for size in filled]


def test_transactions_older_than_clients_may_wait_refuse_it_by_name():
    server = Server([["41", "app", "report", "700"], ["42", "app", "", "5"]])
    with pytest.raises(SwitchoverError, match=r"2 transactions .*, 3 s: pid 41 of app \(report\) for 700 s; pid 42"):
        switchover.prepare(server, 3, 60)
    assert len(server.asked) == 1


def test_nothing_is_handed_over_while_a_pooler_is_connected():
    clock = Clock()
    with pytest.raises(
        SwitchoverError, match=r"192\.0\.2\.21 still had 2 connections after 5 s, so nothing was handed"
    ):
        switchover.wait_let_go(Server([["2", "192.0.2.21"]]), "app", ["app"], ["192.0.2.21"], 5, clock.as_time())
    assert clock.now == pytest.approx(5, abs=0.1)


def test_the_wait_ends_with_the_last_connection():
    clock, server = Clock(), Server([["2", "x"]], [["1", "x"]], [["0", ""]])
    switchover.wait_let_go(server, "app", ["app", 'o"dd'], ["192.0.2.21"], 5, clock.as_time())
    assert clock.now == pytest.approx(0.04)
    assert server.asked[0][1] == ["app", '{"app","o\\"dd"}', '{"192.0.2.21"}']


class Pooler:
    """A console on which a database can be paused, and whose follower moves it after some looks."""

    def __init__(self, moves_after=3, paused=False, busy=False):
        self.host, self.paused, self.busy = "192.0.2.1", paused, busy
        self.looks, self.moves_after = 0, moves_after
        self.said = []

    def ask(self, command, limit_seconds=2.0):
        if command.startswith("SHOW"):
            self.looks += self.paused
            if self.looks > self.moves_after:
                self.host = "192.0.2.2"
            return [{"name": "app", "host": self.host, "paused": "1" if self.paused else "0"}]
        self.said.append(command)
        self.paused = False
        return []

    def begin(self, command):
        self.said.append(command)
        self.paused = True

    def end(self, limit_seconds):
        if self.busy:
            raise ConsoleError("limit", "no answer")
        return []


def held(pooler, limit=5.0):
    clock = Clock()
    return switchover.hold(lambda: pooler, "app", "192.0.2.2", 3.0, limit, clock.as_time())


def test_clients_wait_until_the_pool_leads_to_the_target():
    pooler = Pooler()
    found = held(pooler)
    assert (found.moved, found.hosts) == (True, ("192.0.2.2",))
    assert found.seconds == pytest.approx(0.06)
    assert pooler.said == ['PAUSE "app"', 'RESUME "app"']


def test_clients_go_on_when_nothing_moves():
    pooler = Pooler(moves_after=10_000)
    found = held(pooler, limit=2.0)
    assert (found.moved, pooler.paused) == (False, False)
    assert found.seconds == pytest.approx(2.0, abs=0.1)


def test_clients_go_on_when_transactions_do_not_end():
    pooler = Pooler(busy=True)
    with pytest.raises(SwitchoverError, match="was not paused within 3 s, and goes on"):
        held(pooler)
    assert not pooler.paused


class Told(Pooler):
    """A pooler at which the process is told to end: once at a look while clients wait, and once more while they are let go on."""

    def __init__(self, number, while_pausing=False):
        super().__init__(moves_after=10_000)
        self.number, self.while_pausing, self.told = number, while_pausing, 0

    def ask(self, command, limit_seconds=2.0):
        if command.startswith("RESUME") or (self.looks == 3 and not self.told):
            self._tell()
        return super().ask(command)

    def end(self, limit_seconds):
        if self.while_pausing:
            self._tell()
        return []

    def _tell(self):
        self.told += 1
        signal.raise_signal(self.number)


@pytest.mark.parametrize("while_pausing", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_clients_go_on_when_the_run_is_gone(number, while_pausing):
    pooler, before = Told(number, while_pausing), signal.getsignal(number)
    with pytest.raises(
        SwitchoverError, match=r"app goes on before it was led to 192\.0\.2\.2: it was told to end, by SIG"
    ):
        held(pooler)
    assert (pooler.paused, pooler.told) == (False, 2)
    assert pooler.said == ['PAUSE "app"', 'RESUME "app"']
    assert signal.getsignal(number) is before


class Deaf(Pooler):
    """A pooler that does not answer so many times when clients are to go on."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def ask(self, command, limit_seconds=2.0):
        if command.startswith("RESUME") and self.times:
            self.times -= 1
            raise ConsoleError("limit", "PgBouncer's console did not answer in time")
        return super().ask(command)


def test_a_pooler_that_does_not_answer_is_asked_again_to_let_clients_go_on():
    pooler = Deaf(times=4)
    assert held(pooler).moved
    assert not pooler.paused


def test_a_pool_that_cannot_be_resumed_is_said_to_be_one():
    with pytest.raises(SwitchoverError, match="app may be paused still, .* `RESUME app` on the console ends that"):
        held(Deaf(times=5))


def test_what_somebody_else_paused_is_left_alone():
    pooler = Pooler(paused=True)
    with pytest.raises(SwitchoverError, match="is paused already"):
        held(pooler)
    assert pooler.paused


def test_a_database_that_is_not_there_is_said_to():
    with pytest.raises(SwitchoverError, match="no database other"):
        switchover.hold(Pooler, "other", "192.0.2.2", 3.0, 5.0, Clock().as_time())


class TwoPools(Pooler):
    """One with a second database, for reads, that leads wherever the first one does; `deaf` ones cannot be resumed."""

    def __init__(self, also_paused=(), deaf=()):
        super().__init__()
        self.pauses, self.deaf = set(also_paused), deaf

    def ask(self, command, limit_seconds=2.0):
        if command.startswith("SHOW"):
            [row] = super().ask(command)
            return [{**row, "name": name, "paused": "1" if name in self.pauses else "0"} for name in ("app", "app_ro")]
        name = command.split('"')[1]
        if name in self.deaf:
            raise ConsoleError("limit", "no answer")
        self.pauses.discard(name)
        return super().ask(command)

    def begin(self, command):
        self.pauses.add(command.split('"')[1])
        super().begin(command)


def hold_both(pooler):
    return switchover.hold(lambda: pooler, "app", "192.0.2.2", 3.0, 5.0, Clock().as_time(), ["app_ro"])


def test_another_database_is_held_as_long():
    pooler = TwoPools()
    assert hold_both(pooler).moved
    assert pooler.said == ['PAUSE "app"', 'PAUSE "app_ro"', 'RESUME "app"', 'RESUME "app_ro"']
    assert not pooler.pauses


def test_one_that_somebody_paused_keeps_all_from_being_held():
    pooler = TwoPools(also_paused=["app_ro"])
    with pytest.raises(SwitchoverError, match="app_ro is paused already"):
        hold_both(pooler)
    assert pooler.said == []


def test_one_that_cannot_be_resumed_keeps_no_other_one_waiting():
    pooler = TwoPools(deaf=["app"])
    with pytest.raises(SwitchoverError, match="app may be paused still"):
        hold_both(pooler)
    assert pooler.pauses == {"app"}
