# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, stop and kill the node's PostgreSQL, and give it other data."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_bounded import conninfo
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import Config, slot_name
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_files import DataDirectory
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_promise import sync_directory

_CGROUPS = "/sys/fs/cgroup"
_KILL_SECONDS = 2.0
_SYSTEMCTL_SECONDS = 10.0
_STOP_SECONDS = 20.0
_REWIND_SECONDS = 3600.0
_CLONE_SECONDS = 24 * 3600.0
_NO_ROOM = "No space left on device"


class ActError(Exception):
    """An act did not succeed; the text says what the program said."""


class Control:
    """The unit of one PostgreSQL and its data directory. What fails raises ActError or OSError."""

    def __init__(self, config: Config, data: DataDirectory) -> None:
        self._config = config
        self._postgresql = config.here
        self._data = data
        self._cgroup = self._find_cgroup()

    def conninfo_to(self, node: str, database: str = "", name: str = "") -> str:
        """How this node enters another one's PostgreSQL; the password is in the file that it names."""
        return conninfo(
            host=node,
            hostaddr=self._config.data_nodes[node],
            port=self._postgresql.port,
            user=self._postgresql.replication_user,
            dbname=database,
            application_name=name or self._config.node,
            passfile=self._postgresql.password_file,
            sslmode="verify-full",
            sslrootcert=self._postgresql.ca_file,
            connect_timeout=2,
            keepalives_idle=2,
            keepalives_interval=1,
            keepalives_count=3,
            tcp_user_timeout=5000,
        )

    def start(self) -> None:
        """Start the unit, and do not wait until it serves. What a dead server left behind is killed: it would keep the new one away."""
        state = _run("systemctl", "show", "--property=ActiveState", "--value", self._postgresql.unit).strip()
        if state == "activating":
            return
        self.kill()
        _run("systemctl", "reset-failed", self._postgresql.unit, check=False)
        _run("systemctl", "start", "--no-block", self._postgresql.unit)

    def stop(self) -> None:
        """Stop in order: all sessions end, the standbys get the last of the WAL. What does not stop in time is killed."""
        try:
            _run("systemctl", "stop", self._postgresql.unit, seconds=_STOP_SECONDS)
        except ActError:
            self.kill()
        if self._data.postmaster() is not None:
            # Started by hand, so the unit does not know it.
            try:
                self._as_owner(
                    "pg_ctl", "stop", "--mode=fast", "--wait", f"--pgdata={self._data.path}", seconds=_STOP_SECONDS
                )
            except ActError:
                self.kill()

    def kill(self) -> bool:
        """Kill every process of PostgreSQL at once, frozen ones as well; whether all are gone within two seconds.

        A process that waits for a disk ends when the disk answers, without another instruction of its own.
        """
        # A disk that cannot be read must not keep the unit from being killed.
        with contextlib.suppress(OSError):
            self._kill_outside()
        if not self._inside():
            self._cgroup = self._find_cgroup()
        deadline = time.monotonic() + _KILL_SECONDS
        while True:
            self._set("cgroup.kill", "1")
            # Whoever was killed does nothing more when it goes on. Whatever systemd starts in a frozen unit stands still, and systemd waits for it
            # and does nothing else on the whole host.
            self._set("cgroup.freeze", "0")
            left = self._kill_outside()
            if not left and not self._inside():
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)

    def receives(self) -> bool:
        """Whether a process of this server receives WAL. By the process table, for a server that is not consistent yet takes no questions."""
        postmaster = self._data.postmaster()
        return postmaster is not None and any(": walreceiver" in _title(pid) for pid in children(postmaster))

    def thaw(self) -> None:
        """Undo a freezer on the unit, in which a new process would stop as the old ones did. First without systemd, which may wait for one."""
        self._set("cgroup.freeze", "0")
        _run("systemctl", "thaw", self._postgresql.unit, check=False)

    def rewind(self, source: str) -> None:
        """Take back what this node has beyond the source's history; the server must have been stopped in order."""
        self._data.mark_rewind(True)
        self._as_owner(
            "pg_rewind",
            f"--target-pgdata={self._data.path}",
            f"--config-file={self._postgresql.configuration_file}",
            f"--source-server={self.conninfo_to(source, 'postgres', 'escala_rewind')}",
            "--no-ensure-shutdown",
            seconds=_REWIND_SECONDS,
        )
        # What came with the source's files are its own settings.
        self._data.write_upstream("", "")
        self._data.make_standby()
        self._data.mark_rewind(False)

    def copy(self, source: str) -> DataDirectory:
        """Copy the source's data beside ours, which stays as it is where it is of use; the server does not run where it is not."""
        draft = self._beside("new")
        try:
            self._back_up(source, draft)
        except ActError as error:
            # Half rewound, or a fork, it is of no use to the cluster, and goes when the copy needs the room.
            if _NO_ROOM not in str(error) or not os.path.exists(self._data.rewind_mark):
                raise
            shutil.rmtree(self._data.path, ignore_errors=True)
            self._back_up(source, draft)
        copied = DataDirectory(draft)
        copied.write_upstream("", "")
        copied.make_standby()
        return copied

    def _back_up(self, source: str, draft: str) -> None:
        shutil.rmtree(draft, ignore_errors=True)
        self._as_owner(
            "pg_basebackup",
            f"--pgdata={draft}",
            f"--dbname={self.conninfo_to(source, '', 'escala_clone')}",
            "--wal-method=stream",
            "--checkpoint=fast",
            seconds=_CLONE_SECONDS,
        )

    def swap(self, copied: DataDirectory) -> None:
        """Put a copy in the place of our data, with the server stopped."""
        old = self._beside("old")
        shutil.rmtree(old, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._data.path, old)
        os.rename(copied.path, self._data.path)
        sync_directory(os.path.dirname(self._data.path))
        self._data.mark_rewind(False)
        shutil.rmtree(old, ignore_errors=True)

    def slot(self) -> str:
        """The slot that this node streams from, on whichever node is primary."""
        return slot_name(self._config.node)

    def _beside(self, suffix: str) -> str:
        parent, name = os.path.split(self._data.path)
        return os.path.join(parent, f".{name}.{suffix}")

    def _find_cgroup(self) -> str:
        unit = self._postgresql.unit
        try:
            path = _run("systemctl", "show", "--property=ControlGroup", "--value", unit).strip()
            return _CGROUPS + path if path else ""
        except (ActError, OSError):
            # A systemd that hangs says nothing; the unit's folder has its name.
            found = (
                os.path.join(folder, name)
                for folder, names, _files in os.walk(_CGROUPS)
                for name in names
                if name == unit
            )
            return next(found, "")

    def _set(self, name: str, value: str) -> None:
        """Write to a file of the unit's control group, where there is one."""
        if self._cgroup:
            with contextlib.suppress(OSError), open(os.path.join(self._cgroup, name), "w", encoding="ascii") as file:
                file.write(value)

    def _inside(self) -> t.List[int]:
        if not self._cgroup:
            return []
        try:
            with open(os.path.join(self._cgroup, "cgroup.procs"), encoding="ascii") as file:
                return [int(line) for line in file]
        except OSError:
            return []

    def in_unit(self) -> bool:
        """Whether the server runs in its unit and not on somebody's own account, as far as that can be known."""
        return self._data.runs_in_unit(self._postgresql.unit)

    def _kill_outside(self) -> t.List[int]:
        left = self._outside()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left

    def _outside(self) -> t.List[int]:
        """The server's processes wherever they are: one that was started by hand is not in the unit."""
        postmaster = self._data.postmaster()
        return [] if postmaster is None else [postmaster, *children(postmaster)]

    def _as_owner(self, program: str, *arguments: str, seconds: float) -> None:
        _run(
            "setpriv",
            f"--reuid={self._postgresql.user}",
            f"--regid={self._postgresql.user}",
            "--init-groups",
            "--reset-env",
            os.path.join(self._postgresql.binaries, program),
            *arguments,
            seconds=seconds,
        )


def children(parent: int) -> t.List[int]:
    """The processes whose parent this is."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError), open(
                f"/proc/{name}/stat", encoding="utf-8"
            ) as file:
                if int(file.read().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(name))
    return found


def _title(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
        return file.read()
    return ""


def _run(program: str, *arguments: str, seconds: float = _SYSTEMCTL_SECONDS, check: bool = True) -> str:
    name = os.path.basename(program)
    # A group of its own, so that what a program has begun, as pg_basebackup does, can be ended with it.
    with subprocess.Popen(
        [program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd="/",
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as late:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise ActError(f"{name} took more than {seconds:g} s") from late
    if process.returncode and check:
        said = " ".join((errors or output).split())
        raise ActError(f"{name} failed with {process.returncode}: {said[-600:]}")
    return output
