# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the data directory of a new cluster in one step: beside its place first, so that an interrupted run leaves nothing that looks like data."""

from __future__ import annotations

import os
import shutil
import typing as t

# What PostgreSQL has in /etc on Debian; left in the data it would only mislead.
_ELSEWHERE = ("postgresql.conf", "pg_hba.conf", "pg_ident.conf")
# Since this version the order of texts does not depend on the system's C library, nor change with it.
_BUILTIN_LOCALE_SINCE = 17


class BootstrapError(RuntimeError):
    """A step that did not end well."""


Run = t.Callable[..., t.Tuple[int, str, str]]


def initdb(version: int, directory: str) -> t.List[str]:
    """The command that makes an empty cluster with checksums, whose texts are UTF-8 and ordered by their code points."""
    builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if version >= _BUILTIN_LOCALE_SINCE else []
    return [
        f"/usr/lib/postgresql/{version}/bin/initdb",
        f"--pgdata={directory}",
        "--username=postgres",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        *builtin,
        "--data-checksums",
        "--auth-local=peer",
        "--auth-host=scram-sha-256",
    ]


def first_accounts(guard: str, replicator: str, replicator_password: str) -> str:
    """The SQL, one statement a line, for what must be there before the first node is writable: who promotes it, and who clones it."""
    password = replicator_password.replace("'", "''")
    return (
        f'CREATE ROLE "{guard}" SUPERUSER LOGIN\nCREATE ROLE "{replicator}" REPLICATION LOGIN PASSWORD \'{password}\'\n'
    )


def single_user(version: int, directory: str) -> t.List[str]:
    """The command that takes SQL from its input where no server runs. The first error ends it, and a statement with a password is not logged."""
    quiet = ["exit_on_error=true", "log_min_error_statement=panic", "password_encryption=scram-sha-256"]
    settings = [part for setting in quiet for part in ("-c", setting)]
    return [f"/usr/lib/postgresql/{version}/bin/postgres", "--single", "-D", directory, *settings, "postgres"]


def make(run: Run, version: int, directory: str, accounts: str, user_id: int, group_id: int) -> None:
    """Make it, as a standby without upstream: only the guard makes a writer of it. Raises BootstrapError; what it leaves then, the next try removes.

    `run(argv, data=...)` runs a program as the user of the two ids, who also owns the folder above `directory`.
    """
    parent, name = os.path.split(directory)
    draft = os.path.join(parent, f".{name}.new")
    if os.path.isdir(directory) and os.listdir(directory):
        raise BootstrapError(f"{directory} is not empty and holds no PostgreSQL cluster; move away what is there")
    shutil.rmtree(draft, ignore_errors=True)
    _must(run, initdb(version, draft), None)
    for leftover in _ELSEWHERE:
        if leftover != "postgresql.conf":
            os.unlink(os.path.join(draft, leftover))
    _must(run, single_user(version, draft), accounts)
    os.unlink(os.path.join(draft, "postgresql.conf"))
    signal = os.path.join(draft, "standby.signal")
    with open(signal, "x", encoding="ascii"):
        os.chown(signal, user_id, group_id)
    # Written before it is seen.
    os.sync()
    os.rename(draft, directory)


def _must(run: Run, command: t.List[str], data: t.Optional[str]) -> None:
    status, output, errors = run(command, data=data)
    if status != 0:
        raise BootstrapError(f"{os.path.basename(command[0])} failed with {status}: {errors.strip() or output.strip()}")
