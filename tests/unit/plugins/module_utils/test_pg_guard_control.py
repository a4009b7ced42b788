"""How the guard starts, stops and kills PostgreSQL and gives it other data, with programs that only write down how they were called."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _pg_guard_control, _pg_guard_files
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_control import ActError, Control
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import DataDirectory
from tests.lab.eventually import eventually
from tests.unit.plugins.module_utils.pg_guard_world import POSTGRESQL, config, write_control

SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >>"{here}/log"
case "$*" in
*ActiveState*) cat "{here}/active" ;;
*ControlGroup*) cat "{here}/group" ;;
esac
[ ! -e "{here}/$1.fails" ] || {{ echo "Job   failed" >&2; exit 1; }}
"""
SETPRIV = """#!/bin/sh
shift 4
echo "$*" >>"{here}/log"
[ ! -e "{here}/${{1##*/}}.fails" ] || {{ cat "{here}/${{1##*/}}.fails" >&2; [ ! -e "{here}/once" ] || rm "{here}/${{1##*/}}.fails"; exit 1; }}
for word in "$@"; do case "$word" in --pgdata=*) mkdir -p "${{word#--pgdata=}}" ;; esac; done
"""


class Host:
    def __init__(self, tmp_path):
        self.here, self.main = tmp_path, tmp_path / "pg" / "main"
        (self.main / "pg_wal").mkdir(parents=True)
        (tmp_path / "bin").mkdir()
        for name, text in (("systemctl", SYSTEMCTL), ("setpriv", SETPRIV)):
            (tmp_path / "bin" / name).write_text(text.format(here=tmp_path))
            (tmp_path / "bin" / name).chmod(0o755)
        self.group = tmp_path / "cgroups" / "unit"
        self.group.mkdir(parents=True)
        (self.group / "cgroup.procs").write_text("")
        (tmp_path / "group").write_text("/unit\n")
        (tmp_path / "active").write_text("inactive\n")
        (tmp_path / "log").touch()
        self.data = DataDirectory(str(self.main))
        postgresql = {**POSTGRESQL, "data_directory": str(self.main), "binaries": "/pg/bin"}
        self.control = Control(config(postgresql=postgresql), self.data)

    def did(self):
        """The programs that were called, without questions."""
        return [line for line in (self.here / "log").read_text().splitlines() if "systemctl show" not in line]

    def fails(self, name, why="it is broken", once=False):
        (self.here / f"{name}.fails").write_text(f"{why}\n")
        if once:
            (self.here / "once").touch()


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(_pg_guard_control, "_CGROUPS", str(tmp_path / "cgroups"))
    monkeypatch.setattr(_pg_guard_control, "_KILL_SECONDS", 0.05)
    return Host(tmp_path)


@pytest.fixture
def postmaster(host):
    """A process that is taken for a postmaster, with a child that is taken for a receiver."""
    (host.here / "postgres").symlink_to("/bin/sh")
    script = '"$0" -c "sleep 60; :" "postgres: 17/main: walreceiver streaming" & echo; wait'
    with subprocess.Popen(
        [host.here / "postgres", "-c", script, host.here / "postgres"], stdout=subprocess.PIPE
    ) as one:
        one.stdout.readline()
        (host.main / "postmaster.pid").write_text(f"{one.pid}\n")
        yield one
        for pid in _pg_guard_control.children(one.pid):
            os.kill(pid, signal.SIGKILL)
        one.kill()


def test_a_standby_enters_its_primary_with_short_times_and_a_verified_name(host):
    info = host.control.conninfo_to("db2")
    for part in (
        "host='db2'",
        "hostaddr='192.0.2.12'",
        "application_name='db1'",
        "sslmode='verify-full'",
        "connect_timeout='2'",
        "tcp_user_timeout='5000'",
        "passfile='/etc/escala/postgresql.pgpass'",
    ):
        assert part in info.split()
    assert "password=" not in info
    assert "dbname" not in info


def test_a_start_clears_what_a_dead_server_left_and_does_not_wait(host):
    host.control.start()
    assert host.did() == ["systemctl reset-failed postgresql@17-main", "systemctl start --no-block postgresql@17-main"]
    assert (host.group / "cgroup.kill").read_text() == "1"


def test_a_start_that_is_under_way_is_not_disturbed(host):
    (host.here / "active").write_text("activating\n")
    host.control.start()
    assert host.did() == []
    assert not (host.group / "cgroup.kill").exists()


def test_a_start_that_fails_says_what_systemd_said(host):
    host.fails("start")
    with pytest.raises(ActError, match="systemctl failed with 1: Job failed"):
        host.control.start()


def test_a_stop_in_order_kills_nobody(host):
    host.control.stop()
    assert host.did() == ["systemctl stop postgresql@17-main"]
    assert not (host.group / "cgroup.kill").exists()


def test_what_does_not_stop_in_time_is_killed(host):
    host.fails("stop")
    host.control.stop()
    assert (host.group / "cgroup.kill").exists()


def test_a_server_that_was_started_by_hand_is_stopped_as_one(host, postmaster):
    host.control.stop()
    assert host.did()[1] == f"/pg/bin/pg_ctl stop --mode=fast --wait --pgdata={host.main}"


