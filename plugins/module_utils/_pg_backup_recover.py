# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A data directory that has been recovered to where it is to be, before anything that is there now is touched: a cluster begins anew with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import Config
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_instance import Instance
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_restore import (
    Plan,
    Restore,
    Target,
    moment,
    recovery_settings,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import BackupError, size_of
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_wal import chunks_of
from ansible_collections.escala.ha.plugins.module_utils._pg_wal import history_name

_LIMIT_SECONDS = 24 * 3_600.0
# What only the server that recovered needs; a node's own is elsewhere.
_OF_THE_INSTANCE = ("postgresql.conf", "pg_hba.conf", "postmaster.opts")
_WHERE = "SELECT timeline_id, pg_current_wal_lsn(), extract(epoch FROM pg_last_xact_replay_timestamp()) FROM pg_control_checkpoint()"


@contextlib.contextmanager
def recovered(config: Config, target: Target, fetch_command: str, folder: str) -> t.Iterator[t.Tuple[Plan, Instance]]:
    """A server that has recovered in `data` of a folder, which must be empty, and what it was made of. After an error nothing is left of the folder."""
    data = os.path.join(folder, "data")
    try:
        restore = Restore(config)
        plan = restore.plan(target)
        restore.unpack(plan, data)
        with Instance(config, data, recovery_settings(target, fetch_command, plan.timeline)) as instance:
            instance.wait_until_recovered(_LIMIT_SECONDS)
            yield plan, instance
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def recover(config: Config, target: Target, fetch_command: str) -> t.Dict[str, t.Any]:
    """Make `restored/data` in the work directory; raises BackupError, and leaves nothing there then.

    The recovery begins a timeline of its own. Its history goes into the archive at once: without it nobody could restore what comes after.
    """
    folder = config.work("restored")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder, 0o700)
    begun = time.monotonic()
    with recovered(config, target, fetch_command, folder) as (plan, instance):
        data = instance.data
        instance.ask("postgres", "CHECKPOINT")
        timeline, lsn, last = instance.ask("postgres", _WHERE).split("|")
        history = history_name(int(timeline))
        with open(os.path.join(data, "pg_wal", history), "rb") as content:
            Restore(config).wal.put(history, chunks_of(content))
    for name in _OF_THE_INSTANCE:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(data, name))
    return {
        "backup": plan.chain[-1].name,
        "directory": data,
        "timeline": int(timeline),
        "lsn": lsn,
        "last_commit": moment(float(last)) if last else None,
        "last_commit_at": float(last) if last else None,
        "size_bytes": size_of(data),
        "seconds": round(time.monotonic() - begun, 1),
    }


def stream(config: Config, out: int) -> None:
    """Write the restored directory as a tar archive to a file descriptor; raises BackupError where there is none."""
    data = config.work("restored", "data")
    if not os.path.isdir(data):
        raise BackupError("nothing has been restored here; run playbooks/restore.yml from its beginning")
    os.dup2(out, 1)
    os.execvp("tar", ["tar", "--create", "--file=-", "--directory", data, "."])  # noqa: S606  by PATH, and without a shell
