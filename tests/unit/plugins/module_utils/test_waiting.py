from ansible_collections.escala.ha.plugins.module_utils._verdict import Check
from ansible_collections.escala.ha.plugins.module_utils._waiting import settle

CHECK = Check(1, "some_check", "Something holds")


class Time:
    def __init__(self):
        self.now = 0.0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def passes_at_attempt(number, calls):
    def check():
        calls.append(number)
        return CHECK.passes("yes") if len(calls) >= number else CHECK.fails("no")

    return check


def settled(checks, timeout):
    time = Time()
    return settle(checks, timeout, time.clock, time.sleep), time.now


def test_a_check_that_passes_is_taken_once_and_costs_no_time():
    calls = []
    verdicts, took = settled([passes_at_attempt(1, calls)], 10)
    assert verdicts[0]["passed"]
    assert (len(calls), took) == (1, 0)


def test_a_check_is_taken_again_until_it_passes():
    calls = []
    verdicts, took = settled([passes_at_attempt(4, calls)], 10)
    assert verdicts[0]["passed"]
    assert (len(calls), took) == (4, 1.5)


def test_the_time_limit_ends_it_with_the_last_verdict():
    calls = []
    verdicts, took = settled([passes_at_attempt(100, calls)], 2)
    assert not verdicts[0]["passed"]
    assert took == 2


def test_without_time_everything_is_still_looked_at_once():
    calls = []
    verdicts, took = settled([passes_at_attempt(2, calls)], 0)
    assert not verdicts[0]["passed"]
    assert (len(calls), took) == (1, 0)


def test_a_passed_check_keeps_its_evidence_while_others_are_waited_for():
    early, late = [], []
    verdicts, _took = settled([passes_at_attempt(1, early), passes_at_attempt(3, late)], 10)
    assert [verdict["passed"] for verdict in verdicts] == [True, True]
    assert len(early) == 1
