# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""escala-pg-backup: makes and keeps backups of a PostgreSQL cluster and its WAL, and proves them by restoring.

The role postgresql_backup installs it on the backup host. docs/backup.md is the operator's page.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import fcntl
import json
import os
import shlex
import sys
import time
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_backup_config import Config, read_config
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_drill import Drill, lines
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_pgbackrest import keep_control
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_receive import Receiver
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_recover import recover, stream
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_restore import Restore, moment, target_of
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_side import end, make, stream_script, wanted_of
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_status import (
    REPORT,
    Limits,
    exposition,
    look,
    problems,
    told,
    write_metrics,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_store import BackupError
from ansible_collections.escala.ha.plugins.module_utils._pg_backup_wal import chunks_of

_BAD_CONFIGURATION = 78
# From above 125 PostgreSQL takes the end of its restore_command for a fault; below that for the end of the archive, at which it would go on as a server.
_ABORT_RECOVERY = 150
# What a data node may ask for over ssh, and nothing else: none of it removes or replaces anything.
_GATE = ("push", "fetch", "has", "restored")


def main(arguments: t.Optional[t.Sequence[str]] = None) -> int:
    """Run one verb; returns the exit status, 0 for done."""
    options = _parser().parse_args(arguments)
    # Over ssh it has whatever the host gives.
    os.umask(0o077)
    try:
        config = read_config(options.config)
    except (OSError, ValueError, TypeError) as error:
        sys.stderr.write(f"{options.config or 'the configuration'} cannot be used: {error}\n")
        return _BAD_CONFIGURATION
    try:
        code: int = _VERBS[options.verb](config, options)
    except (BackupError, OSError, ValueError) as error:
        sys.stderr.write(f"{options.verb}: {error}\n")
        return 1
    return code


def _check(_config: Config, _options: argparse.Namespace) -> int:
    return 0


def _gate(config: Config, _options: argparse.Namespace) -> int:
    """What came over ssh, from a node's archive_command or restore_command."""
    asked = shlex.split(os.environ.get("SSH_ORIGINAL_COMMAND", ""))
    if len(asked) != 2 or asked[0] not in _GATE:
        sys.stderr.write(f"asked for {asked}; a node may ask for {', '.join(_GATE)} and a file's name\n")
        return 1
    return _VERBS[asked[0]](config, argparse.Namespace(verb=asked[0], name=asked[1]))


def _push(config: Config, options: argparse.Namespace) -> int:
    Restore(config).wal.put(options.name, chunks_of(sys.stdin.buffer))
    return 0


def _fetch(config: Config, options: argparse.Namespace) -> int:
    try:
        return 0 if Restore(config).fetch(options.name, sys.stdout.buffer) else 1
    except (BackupError, OSError) as error:
        sys.stderr.write(f"fetch: {error}\n")
        return _ABORT_RECOVERY


def _has(config: Config, options: argparse.Namespace) -> int:
    return 0 if Restore(config).wal.has(options.name) else 1


def _base(config: Config, options: argparse.Namespace) -> int:
    with _alone(config, "base"):
        backups = Restore(config).backups
        record = backups.make(time.time(), options.full)
        kept = backups.expire(time.time())
    said = f"backup {record.name} is kept: {record.plain_bytes} bytes, stored in {record.stored_bytes}, after {record.stopped_at - record.started_at:.1f} s"
    sys.stdout.write(f"{said}; {len(kept.expired)} older ones went\n")
    return 0


def _control(config: Config, _options: argparse.Namespace) -> int:
    try:
        content = base64.b64decode("".join(sys.stdin.read().split()), validate=True)
    except binascii.Error as error:
        raise BackupError(f"the input is no base64: {error}") from error
    sys.stdout.write(json.dumps({"changed": keep_control(config, content)}) + "\n")
    return 0


def _plan(config: Config, options: argparse.Namespace) -> int:
    plan = Restore(config).plan(target_of(options.to))
    said = {
        "backup": plan.chain[-1].name,
        "chain": [record.name for record in plan.chain],
        "timeline": plan.timeline,
        "until_time": plan.until_time,
        "until": moment(plan.until_time),
        "why": plan.reach.why,
        "received": plan.received,
    }
    sys.stdout.write(json.dumps(said, indent=1) + "\n")
    return 0


def _restore(config: Config, options: argparse.Namespace) -> int:
    with _alone(config, "restore"):
        said = recover(config, target_of(options.to), _fetch_command(options))
    sys.stdout.write(json.dumps(said) + "\n")
    return 0


def _restored(config: Config, options: argparse.Namespace) -> int:
    if options.name == "tables":
        stream_script(config, sys.stdout.buffer)
    elif options.name == "data":
        stream(config, sys.stdout.fileno())
    else:
        raise BackupError(f"{options.name!r} is neither data nor tables")
    return 0


def _side(config: Config, options: argparse.Namespace) -> int:
    wanted = wanted_of(options.database, options.table, options.schema)
    with _alone(config, "side"):
        said = make(config, target_of(options.to), _fetch_command(options), wanted)
    sys.stdout.write(json.dumps(said) + "\n")
    return 0


def _end_side(config: Config, _options: argparse.Namespace) -> int:
    with _alone(config, "side"):
        sys.stdout.write(json.dumps({"removed": end(config)}) + "\n")
    return 0


def _drill(config: Config, options: argparse.Namespace) -> int:
    with _alone(config, "drill"):
        report = Drill(config, _fetch_command(options)).run()
        said = {**report._asdict(), "checks": [check._asdict() for check in report.checks]}
        said["lines"] = lines(report)
        said["passed_at"] = report.started_at if report.passed else _last_passed(config)
        draft = config.work(f".{REPORT}")
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(said, file, indent=1)
        os.replace(draft, config.work(REPORT))
    sys.stdout.write(json.dumps(said, indent=1) + "\n")
    return 0 if report.passed else 1


def _last_passed(config: Config) -> t.Optional[float]:
    with contextlib.suppress(OSError, ValueError), open(config.work(REPORT), encoding="utf-8") as file:
        passed: t.Optional[float] = json.load(file).get("passed_at")
        return passed
    return None


def _receive(config: Config, _options: argparse.Namespace) -> int:
    return Receiver(config).run()


def _status(config: Config, _options: argparse.Namespace) -> int:
    seen, segment_bytes = look(config, time.time())
    limits = Limits(config.backup_age_limit_seconds, config.drill_age_limit_seconds, config.archive_lag_limit_seconds)
    found = problems(seen, limits, segment_bytes)
    if config.metrics_file:
        try:
            write_metrics(config.metrics_file, exposition(seen, found))
        except OSError as error:
            # A full disk is the very moment at which it must be heard.
            found = [*found, f"the metrics stay as they were, for they cannot be written: {error}"]
    sys.stdout.write(json.dumps(told(seen, found)) + "\n")
    return 1 if found else 0


def _fetch_command(options: argparse.Namespace) -> str:
    """How PostgreSQL asks this program for WAL: by the path by which it was started itself."""
    told = ["--config", options.config] if options.config else []
    return f"{shlex.join([os.path.abspath(sys.argv[0]), *told])} fetch %f > %p"


@contextlib.contextmanager
def _alone(config: Config, what: str) -> t.Iterator[None]:
    """One at a time, whoever starts it."""
    with open(config.work(f".{what}.lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"another {what} is under way") from None
        yield


_VERBS: t.Dict[str, t.Callable[[Config, argparse.Namespace], int]] = {
    "check": _check,
    "gate": _gate,
    "push": _push,
    "fetch": _fetch,
    "has": _has,
    "base": _base,
    "control": _control,
    "plan": _plan,
    "restore": _restore,
    "restored": _restored,
    "side": _side,
    "end-side": _end_side,
    "drill": _drill,
    "receive": _receive,
    "status": _status,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="escala-pg-backup", description=__doc__)
    parser.add_argument("--config", default="")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("check", help="see whether the configuration can be used")
    verbs.add_parser("gate", help="do what a node asks for over ssh")
    for verb, what in (
        ("push", "take a file of WAL over from the input"),
        ("fetch", "write a file of WAL out"),
        ("has", "say whether it is there"),
    ):
        verbs.add_parser(verb, help=what).add_argument("name")
    verbs.add_parser("base", help="make a base backup").add_argument(
        "--full", action="store_true", help="not one that builds on another"
    )
    verbs.add_parser("control", help="take a server's control file over from the input, in base64: for pgBackRest")
    aims = {
        "plan": "say what a restore would take and reach",
        "restore": "recover into the work directory",
        "side": "recover a server beside the cluster, and take tables from it",
    }
    for verb, what in aims.items():
        parsed = verbs.add_parser(verb, help=what)
        parsed.add_argument("--to", default="latest", help="latest, a time with its zone, lsn:0/5000000 or point:NAME")
    parsed.add_argument("--database", required=True, help="whose tables")
    parsed.add_argument("--table", action="append", default=[], help="one with its schema; may be told again")
    parsed.add_argument("--schema", default="restored", help="under which they are to come back")
    verbs.add_parser("end-side", help="remove that server")
    verbs.add_parser("restored", help="write what was restored").add_argument(
        "name", help="data, a tar archive, or tables, a script"
    )
    verbs.add_parser("drill", help="restore the newest backup with all WAL, look at it, and throw it away")
    verbs.add_parser("receive", help="receive WAL as it is written, until the connection ends")
    verbs.add_parser(
        "status", help="say how backups stand, and write the metrics; its status is 1 where something is wrong"
    )
    return parser
