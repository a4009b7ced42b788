"""How stories wait."""

import pytest

from tests.lab.eventually import eventually, lasting, widened


class Time:
    def __init__(self):
        self.now = 0.0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def time():
    return Time()


@pytest.fixture(autouse=True)
def _on_a_quiet_machine(monkeypatch):
    monkeypatch.delenv("ESCALA_TIME_FACTOR", raising=False)


def wait(time, seen, within=2):
    return eventually("it is so", seen, within=within, every=0.5, clock=time.clock, sleep=time.sleep)


def test_what_is_seen_is_returned_as_soon_as_it_is_true(time):
    answers = iter([None, "", "lb2"])
    assert wait(time, lambda: next(answers)) == "lb2"
    assert time.now == 1.0


def test_the_time_limit_ends_it_with_the_sentence_and_what_was_seen_last(time):
    with pytest.raises(AssertionError, match=r"not within 2 s: it is so; seen last: \[\]"):
        wait(time, list)
    assert time.now <= 2


def test_an_error_while_looking_means_not_yet(time):
    answers = iter([ConnectionRefusedError("nobody"), AssertionError("no"), True])

    def seen():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert wait(time, seen) is True


def test_another_error_is_not_waited_for(time):
    with pytest.raises(KeyError):
        wait(time, lambda: {}["x"])


def test_a_busy_machine_gets_more_seconds(time, monkeypatch):
    monkeypatch.setenv("ESCALA_TIME_FACTOR", "3")
    assert widened(2) == 6
    with pytest.raises(AssertionError, match="not within 6 s"):
        wait(time, lambda: False)
    assert time.now == 5.5 or time.now == 6


def test_what_must_last_is_looked_at_for_the_whole_time(time):
    lasting("it stays so", lambda: True, seconds=3, every=0.5, clock=time.clock, sleep=time.sleep)
    assert time.now == 3


def test_what_ends_too_soon_is_said_with_what_was_seen(time):
    with pytest.raises(AssertionError, match=r"not for 3 s: it stays so; ended after 1.0 s with False"):
        lasting("it stays so", lambda: time.now < 1, seconds=3, every=0.5, clock=time.clock, sleep=time.sleep)