def test_one_that_was_started_by_hand_and_does_not_stop_in_time_is_killed(host, postmaster):
    host.fails("pg_ctl", "server does not shut down")
    host.control.stop()
    assert postmaster.wait() == -signal.SIGKILL


def test_a_frozen_server_outside_of_its_unit_is_killed_with_its_children(host, postmaster):
    [child] = _pg_guard_control.children(postmaster.pid)
    os.kill(postmaster.pid, signal.SIGSTOP)
    os.kill(child, signal.SIGSTOP)
    assert host.control.kill() is True
    assert postmaster.wait() == -signal.SIGKILL
    assert _pg_guard_control._title(child) == ""
    assert not host.control.receives()


def test_one_that_does_not_die_is_told_of_within_the_limit(host):
    (host.group / "cgroup.procs").write_text("99999999\n")
    assert host.control.kill() is False
    assert (host.group / "cgroup.kill").read_text() == "1"


def test_a_frozen_unit_is_thawed_by_its_kill_and_without_systemd_which_waits_for_what_it_started_there(host):
    for act in (host.control.kill, host.control.thaw):
        (host.group / "cgroup.freeze").write_text("1")
        host.fails("thaw", "Transport endpoint is not connected")
        act()
        assert (host.group / "cgroup.freeze").read_text() == "0"


def test_a_systemd_that_hangs_does_not_hide_the_unit(host):
    folder = host.here / "cgroups" / "system.slice" / "system-postgresql.slice" / POSTGRESQL["unit"]
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").write_text("")
    host.fails("show", "Transport endpoint is not connected")
    control = Control(config(postgresql={**POSTGRESQL, "data_directory": str(host.main)}), host.data)
    assert control.kill() is True
    assert (folder / "cgroup.kill").read_text() == "1"


def test_a_unit_that_started_after_the_guard_is_found(host):
    control = host.control
    (host.here / "group").write_text("/later\n")
    later = host.here / "cgroups" / "later"
    later.mkdir()
    (later / "cgroup.procs").write_text("")
    assert control.kill() is True
    assert (later / "cgroup.kill").exists()


def test_a_unit_without_a_group_has_nobody_to_kill(host, monkeypatch):
    monkeypatch.chdir(host.here)
    (host.here / "group").write_text("\n")
    control = Control(config(postgresql={**POSTGRESQL, "data_directory": str(host.main)}), host.data)
    for one in (host.control, control):
        assert one.kill() is True
    # Least of all in the directory that the guard happens to be in.
    assert not (host.here / "cgroup.kill").exists()


def test_a_server_outside_of_its_unit_dies_before_systemd_is_asked_which_may_hang(host, postmaster, monkeypatch):
    ends = []

    def asks(*_words, **_options):
        ends.append(postmaster.wait(5.0))
        return ""

    monkeypatch.setattr(_pg_guard_control, "_run", asks)
    assert host.control.kill() is True
    assert ends == [-signal.SIGKILL]


UNIT = POSTGRESQL["unit"]


@pytest.fixture
def groups(host, postmaster, monkeypatch):
    """What the kernel says of the postmaster's control groups, in a file; None for nothing."""
    file = host.here / "cgroup"

    def opens(path, *words, **options):
        return open(file if path == f"/proc/{postmaster.pid}/cgroup" else path, *words, **options)

    monkeypatch.setattr(_pg_guard_files, "open", opens, raising=False)
    return file


@pytest.mark.parametrize(
    ("said", "inside"),
    [
        (f"0::/system.slice/system-postgresql.slice/{UNIT}\n", True),
        (f"1:name=systemd:/user.slice\n0::/system.slice/{UNIT}\n", True),
        ("0::/user.slice/user-1000.slice/session-1.scope\n", False),
        (f"0::/system.slice/not-{UNIT}\n", False),
        (f"0::/system.slice/{UNIT}.old\n", False),
        # Only the unified hierarchy is systemd's on all that are supported.
        (f"1:name=systemd:/system.slice/{UNIT}\n0::/\n", False),
    ],
)
def test_a_server_is_in_its_unit_when_its_process_is_in_the_units_group(host, groups, said, inside):
    groups.write_text(said)
    assert host.control.in_unit() is inside


def test_where_a_server_is_needs_no_systemd_and_no_group_from_before(host, groups):
    host.fails("show")
    (host.here / "log").write_text("")
    groups.write_text(f"0::/another.slice/{UNIT}\n")
    assert host.control.in_unit()
    groups.write_text("0::/another.slice\n")
    assert not host.control.in_unit()
    assert (host.here / "log").read_text() == ""


def test_a_receiver_is_seen_in_the_process_table(host, postmaster):
    # The name is there once the child has become its own program.
    assert any(host.control.receives() for _look in range(500))
    (host.main / "postmaster.pid").unlink()
    assert not host.control.receives()


