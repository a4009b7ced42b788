import re

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pgbouncer import ConsoleError
from ansible_collections.escala.ha.plugins.module_utils._pgbouncer_admin import ACTIONS, AdminError, Pace, bring


class Pooler:
    """One database of PgBouncer's, with transactions that end when the test says so."""

    def __init__(self, *, paused=False, disabled=False, busy=0, idle=0):
        self.paused = paused
        self.disabled = disabled
        self.busy = busy
        self.idle = idle
        self.old = 0
        self.commands = []
        self.open = 0
        self.now = 0.0

    def connect(self):
        self.open += 1
        return Session(self)

    def pace(self, seconds=2.0):
        return Pace(seconds, lambda: self.now, self.sleep)

    def sleep(self, seconds):
        self.now += seconds

    def rows(self):
        flags = {"paused": str(int(self.paused)), "disabled": str(int(self.disabled))}
        size = {"current_connections": str(self.busy + self.idle), "port": "5432", "host": "192.0.2.31"}
        return [{"name": "app", **flags, **size}, {"name": "pgbouncer"}]

    def servers(self):
        states = ["active"] * self.busy + ["idle"] * self.idle
        return [
            {"database": "app", "user": "app", "state": state, "addr": "192.0.2.31", "port": "5432"}
            | {"close_needed": str(int(number < self.old))}
            for number, state in enumerate(states)
        ] + [{"database": "app_ro", "user": "app", "state": "active", "addr": "192.0.2.32", "port": "5432"}]


class Session:
    def __init__(self, pooler):
        self.pooler = pooler

    def ask(self, command, limit_seconds=2.0):
        if command == "SHOW DATABASES":
            return self.pooler.rows()
        if command == "SHOW SERVERS":
            return self.pooler.servers()
        self.begin(command)
        return self.end(limit_seconds)

    def begin(self, command):
        self.pooler.commands.append(command)
        verb = command.split()[0]
        if verb == "PAUSE":
            self.pooler.paused, self.pooler.idle = True, 0
        elif verb == "RESUME":
            self.pooler.paused = False
        elif verb == "DISABLE":
            self.pooler.disabled = True
        elif verb == "ENABLE":
            self.pooler.disabled = False
        elif verb == "KILL":
            self.pooler.paused, self.pooler.busy, self.pooler.idle = True, 0, 0
        elif verb == "RECONNECT":
            self.pooler.idle, self.pooler.old = 0, self.pooler.busy

    def end(self, limit_seconds):
        if self.pooler.commands[-1].startswith("PAUSE") and self.pooler.busy:
            self.pooler.now += limit_seconds
            raise ConsoleError("limit", "PgBouncer's console did not answer in time")
        return []

    def close(self):
        self.pooler.open -= 1


@pytest.mark.parametrize(
    ("action", "before", "command"),
    [
        ("pause", {}, 'PAUSE "app"'),
        ("pause", {"idle": 3}, 'PAUSE "app"'),
        ("resume", {"paused": True}, 'RESUME "app"'),
        ("disable", {}, 'DISABLE "app"'),
        ("enable", {"disabled": True}, 'ENABLE "app"'),
        ("reconnect", {"idle": 1}, 'RECONNECT "app"'),
        ("kill", {"busy": 1}, 'KILL "app"'),
    ],
)
def test_it_is_done_once(action, before, command):
    pooler = Pooler(**before)
    first = bring(action, "app", pooler.connect, pooler.pace())
    second = bring(action, "app", pooler.connect, pooler.pace())
    assert (first.changed, second.changed, pooler.commands) == (True, False, [command])
    assert first.database == second.database
    assert pooler.open == 0


@pytest.mark.parametrize("action", [action for action in ACTIONS if action != "resume"])
def test_check_mode_says_what_would_be_done_and_does_nothing(action):
    pooler = Pooler(busy=1, disabled=action == "enable")
    assert bring(action, "app", pooler.connect, pooler.pace(), check_mode=True).changed
    assert pooler.commands == []


def test_a_reload_is_a_change_each_time():
    pooler = Pooler()
    assert [bring("reload", "", pooler.connect, pooler.pace()) for _ in range(2)] == [(True, None)] * 2
    assert pooler.commands == ["RELOAD", "RELOAD"]


def test_a_pause_that_a_transaction_outlasts_is_undone_and_says_whose_it_is():
    pooler = Pooler(busy=2)
    with pytest.raises(
        AdminError, match="2 transactions under way after 2 s .192.0.2.31:5432 as app.: it goes on as before"
    ):
        bring("pause", "app", pooler.connect, pooler.pace())
    assert (pooler.paused, pooler.commands[-1], pooler.open) == (False, 'RESUME "app"', 0)


def test_a_pause_of_somebody_else_is_not_undone():
    pooler = Pooler(paused=True, busy=1)
    with pytest.raises(AdminError, match="it stays paused, as it was"):
        bring("pause", "app", pooler.connect, pooler.pace())
    assert (pooler.paused, pooler.commands) == (True, [])


def test_a_pause_of_somebody_else_is_waited_for():
    pooler = Pooler(paused=True, busy=1)
    pace = Pace(2.0, lambda: pooler.now, lambda seconds: (pooler.sleep(seconds), setattr(pooler, "busy", 0)))
    assert bring("pause", "app", pooler.connect, pace).changed
    assert pooler.commands == []


def test_connections_that_stay_after_a_reconnect_are_counted():
    pooler = Pooler(busy=2)
    with pytest.raises(AdminError, match="2 connections from before after 2 s"):
        bring("reconnect", "app", pooler.connect, pooler.pace())


def test_a_database_that_is_not_there_is_named_with_those_that_are():
    pooler = Pooler()
    with pytest.raises(AdminError, match="no database orders; there are app"):
        bring("pause", "orders", pooler.connect, pooler.pace())
    with pytest.raises(AdminError, match="^no database is named; there are app$"):
        bring("pause", "", pooler.connect, pooler.pace())


@pytest.mark.parametrize("said", ["FATAL: no authentication method is found", "FATAL: unix socket login rejected"])
def test_an_account_that_the_console_does_not_let_in_is_told_which_ones_it_does(said):
    def connect():
        raise ConsoleError("connection", said)

    with pytest.raises(AdminError, match=f"{said}; run this as root .become., or as the account that PgBouncer runs"):
        bring("pause", "app", connect, Pooler().pace())


def test_a_console_that_is_not_there_says_what_to_look_at():
    def connect():
        raise ConsoleError("connection", "No such file or directory")

    with pytest.raises(AdminError, match="No such file or directory; is the service pgbouncer running"):
        bring("pause", "app", connect, Pooler().pace())


def test_a_refusal_of_the_console_is_handed_on():
    pooler = Pooler()

    def refuse(self, command):
        raise ConsoleError("refused", "ERROR:  admin access needed")

    session = type("Refusing", (Session,), {"begin": refuse})
    with pytest.raises(AdminError, match=re.escape("refuses to pause app: ERROR:  admin access needed")):
        bring("pause", "app", lambda: session(pooler), pooler.pace())
