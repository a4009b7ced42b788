"""The trial with a program in PgBouncer's place. What the real ones say, 1.18 and 1.24 alike, was noted from them."""

import os
import sys

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pgbouncer_trial as trial

CONFIGURATION = (
    "[databases]\n%include /etc/pgbouncer/x.ini\n\n[pgbouncer]\nlisten_addr = 192.0.2.21\npool_mode = transaction\n"
)

# Reads its file as PgBouncer does, as far as it matters here, and tells who started it.
PROGRAM = """
import os, pathlib, signal, socket, sys
path = sys.argv[-1]
text = pathlib.Path(path).read_text()
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {path}\\n{text}")
for number, line in enumerate(text.splitlines(), 1):
    key, _, value = line.partition(" = ")
    if key == "pool_mdoe":
        head = "2026-11-26 08:06:15.602 UTC [8218]"
        print(f"{head} LOG about to read", file=sys.stderr)
        print(f"{head} ERROR unknown parameter: pgbouncer/{key}", file=sys.stderr)
        print(f'{head} ERROR invalid value "{value}" for parameter {key} in configuration ({path}:{number})', file=sys.stderr)
        print(f"{head} FATAL cannot load config file", file=sys.stderr)
        sys.exit(1)
if "never_ready = 1" not in text:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(b"STATUS=up\\nREADY=1", os.environ["NOTIFY_SOCKET"])
signal.pause()
"""


@pytest.fixture
def attempt(tmp_path):
    """Try to start with a configuration, and return what the program was given and what is left of it."""

    def attempt(configuration, limit_seconds=20.0):
        trial.try_start(configuration, [sys.executable, "-c", PROGRAM, str(tmp_path / "given")], "", limit_seconds)

    return attempt


@pytest.fixture
def given(tmp_path):
    """The process that was started, its file, and that file's text."""

    def given():
        head, _, text = (tmp_path / "given").read_text().partition("\n")
        process, path = head.split()
        return int(process), path, text

    return given


def is_gone(process, path):
    return not os.path.exists(f"/proc/{process}") and not os.path.exists(os.path.dirname(path))


def test_one_that_would_start_is_ended_at_once_and_leaves_nothing(attempt, given):
    attempt(CONFIGURATION)
    process, path, _text = given()
    assert is_gone(process, path)


def test_it_takes_neither_port_nor_socket_nor_pid_file_from_the_one_that_serves(attempt, given):
    attempt(CONFIGURATION + "pidfile = /run/pgbouncer/pid\n")
    _process, path, text = given()
    assert text.startswith(CONFIGURATION)
    # Of settings that come twice the last one counts; in a section that comes twice all others would be as by default.
    last = dict(line.split(" =") for line in text.splitlines() if " =" in line)
    assert (last["listen_addr"], last["pidfile"], last["logfile"]) == ("", "", "")
    assert last["unix_socket_dir"].strip() == os.path.dirname(path)
    assert text.count("[pgbouncer]") == 1


def test_one_that_does_not_start_says_why_and_in_which_line(attempt, given):
    with pytest.raises(trial.TrialError) as caught:
        attempt(CONFIGURATION + "pool_mdoe = session\n")
    assert str(caught.value) == (
        "unknown parameter: pgbouncer/pool_mdoe;"
        ' invalid value "session" for parameter pool_mdoe in configuration (line 7); cannot load config file'
    )
    assert is_gone(*given()[:2])


def test_one_that_is_not_ready_in_time_is_none(attempt, given):
    with pytest.raises(trial.TrialError, match="it said nothing"):
        attempt(CONFIGURATION + "never_ready = 1\n", limit_seconds=1.0)
    assert is_gone(*given()[:2])


@pytest.mark.parametrize(
    ("configuration", "said"),
    [(CONFIGURATION + "[users]\napp = pool_mode=session\n", "its last section is users"), ("x", "section is none")],
)
def test_a_file_that_ends_in_another_section_is_not_tried(attempt, configuration, said):
    with pytest.raises(trial.TrialError, match=said):
        attempt(configuration)


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("2026-11-26 08:07:41.084 UTC [11863] FATAL TLS setup failed\n", "TLS setup failed"),
        ("2026-11-26 08:39:55.344 UTC 17746 FATAL Cannot open logfile: '/x'\n", "Cannot open logfile: '/x'"),
        ("setpriv: failed to execute\n  pgbouncer", "setpriv: failed to execute pgbouncer"),
    ],
)
def test_of_a_log_what_is_wrong_is_said(log, said):
    assert trial.reasons(log) == said


@pytest.fixture
def said_of(monkeypatch, tmp_path, capsys):
    """Run the program on a file with this content, and return its exit status and what it said."""

    def said_of(text, problem=None):
        def try_start(configuration):
            assert configuration == text
            if problem:
                raise problem

        monkeypatch.setattr(trial, "try_start", try_start)
        (tmp_path / "pgbouncer.ini").write_text(text)
        return trial.main([str(tmp_path / "pgbouncer.ini")]), capsys.readouterr().err

    return said_of


def test_a_good_configuration_is_passed_in_silence(said_of):
    assert said_of(CONFIGURATION) == (0, "")


def test_what_is_wrong_with_one_is_said_with_what_to_do(said_of):
    status, said = said_of(CONFIGURATION, trial.TrialError("unknown parameter: pgbouncer/pool_mdoe"))
    assert status == 1
    assert "would not start with this configuration" in said
    assert "pgbouncer/pool_mdoe. What the role does not set itself comes from pgbouncer_settings: correct it" in said


def test_a_trial_that_cannot_be_made_passes_nothing(said_of):
    assert said_of(CONFIGURATION, FileNotFoundError(2, "No such file", "setpriv")) == (
        1,
        "PgBouncer's configuration could not be tried: [Errno 2] No such file: 'setpriv'\n",
    )
