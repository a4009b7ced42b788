# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether PgBouncer would start with a configuration: one is started beside the one that serves, and ended as soon as it is ready.

PgBouncer has no option that only checks. A reload with a line that it cannot read is said in its log alone: what comes before the line counts, what
comes after has its default, and the next start, maybe that of a reboot, does not come about.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import typing as t

PROGRAM = "/usr/sbin/pgbouncer"
# As whom Debian's unit runs it.
ACCOUNT = "postgres"

_READY_SECONDS = 10.0
_LOOK_SECONDS = 0.1
# In place of what the one that serves has: no port, a folder of its own for its socket, and its log where it is read from.
_OWN = """
listen_addr =
unix_socket_dir = {folder}
pidfile =
logfile =
syslog = 0
"""
# What is before the message in a line of its log: a moment, its process, a level.
_LINE = re.compile(r"^\S+ \S+ \S+ \[?\d+\]? (?P<level>[A-Z]+) (?P<message>.*)$")
# Where a fault is, in a file that nobody finds afterwards and whose lines are those of the configuration.
_PLACE = re.compile(r"\(\S+/trial\.ini:(\d+)\)")


class TrialError(Exception):
    """Why it would not start."""


def trial_text(configuration: str, folder: str) -> str:
    """A configuration as one beside the one that serves can have it. Its last section must be PgBouncer's own, as a section that comes again begins anew."""
    sections = re.findall(r"(?m)^\s*\[(.*)\]", configuration)
    if sections[-1:] != ["pgbouncer"]:
        raise TrialError(f"its last section is {sections[-1] if sections else 'none'}, and pgbouncer is expected")
    return configuration.rstrip("\n") + _OWN.format(folder=folder)


def reasons(log: str) -> str:
    """What one that did not start said, on one line."""
    said = [found for line in log.splitlines() if (found := _LINE.match(line))]
    wrong = [found["message"] for found in said if found["level"] in ("ERROR", "FATAL")]
    return _PLACE.sub(r"(line \1)", "; ".join(wrong) or " ".join(log.split()) or "it said nothing")


def try_start(
    configuration: str,
    program: t.Sequence[str] = (PROGRAM,),
    account: str = ACCOUNT,
    limit_seconds: float = _READY_SECONDS,
) -> None:
    """Return when one that has the configuration is ready, with nothing of it left; raises TrialError and OSError.

    It tells that it is ready as it tells systemd. Without an account it runs as who asks.
    """
    with tempfile.TemporaryDirectory(prefix="escala-pgbouncer-") as folder:
        path, log_path, notify = (os.path.join(folder, name) for name in ("trial.ini", "log", "notify"))
        with open(path, "w", encoding="utf-8") as file:
            file.write(trial_text(configuration, folder))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, open(log_path, "wb") as log:
            listener.bind(notify)
            if account:
                for mine in (folder, path, notify):
                    shutil.chown(mine, account)
            process = subprocess.Popen(
                [*_as(account), *program, path],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": notify},
            )
            try:
                ready = _is_ready(listener, process, limit_seconds)
            finally:
                process.kill()
                process.wait()
        if not ready:
            with open(log_path, encoding="utf-8", errors="replace") as said:
                raise TrialError(reasons(said.read()))


def _as(account: str) -> t.List[str]:
    return ["setpriv", f"--reuid={account}", f"--regid={account}", "--init-groups"] if account else []


def _is_ready(listener: socket.socket, process: subprocess.Popen[bytes], limit_seconds: float) -> bool:
    """Wait until it tells that it is ready; false when it has ended instead, or is not in time."""
    deadline = time.monotonic() + limit_seconds
    while time.monotonic() < deadline:
        if not select.select([listener], [], [], _LOOK_SECONDS)[0]:
            if process.poll() is not None:
                return False
        elif b"READY=1" in listener.recv(4096).split(b"\n"):
            return True
    return False


def main(arguments: t.Sequence[str]) -> int:
    """Try the configuration in a file, and say why when it is of no use."""
    try:
        with open(arguments[0], encoding="utf-8") as file:
            try_start(file.read())
    except TrialError as error:
        sys.stderr.write(
            f"PgBouncer would not start with this configuration, so it is not given to the one that runs: {error}."
            " What the role does not set itself comes from pgbouncer_settings: correct it there, and run again\n"
        )
        return 1
    except OSError as error:
        sys.stderr.write(f"PgBouncer's configuration could not be tried: {error}\n")
        return 1
    return 0
