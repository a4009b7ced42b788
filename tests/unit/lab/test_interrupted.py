import contextlib
import os
import signal
import subprocess
import sys

import pytest

from tests.lab import interrupted

# A run that starts a worker in a session of its own, as Ansible does, says its number, and goes on.
RUN = """
import subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
print(worker.pid, flush=True)
worker.wait()
"""


def lives(process):
    """Whether a process runs still; one whose parent has not asked for its end does not."""
    with contextlib.suppress(FileNotFoundError), open(f"/proc/{process}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("with_workers", [False, True])
def test_workers_are_killed_with_the_run_where_a_story_wants_it(monkeypatch, tmp_path, with_workers):
    command = [sys.executable, "-c", RUN]
    monkeypatch.setattr(interrupted, "command_of", lambda name, *_arguments: (command, dict(os.environ), tmp_path))
    output = tmp_path / "log"
    with interrupted.killed_at_the_end("x.yml", output=output, with_workers=with_workers) as run:
        interrupted.eventually("the worker is there", lambda: output.read_text().endswith("\n"), within=20, every=0.02)
        worker = int(output.read_text())
        assert lives(worker)
    assert run.returncode == -signal.SIGKILL
    if with_workers:
        interrupted.eventually("the worker is gone", lambda: not lives(worker), within=5, every=0.02)
    else:
        assert lives(worker)
        os.kill(worker, signal.SIGKILL)


def test_what_was_started_is_found_through_all_that_started_it():
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        worker = int(run.stdout.readline())
        assert interrupted._started_by(run.pid) == [worker]
        os.kill(worker, signal.SIGKILL)
    assert interrupted._started_by(run.pid) == []


def test_the_strategy_is_ansible_s_own_unless_a_story_names_another(monkeypatch, tmp_path):
    said = [sys.executable, "-c", "import os; print(os.environ['ANSIBLE_STRATEGY'])"]
    monkeypatch.setattr(interrupted, "command_of", lambda name, *_arguments: (said, dict(os.environ), tmp_path))
    for names, expected in (({}, "linear"), ({"strategy": "mitogen_linear"}, "mitogen_linear")):
        with interrupted.killed_at_the_end("x.yml", output=tmp_path / "log", **names) as run:
            run.wait(20)
        assert (tmp_path / "log").read_text().strip() == expected
