"""How the guard watches its own server: what a look says, what it does not say, and for how long the server has been silent."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import SessionError
from ansible_collections.escala.ha.plugins.module_utils._pg_decisions import Rank
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import Control
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_local import Look, Observer, Process, judge_final
from tests.lab.eventually import eventually
from tests.unit.plugins.module_utils.pg_guard_world import IDENTIFIER, PID, look, primary_status, status

ERROR = SessionError("refused", "the database system is shutting down", "57P03")
LIMIT = SessionError("limit", "no answer within the limit")


@pytest.mark.parametrize(
    ("now", "before", "final"),
    [
        (primary_status(), None, True),
        # What came by a receiver since the start is all there, replayed or not.
        (status(received_lsn=200, replayed_lsn=100, waits_for_wal=False), None, True),
        # Without one it has all only when twice in a row nothing more could be replayed.
        (status(received_lsn=None), None, False),
        (status(received_lsn=None), look(status(received_lsn=None)), True),
        (status(received_lsn=None, waits_for_wal=False), look(status(received_lsn=None)), False),
        (status(received_lsn=None), look(status(received_lsn=None, waits_for_wal=False)), False),
        (status(received_lsn=None, replayed_lsn=150), look(status(received_lsn=None)), False),
        # What another process had replayed says nothing of this one.
        (status(received_lsn=None), look(status(received_lsn=None), pid=PID + 1), False),
        (status(received_lsn=None), look()._replace(status=None), False),
    ],
)
def test_a_position_is_final_only_when_nothing_on_this_disk_can_be_beyond_it(now, before, final):
    assert judge_final(now, before, PID) is final


class Data:
    """Stands for the data directory."""

    def __init__(self):
        self.pid = None
        self.histories = {2: ((1, 90),)}
        self.reads = 0
        self.rank = Rank(2, 100)

    def control(self):
        return Control(IDENTIFIER, False, None)

    def postmaster(self):
        return self.pid

    def rank_at(self, lsn):
        if self.rank is None:
            raise ValueError("no WAL file")
        return self.rank._replace(lsn=lsn)

    def history(self, timeline):
        self.reads += 1
        return self.histories.get(timeline, ())

    def free_bytes(self):
        return 2**30

    def timelines(self):
        return tuple(self.histories)


class Server:
    """Stands for the server: gives prepared answers, the last for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def status(self, _limit_seconds):
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def process():
    """A process that stands for the server's."""
    with subprocess.Popen(["sleep", "60"]) as running:
        yield running
        running.kill()


@pytest.fixture
def data(process):
    found = Data()
    found.pid = process.pid
    return found


def observer(data, *answers, seen=lambda: None):
    return Observer(data, Server(*answers), 60.0, 3.0, seen)


def test_a_standby_is_seen_with_the_timeline_of_its_files(data):
    found = observer(data, status()).look_once()
    assert (found.rank, found.history, found.timelines) == (Rank(2, 100), ((1, 90),), (2,))
    assert found.rank_final
    assert (found.error, found.free_bytes) == ("", 2**30)


def test_a_primary_is_seen_with_the_timeline_that_it_writes(data):
    found = observer(data, primary_status(7)).look_once()
    assert (found.rank, found.history) == (Rank(7, 100), ())


def test_a_standby_whose_files_say_no_timeline_has_no_rank(data):
    data.rank = None
    found = observer(data, status()).look_once()
    assert (found.rank, found.rank_final, found.history) == (None, False, ())


def test_without_a_process_only_the_files_speak(data):
    data.pid = None
    found = observer(data, status()).look_once()
    assert (found.pid, found.status, found.rank, found.rank_final) == (None, None, None, False)
    assert found.control.system_identifier == IDENTIFIER


def looks(watch, times):
    for _time in range(times):
        watch._look = watch.look_once()
    return watch.look


@pytest.mark.parametrize("error", [ERROR, LIMIT, SessionError("connection", "refused")], ids=lambda error: error.kind)
def test_a_server_that_does_not_answer_keeps_what_it_said_but_no_final_rank(data, error):
    found = looks(observer(data, status(), error), 2)
    assert (found.status, found.rank, found.rank_final) == (status(), Rank(2, 100), False)
    assert found.error == str(error)


def test_what_a_former_process_said_is_forgotten(data):
    watch = observer(data, status(), ERROR)
    looks(watch, 1)
    data.pid = os.getpid()
    found = looks(watch, 1)
    assert (found.pid, found.status, found.rank) == (os.getpid(), None, None)


