"""Programs that Debian lacks: taken from a given file, the cache or the vendor, or built from their Go modules.

Catalogue: catalogue.toml beside this file. `add_parser` puts the verb `artifacts` into the lab's command line.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from lab.artifacts import catalogue, sources


def path(name: str, limit_seconds: float = 0) -> Path:
    """The program of that name, made ready within the limit; LabError otherwise."""
    return sources.wait_for(catalogue.choose([name], catalogue.load())[0], limit_seconds)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare `artifacts build|path|status`; each sets `act`, which takes the parsed arguments."""
    text = "programs that Debian lacks: build them, find them"
    actions = verbs.add_parser("artifacts", help=text, description=text).add_subparsers(dest="action", required=True)

    def action(name: str, description: str, act: Callable[[argparse.Namespace], object]) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=description, description=description)
        sub.set_defaults(act=act)
        return sub

    sub = action("build", "make programs ready, one after another", lambda a: _build(a.names, a.background))
    sub.add_argument("names", nargs="*", metavar="NAME", help="all, where none is named")
    sub.add_argument("--background", action="store_true", help="return at once; `path NAME --wait` waits for one")
    sub = action("path", "print where a program is", lambda a: print(path(a.name, a.wait)))
    sub.add_argument("name", metavar="NAME")
    sub.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="make it ready first, within this time")
    action("status", "print what there is and what is being made", lambda _: _status())


def _build(names: list[str], in_background: bool) -> None:
    for artifact in catalogue.choose(names, catalogue.load()):
        if not in_background:
            sources.obtain(artifact)
        elif not sources.ready(artifact):
            sources.obtain_in_background(artifact)


def _status() -> None:
    for artifact in catalogue.load().values():
        program = sources.ready(artifact)
        if program:
            state = f"ready, {program.stat().st_size / 1e6:.0f} MB, {program}"
        elif sources.being_made(artifact.cache) == artifact.name:
            state = f"being made, its log is {artifact.log}"
        else:
            state = f"absent; `python3 -m lab artifacts build {artifact.name}` makes it"
        print(f"{artifact.name:<10} {artifact.version}  {state}\n{'':<10} {artifact.about}")
