# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""escala-pg-guard: decides on each node of a PostgreSQL cluster who is primary, and sees to it that there is never more than one.

The role pg_guard installs it. docs/postgresql-guard.md is the operator's page.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._pg_guard_config import (
    CONTROL_SOCKET,
    MEMORY_DIRECTORY,
    Config,
    read_config,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_control import children
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_daemon import Guard
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_gate import pass_gate
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_metrics import exposition
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_server import (
    ControlServer,
    Doors,
    HttpsServer,
    ask_daemon,
)
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_verbs import Verbs
from ansible_collections.escala.ha.plugins.module_utils._pg_guard_watch import Watch, WatchVerbs

_BAD_CONFIGURATION = 78
_COMMAND_SECONDS = 60.0


def main(arguments: t.Optional[t.Sequence[str]] = None) -> int:
    """Run one verb; returns the exit status, 0 for yes and done."""
    options = _parser().parse_args(arguments)
    try:
        config = read_config(options.config)
    except (OSError, ValueError, TypeError) as error:
        sys.stderr.write(f"<3>{options.config or 'the configuration'} cannot be used: {error}\n")
        return _BAD_CONFIGURATION
    if options.verb == "check":
        return 0
    if options.verb == "run":
        return run(config)
    if options.verb == "gate":
        if config.port_of_patroni:
            sys.stderr.write("<3>Patroni starts PostgreSQL here, and nobody else: systemctl start patroni\n")
            return 1
        return pass_gate(config, MEMORY_DIRECTORY)
    return _ask(options)


def run(config: Config) -> int:
    """Serve until SIGTERM. PostgreSQL goes on without its guard, and the next guard takes up what it finds.

    SIGHUP has the program start anew in the same process.
    """
    awaited = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    # Caught rather than blocked: programs that acts begin would inherit the block, and could not be ended by each other.
    came, catch = os.pipe()
    os.set_blocking(catch, False)
    signal.set_wakeup_fd(catch)
    for number in awaited:
        signal.signal(number, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
    try:
        guard, verbs = _parts(config)
    except ValueError as damaged:
        sys.stderr.write(
            f"<3>What this guard promised cannot be read, so it must not vote ({MEMORY_DIRECTORY}): {damaged}\n"
        )
        return _BAD_CONFIGURATION
    doors = Doors(
        state=guard.node.document, metrics=lambda: exposition(guard.node.me()), vote=verbs.vote, command=verbs.command
    )
    https = HttpsServer((config.listen_address, config.port), config.identity, config.addresses, doors)
    control = ControlServer(CONTROL_SOCKET, doors)
    for server in (https, control):
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 3600}, daemon=True).start()
    threading.Thread(target=guard.run, args=(_Alive(),), name="rounds", daemon=True).start()
    notify("READY=1")
    if os.read(came, 1)[0] == signal.SIGHUP:
        # One that comes from here on is the next program's, which catches it as soon as it can.
        signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        # What an act has begun, a copy for instance, would go on beside the one that begins it again.
        end_children(os.getpid())
        os.execv(sys.executable, [sys.executable, "-I", *sys.argv])  # noqa: S606  this very program, by its full path
    notify("STOPPING=1")
    # Threads may wait for a server that hangs; nothing that they hold needs an end in order.
    sys.stderr.flush()
    os._exit(0)


def _parts(config: Config) -> t.Tuple[t.Union[Guard, Watch], t.Union[Verbs, WatchVerbs]]:
    """Who goes round, and who answers: a guard that decides, or one that watches what Patroni does."""
    if config.port_of_patroni:
        watch = Watch(config, MEMORY_DIRECTORY)
        return watch, WatchVerbs(watch)
    guard = Guard(config, MEMORY_DIRECTORY)
    return guard, Verbs(guard)


def end_children(parent: int) -> None:
    """Kill every process that this one has begun, with theirs."""
    for pid in children(parent):
        with contextlib.suppress(ProcessLookupError):
            # One that stands still begins no other while its own are looked for.
            os.kill(pid, signal.SIGSTOP)
            end_children(pid)
            os.kill(pid, signal.SIGKILL)


class _Alive:
    """Tell systemd of each round, and of the reason when it is another."""

    def __init__(self) -> None:
        self._reason = ""

    def __call__(self, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            notify("WATCHDOG=1", f"STATUS={reason}")
        else:
            notify("WATCHDOG=1")


def notify(*words: str) -> None:
    """Tell systemd, where it listens."""
    listener = os.environ.get("NOTIFY_SOCKET", "")
    if listener:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto("\n".join(words).encode(), listener.replace("@", "\0", 1))


def _ask(options: argparse.Namespace) -> int:
    question = {"verb": options.verb, "to": getattr(options, "to", None)}
    try:
        answer = ask_daemon(CONTROL_SOCKET, question, _COMMAND_SECONDS)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"no guard answers on {CONTROL_SOCKET} ({error}); see `systemctl status escala-pg-guard`\n")
        return 2
    if getattr(options, "json", False):
        sys.stdout.write(json.dumps(answer.get("state", answer)) + "\n")
    else:
        sys.stdout.write(f"{answer.get('reason')}\n")
    return 0 if answer.get("ok") else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="escala-pg-guard", description="The guard of a PostgreSQL node.")
    parser.add_argument("--config", default="", help="another configuration than the installed one")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    status = verbs.add_parser("status", help="what this node is, what it sees, and why")
    status.add_argument("--json", action="store_true", help="all of it in one line")
    verbs.add_parser("validate", help="may this node be promoted now? exit status 0 or 1, with the reason")
    verbs.add_parser("fence", help="kill this PostgreSQL and start it as a standby; another node is elected")
    handover = verbs.add_parser("handover", help="let another node be primary; returns when it is")
    handover.add_argument("--to", required=True, metavar="NODE")
    degrade = verbs.add_parser("degrade", help="go on without nodes that are powered off; read the runbook first")
    degrade.add_argument("--without", dest="to", nargs="+", required=True, metavar="NODE")
    verbs.add_parser("run", help="the service")
    verbs.add_parser("gate", help="what systemd asks before it starts PostgreSQL")
    verbs.add_parser("check", help="see whether the configuration can be used")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
