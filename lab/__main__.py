"""The lab's command line: `python3 -m lab VERB`, as root, from the repository's root."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from lab import artifacts, check, converge, faults, inventory, lifecycle, state
from lab.errors import LabError
from lab.shell import say
from lab.state import Fault


def status(as_json: bool) -> None:
    """Print which topology is up and how each host is."""
    saved = state.read()
    hosts: list[dict[str, Any]] = []
    if saved.topology:
        for machine in lifecycle.machines(lifecycle.running_topology(saved)):
            host = machine.host
            hosts.append(
                {
                    "name": host.name,
                    "address": host.address,
                    "groups": list(host.groups),
                    "kind": host.kind,
                    "os": host.os,
                    "state": machine.state(),
                    "pid": machine.leader(),
                }
            )
    report = {
        "topology": saved.topology or None,
        "hosts": hosts,
        "faults": [vars(fault) for fault in saved.faults],
        "snapshots": [lifecycle.FRESH, *saved.snapshots],
    }
    if as_json:
        print(json.dumps(report, indent=1))
        return
    if not saved.topology:
        print("no lab is up; `python3 -m lab up` boots one")
        return
    print(f"topology {saved.topology}")
    for entry in hosts:
        print(
            f"  {entry['name']:<10} {entry['address']:<14} {entry['os']:<9} {entry['state']:<8} {' '.join(entry['groups'])}"
        )
    for fault in saved.faults:
        print(f"  fault: {fault.kind} {fault.a} {fault.b} {fault.percent or ''}".rstrip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m lab", description="Real Debian hosts on this one machine.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(
        name: str,
        description: str,
        act: Callable[[argparse.Namespace], object],
        *words: str,
        patience_seconds: float | None = 30,
    ) -> argparse.ArgumentParser:
        """Declare a verb; patience is how long it waits for another command that changes the lab, None for one that only looks."""
        sub = verbs.add_parser(name, help=description, description=description)
        for word in words:
            sub.add_argument(word.lower(), metavar=word)
        sub.set_defaults(act=act, patience_seconds=patience_seconds)
        return sub

    verb(
        "check",
        "install what the lab needs of this machine, or say in one line what is missing",
        lambda _: check.machine(),
        patience_seconds=None,
    )
    sub = verb(
        "up",
        "boot the hosts of a topology, or repair what a crash left",
        lambda a: lifecycle.up(a.topology, a.fresh),
        patience_seconds=0,
    )
    sub.add_argument("--topology", default="default", metavar="NAME")
    sub.add_argument("--fresh", action="store_true", help="hosts that are booted begin as untouched Debian")
    sub = verb(
        "down",
        "shut the hosts down and take the network away",
        lambda a: lifecycle.down(a.purge, a.force),
        patience_seconds=5,
    )
    sub.add_argument("--purge", action="store_true", help="forget disks and secrets")
    sub.add_argument("--force", action="store_true", help="remove what a dead lab left")
    sub = verb("status", "which hosts there are and how they are", lambda a: status(a.json), patience_seconds=None)
    sub.add_argument("--json", action="store_true")
    sub = verb(
        "endpoints", "how an outside client gets in", lambda a: converge.print_endpoints(a.json), patience_seconds=None
    )
    sub.add_argument("--json", action="store_true")
    sub = verb("ssh", "a shell or a command on a host", _ssh, "HOST", patience_seconds=None)
    sub.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    verb("snapshot", "keep what all disks hold under a name", lambda a: lifecycle.snapshot(a.name), "NAME")
    verb(
        "restore",
        "bring all disks back to a snapshot; `fresh` is untouched Debian",
        lambda a: lifecycle.restore(a.name),
        "NAME",
    )
    verb("kill", "power a host off without warning", lambda a: faults.one(a.host).kill(), "HOST")
    verb("stop", "shut a host down in order", lambda a: faults.one(a.host).stop(), "HOST")
    verb("start", "boot a host with its disk", lambda a: lifecycle.start(a.host), "HOST")
    verb("freeze", "stop all processes of a host where they are", lambda a: faults.one(a.host).freeze(), "HOST")
    verb("thaw", "let a frozen host's processes go on", lambda a: faults.one(a.host).thaw(), "HOST")
    sub = verb(
        "cut",
        "let nothing pass between two hosts",
        lambda a: faults.add(Fault("cut", a.a, a.b, one_way=a.one_way)),
        "A",
        "B",
    )
    sub.add_argument("--one-way", action="store_true", help="only from A to B")
    verb(
        "isolate",
        "let nothing pass between a host and any other",
        lambda a: faults.add(Fault("isolate", a.host)),
        "HOST",
    )
    sub = verb(
        "loss",
        "drop a share of a host's packets",
        lambda a: faults.add(Fault("loss", a.host, percent=a.percent)),
        "HOST",
    )
    sub.add_argument("percent", type=int, metavar="PERCENT")
    verb("heal", "undo every network fault", lambda _: faults.heal())
    verb(
        "disk-full",
        "leave no free byte on a volume",
        lambda a: faults.one(a.host).fill_disk(a.volume),
        "HOST",
        "VOLUME",
    )
    verb(
        "disk-hang",
        "make every write to a volume wait",
        lambda a: faults.one(a.host).hang_disk(a.volume),
        "HOST",
        "VOLUME",
    )
    verb("disk-heal", "undo disk-full and disk-hang", lambda a: faults.one(a.host).heal_disks(), "HOST")
    sub = verb(
        "clock",
        "start a host's services again with a clock that is wrong; 0 puts it right",
        lambda a: faults.one(a.host).set_clock(a.seconds),
        "HOST",
    )
    sub.add_argument("seconds", type=int, metavar="SECONDS")
    sub = verb(
        "converge",
        "make the lab the whole platform, and print what a person opens next",
        lambda a: converge.converge(a.until),
        patience_seconds=None,
    )
    sub.add_argument("--until", choices=converge.STEPS, default=converge.STEPS[-1], help="stop after this step")
    artifacts.add_parser(verbs)
    return parser


def _ssh(arguments: argparse.Namespace) -> int:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    return inventory.enter(lifecycle.running_topology(state.read()), arguments.host, command)


def main() -> int:
    """Run one verb; a LabError is one line on stderr and exit status 1."""
    arguments = _parser().parse_args()
    try:
        if getattr(arguments, "patience_seconds", None) is None:
            return int(arguments.act(arguments) or 0)
        check.root()
        with state.lock(arguments.verb, arguments.patience_seconds):
            arguments.act(arguments)
    except LabError as error:
        print(f"lab {arguments.verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"lab {arguments.verb}: interrupted; the same command repeats it, `python3 -m lab status` shows where it is",
            file=sys.stderr,
        )
        return 130
    say(f"{arguments.verb}: done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
