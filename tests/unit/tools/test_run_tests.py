import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from tools import run_tests
from tools.counting import Counts, preparation
from tools.run_tests import STEPS, Result, Step, chosen, complaints, exit_status, left_out, startable, table

GOOD = Result(Counts(passed=1))
BAD = Result(Counts(failed=1))


def step(name, **settings):
    return Step(name, name, ["true"], **settings)


def names(steps):
    return [one.name for one in steps]


def run(*steps):
    return asyncio.run(run_tests.run(steps))


@pytest.fixture(autouse=True)
def output(tmp_path, monkeypatch):
    monkeypatch.setattr(run_tests, "OUTPUT", tmp_path)
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)


def test_two_steps_start_at_once_and_no_third():
    assert names(startable([step("a"), step("b"), step("c")], [])) == ["a", "b"]
    assert names(startable([step("c")], [step("a"), step("b")])) == []


@pytest.mark.parametrize("wait", ["needs", "after"])
def test_a_step_waits_for_others_where_this_run_has_them(wait):
    later = step("later", **{wait: ("lab",)})
    assert names(startable([later], [step("lab")])) == []
    assert names(startable([later, step("lab")], [])) == ["lab"]
    assert names(startable([later], [])) == ["later"]


def test_a_step_that_measures_has_the_machine_to_itself():
    measuring = step("measuring", alone=True)
    assert names(startable([measuring], [step("a")])) == []
    assert names(startable([measuring, step("a")], [])) == ["measuring"]
    assert names(startable([step("a")], [measuring])) == []


def test_what_needs_a_failed_step_is_left_out_and_what_only_comes_after_it_is_not():
    pending = [step("later", needs=("lab",)), step("last", after=("lab",)), step("other")]
    assert left_out(pending, {"lab": BAD}) == {"later": "lab"}
    assert left_out(pending, {"lab": GOOD}) == {}


def test_what_is_left_out_takes_what_needs_it_along():
    steps = [
        Step("lab", "", ["false"], preparation),
        step("b", needs=("a",)),
        step("a", needs=("lab",)),
        step("last", after=("b",)),
    ]
    results = run(*steps)
    assert {name: result.left_out_for for name, result in results.items()} == {
        "lab": "",
        "a": "lab",
        "b": "a",
        "last": "",
    }
    assert exit_status(results) == 1


@pytest.mark.parametrize(
    ("results", "status"),
    [
        pytest.param({"a": GOOD}, 0, id="all passed"),
        pytest.param({"a": GOOD, "b": BAD}, 1, id="one failed"),
        pytest.param({"a": GOOD, "b": Result(Counts(), left_out_for="a")}, 1, id="one was left out"),
        pytest.param({"a": Result(Counts())}, 1, id="no test ran"),
        pytest.param({}, 1, id="nothing ran"),
    ],
)
def test_the_exit_status_is_0_only_where_something_was_tested_and_nothing_failed(results, status):
    assert exit_status(results) == status


def test_the_table_says_how_each_step_ended():
    results = {
        "lab": Result(Counts(failed=1), 12.34),
        "stories": Result(Counts(), left_out_for="lab"),
        "unit": Result(Counts(3, 0, 1), 2),
    }
    assert table(results, 20).splitlines() == [
        "step              seconds  result",
        "lab                  12.3  FAILED: 0 passed, 1 failed",
        "stories               0.0  FAILED: not run, because lab failed",
        "unit                  2.0  3 passed, 0 failed, 1 skipped",
        "total                20.0",
    ]


def test_the_end_says_why_a_step_failed():
    results = run(Step("a", "", ["sh", "-c", "echo before; echo 'no such host'; exit 3"]), step("b"))
    assert complaints(results) == ["a: no such host"]


def test_the_end_says_that_a_step_was_stopped():
    results = run(Step("a", "", ["sh", "-c", "echo waiting; sleep 60"], limit_seconds=1))
    assert complaints(results) == ["a: waiting", "a: It was stopped after its limit of 1 s."]


def test_an_unknown_step_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"there is no step 'lnt'; there are .*mypy"):
        chosen(["lnt"])


def test_chosen_steps_keep_their_order():
    assert names(chosen(["unit", "lab"])) == ["lab", "unit"]
    assert chosen([]) == list(STEPS)


def test_every_step_waits_for_steps_that_are_listed_before_it():
    for number, one in enumerate(STEPS):
        assert {*one.needs, *one.after} <= set(names(STEPS[:number])), one.name


def test_what_a_step_prints_is_kept_without_colours(tmp_path):
    run(Step("a", "", ["printf", "\\033[31mred\\033[0m\\nplain"]))
    assert (tmp_path / "a.log").read_text() == "red\nplain"


def test_a_step_that_is_followed_shows_every_line(capsys):
    run(Step("a", "", ["sh", "-c", "seq 3; printf 'no end of line'"], shown=True))
    shown = [line.partition(" | ")[2] for line in capsys.readouterr().out.splitlines() if " | " in line]
    assert shown == ["1", "2", "3", "no end of line"]


def test_a_step_is_over_when_it_ends_whatever_it_leaves_running(tmp_path):
    begin = time.monotonic()
    run(Step("a", "", ["sh", "-c", f"sleep 20 & echo $! > {tmp_path}/pid"]))
    assert time.monotonic() - begin < 10
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_failed_step_shows_the_end_of_its_log(capsys):
    run(Step("a", "", ["sh", "-c", "seq 1000; exit 3"]))
    shown = capsys.readouterr().out.splitlines()
    assert "1000" in shown
    assert "900" not in shown


def test_a_step_beyond_its_limit_is_stopped_with_all_that_it_started(tmp_path, capsys):
    begin = time.monotonic()
    results = run(Step("a", "", ["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"], limit_seconds=1))
    assert time.monotonic() - begin < 10
    assert results["a"].counts == Counts(failed=1)
    assert "stopped after its limit of 1 s" in capsys.readouterr().out
    child = int((tmp_path / "pid").read_text())
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(child)], capture_output=True, text=True, check=False).stdout
    assert state.strip() in ("", "Z", "Zs", "ZN")


def test_an_interrupted_run_ends_its_steps():
    code = (
        "import asyncio, pathlib, signal, sys, tempfile\n"
        # A shell's background job has it ignored, and so would we.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tools import run_tests as r\n"
        "r.OUTPUT = pathlib.Path(tempfile.mkdtemp())\n"
        "asyncio.run(r.run([r.Step('a', '', ['sleep', '60'])]))\n"
    )
    root = run_tests.__file__.rpartition("/tools/")[0]
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    assert "begins" in process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(10) != 0