def test_a_rewind_is_marked_before_it_begins_and_whole_only_without_its_sources_settings(host):
    write_control(host.main)
    (host.main / "postgresql.auto.conf").write_text("primary_conninfo = 'host=''db3'''\n")
    host.control.rewind("db2")
    [call] = host.did()
    assert call.startswith(f"/pg/bin/pg_rewind --target-pgdata={host.main} --config-file=/etc/postgresql/17/main/")
    assert "--source-server=host='db2'" in call
    assert not any(host.data.upstream_settings().values())
    assert (host.main / "standby.signal").exists()
    assert host.data.control() is not None


def test_a_rewind_that_fails_leaves_data_that_is_none(host):
    write_control(host.main)
    host.fails("pg_rewind")
    with pytest.raises(ActError, match="setpriv failed with 1: it is broken"):
        host.control.rewind("db2")
    assert host.data.control() is None


def test_a_copy_is_made_beside_the_data_and_is_a_standby_of_nobody(host):
    (host.main / "kept").touch()
    (host.main.parent / ".main.new" / "half").mkdir(parents=True)
    copied = host.control.copy("db2")
    assert copied.path == str(host.main.parent / ".main.new")
    assert set(os.listdir(copied.path)) == {"standby.signal", "postgresql.auto.conf"}
    assert (host.main / "kept").exists()
    assert "--wal-method=stream" in host.did()[0]


NO_ROOM = "pg_basebackup: error: could not write file: No space left on device"


def test_data_that_is_of_no_use_stays_as_long_as_the_copy_has_room(host):
    host.data.mark_rewind(True)
    host.control.copy("db2")
    assert host.main.exists()


def test_data_that_is_of_no_use_gives_its_room_to_the_copy(host):
    host.data.mark_rewind(True)
    host.fails("pg_basebackup", NO_ROOM, once=True)
    host.control.copy("db2")
    assert not host.main.exists()
    assert len(host.did()) == 2


@pytest.mark.parametrize(("marked", "why"), [(False, NO_ROOM), (True, "server closed the connection unexpectedly")])
def test_a_copy_that_fails_takes_no_data_that_is_of_use_and_none_for_another_reason(host, marked, why):
    host.data.mark_rewind(marked)
    host.fails("pg_basebackup", why)
    with pytest.raises(ActError):
        host.control.copy("db2")
    assert host.main.exists()


def test_a_copy_that_fails_leaves_the_data_as_it_is(host):
    (host.main / "kept").touch()
    host.fails("pg_basebackup")
    with pytest.raises(ActError):
        host.control.copy("db2")
    assert (host.main / "kept").exists()


@pytest.mark.parametrize("here", [True, False])
def test_a_copy_takes_the_place_of_the_data_and_ends_a_half_rewind(host, here):
    copied = host.control.copy("db2")
    write_control(host.main.parent / ".main.new")
    (host.main / "old").touch()
    (host.main.parent / ".main.old" / "older").mkdir(parents=True)
    if not here:
        # Interrupted between the two names the last time.
        os.rename(host.main, host.main.parent / "away")
    host.data.mark_rewind(True)
    host.control.swap(copied)
    assert host.data.control() is not None
    assert not (host.main / "old").exists()
    assert {one.name for one in host.main.parent.iterdir()} - {"away"} == {"main"}


def test_a_half_rewind_is_marked_until_the_copy_has_its_place(host, monkeypatch):
    copied = host.control.copy("db2")
    host.data.mark_rewind(True)

    def fails(_source, _target):
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(os, "rename", fails)
    with pytest.raises(OSError, match="busy"):
        host.control.swap(copied)
    assert host.data.control() is None
    assert host.main.exists()


def test_a_program_that_takes_too_long_is_a_fault(host):
    (host.here / "bin" / "systemctl").write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(ActError, match="systemctl took more than 0.01 s"):
        _pg_guard_control._run("systemctl", "stop", seconds=0.01)


def test_a_program_that_takes_too_long_ends_with_what_it_has_begun(host):
    # The child has its output, for whose end one would wait.
    (host.here / "bin" / "systemctl").write_text(f"#!/bin/sh\nsleep 60 &\necho $! >{host.here}/child\nwait\n")
    with pytest.raises(ActError, match="took more than 0.5 s"):
        _pg_guard_control._run("systemctl", "stop", seconds=0.5)
    child = int((host.here / "child").read_text())
    eventually("its child is gone", lambda: not _alive(child), within=5)


def _alive(process):
    try:
        state = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_unit_is_killed_also_where_its_data_cannot_be_read(host, monkeypatch):
    def broken():
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(host.data, "postmaster", broken)
    with contextlib.suppress(OSError):
        host.control.kill()
    assert (host.group / "cgroup.kill").read_text() == "1"


@pytest.mark.parametrize("unknown", ["it has just ended", "its groups cannot be read", "it has none that is known"])
def test_a_server_of_which_nothing_is_known_is_not_said_to_be_outside_of_its_unit(host, groups, unknown):
    if unknown == "it has just ended":
        groups.write_text("0::/user.slice\n")
        (host.main / "postmaster.pid").unlink()
    elif unknown == "it has none that is known":
        groups.write_text("1:name=systemd:/user.slice\n")
    assert host.control.in_unit()
