from __future__ import annotations

import os
import time

import pytest

from ansible_collections.escala.ha.plugins.module_utils._shared_storage_child import User, in_child, outcome_of
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_round import StorageError
from tests.unit.plugins.module_utils.shared_storage import CLOCK

NOBODY = User("nobody", 65534, 65534, [65534])


def do(work, user=None, limit_seconds=20):
    return in_child(work, user, limit_seconds, CLOCK)


def test_what_a_child_saw_and_the_step_it_came_to_are_known():
    def work(report):
        report.step("one")
        report.saw(a=1)
        report.step("two")
        report.saw(b=[2])

    assert do(work) == ({"a": 1, "b": [2]}, "two", "", "")


def test_a_child_that_hangs_is_given_up_and_what_it_told_is_kept(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def work(report):
        report.step("write")
        report.saw(a=1)
        # Nobody will ever write there.
        pipe.read_text()

    begin = time.monotonic()
    assert do(work, limit_seconds=0.2) == ({"a": 1}, "write", "hangs", "no answer within 0.2 s")
    assert time.monotonic() - begin < 2


def test_the_storage_s_refusal_is_told_as_it_is():
    def work(_report):
        raise StorageError("full", "it is full")

    assert do(work)[2:] == ("full", "it is full")


def test_a_fault_of_the_check_itself_is_told_and_not_lost():
    assert do(lambda _report: {}["x"])[2:] == ("error", "the check itself failed: KeyError: 'x'")


def test_a_child_that_dies_without_a_word_is_noticed():
    assert do(lambda _report: os._exit(3))[2] == "error"


def test_a_child_has_none_of_the_files_that_the_module_has_open(tmp_path):
    with (tmp_path / "open").open("w"):
        seen = do(lambda report: report.saw(names=sorted(os.readlink(f"/proc/self/fd/{n}") for n in (0, 1, 2))))
        count = do(lambda report: report.saw(count=len(os.listdir("/proc/self/fd"))))
    assert seen.seen["names"] == ["/dev/null"] * 3
    # Those, the way to the parent, and the folder that is listed.
    assert count.seen["count"] == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_the_work_is_done_as_the_user_with_his_groups_and_no_others():
    seen = do(lambda report: report.saw(who=[os.geteuid(), os.getegid(), *os.getgroups()]), NOBODY)
    assert seen.seen["who"] == [65534, 65534, 65534]


def test_who_may_not_become_the_user_is_told_so(monkeypatch):
    def refuse(_groups):
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "setgroups", refuse)
    assert do(lambda _report: None, NOBODY) == (
        {},
        "",
        "user",
        "only root can act as the application's user nobody; run it with become",
    )


def test_a_line_of_a_child_counts_in_the_order_in_which_it_came():
    lines = [{"step": "one"}, {"saw": {"a": 1}}, {"saw": {"a": 2}}, {"ended": True}]
    assert outcome_of(lines, True, 1) == ({"a": 2}, "one", "", "")
    assert outcome_of([], False, 1) == ({}, "", "hangs", "no answer within 1 s")