def test_only_a_server_that_says_nothing_at_all_is_silent(data, monkeypatch):
    watch = observer(data, status(), LIMIT, LIMIT, ERROR, LIMIT, status())
    for silent in (False, True, True, False, True, False):
        looks(watch, 1)
        assert (watch.silent_seconds() > 0) is silent


@pytest.mark.parametrize("reading", ["control", "postmaster", "timelines", "free_bytes"])
def test_a_disk_that_hangs_whoever_reads_is_a_silent_server(data, monkeypatch, reading):
    watch = observer(data, status(), status())
    looks(watch, 1)
    assert watch.silent_seconds() == 0
    read, seen = getattr(data, reading), []

    def hangs():
        began = time.monotonic()
        eventually("some time has passed", lambda: time.monotonic() > began, within=5, every=0.001)
        seen.append(watch.silent_seconds())
        return read()

    monkeypatch.setattr(data, reading, hangs)
    looks(watch, 1)
    assert all(seconds > 0 for seconds in seen)
    assert seen
    assert watch.silent_seconds() == 0


def test_it_is_silent_since_it_was_first_asked_in_vain(data):
    watch = observer(data, LIMIT)
    looks(watch, 1)
    first = time.monotonic() - watch.silent_seconds()
    looks(watch, 1)
    assert time.monotonic() - watch.silent_seconds() == pytest.approx(first, abs=0.01)


def test_a_server_that_is_dead_does_not_hang(data, process):
    watch = observer(data, LIMIT)
    looks(watch, 1)
    process.kill()
    process.wait()
    assert not watch.lives()
    assert watch.silent_seconds() == 0.0


def test_the_history_of_a_timeline_is_read_once(data):
    watch = observer(data, status())
    looks(watch, 3)
    assert data.reads == 1
    data.rank = Rank(3, 0)
    assert looks(watch, 1).history == ()
    assert data.reads == 2


def running(watch):
    threading.Thread(target=watch.run, daemon=True).start()
    return watch


def test_a_look_that_was_begun_after_a_moment_is_waited_for(data):
    watch = running(observer(data, status()))
    moment = time.monotonic()
    assert watch.after(moment, 2.0).at >= moment


def test_a_look_that_does_not_come_in_time_is_no_look(data):
    class Hangs:
        def status(self, limit_seconds):
            threading.Event().wait(limit_seconds)
            raise LIMIT

    watch = running(Observer(data, Hangs(), 60.0, 0.5, lambda: None))
    with pytest.raises(TimeoutError):
        watch.after(time.monotonic(), 0.05)
    # The one who decides sees meanwhile that it is silent, and that it lives.
    assert watch.look == Look()


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), ValueError("no line of a history"), KeyError("recovery")], ids=repr
)
def test_what_cannot_be_read_or_makes_no_sense_says_nothing_of_what_is_there_and_ends_no_watch(data, error):
    seen = threading.Event()
    watch = running(observer(data, status(), seen=seen.set))
    first = watch.after(time.monotonic(), 2.0)
    assert first.rank_final

    def broken():
        raise error

    data.control = broken
    later = watch.after(time.monotonic(), 2.0)
    assert (later.status, later.rank, later.rank_final) == (first.status, first.rank, False)
    assert later.error == str(error)
    del data.control
    assert watch.after(time.monotonic(), 2.0).error == ""
    assert seen.is_set()


def test_only_the_watched_process_lives_and_only_until_it_ends(process):
    watch = Process()
    assert not watch.lives(None)
    assert not watch.lives(process.pid)
    watch.watch(process.pid)
    assert watch.lives(process.pid)
    assert not watch.lives(os.getpid())
    process.kill()
    process.wait()
    assert not watch.lives(process.pid)
    watch.watch(None)
    assert not watch.lives(process.pid)


def test_a_process_that_ended_before_it_was_watched_does_not_live(process):
    process.kill()
    process.wait()
    watch = Process()
    watch.watch(process.pid)
    assert not watch.lives(process.pid)


def test_a_wait_ends_with_the_process_or_when_woken_or_at_its_limit(process):
    watch, wake = Process(), os.eventfd(0)
    watch.watch(process.pid)

    def seconds(limit):
        began = time.monotonic()
        watch.wait_end(wake, limit)
        return time.monotonic() - began

    assert seconds(0.02) >= 0.02
    threading.Timer(0.01, process.kill).start()
    assert seconds(5.0) < 2.0
    process.wait()
    # One that has ended does not end the next wait: the caller would turn without a pause.
    assert seconds(0.02) >= 0.02
    os.eventfd_write(wake, 1)
    assert seconds(5.0) < 2.0
    os.close(wake)
