"""What the lab remembers between commands: which topology runs, each host's layers, the network faults in force."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab.errors import LabError
from lab.paths import STATE
from lab.shell import ticks


@dataclass
class Fault:
    """A network fault: `cut` (a to b, both ways unless one_way), `isolate` (a), `loss` (a, percent)."""

    kind: str
    a: str
    b: str = ""
    one_way: bool = False
    percent: int = 0


@dataclass
class State:
    """The lab's memory; `layers` lists each host's read-only layers, newest first."""

    topology: str = ""
    layers: dict[str, list[str]] = field(default_factory=dict)
    snapshots: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def save(self) -> None:
        """Write the state in one step, so that a crash leaves the old or the new one."""
        STATE.mkdir(parents=True, exist_ok=True)
        draft = STATE / "state.json.new"
        draft.write_text(json.dumps(asdict(self), indent=1))
        os.replace(draft, STATE / "state.json")


def read() -> State:
    """The saved state, or an empty one where no lab is."""
    try:
        data = json.loads((STATE / "state.json").read_text())
    except FileNotFoundError:
        return State()
    except ValueError as error:
        raise LabError(
            f"{STATE}/state.json is not readable ({error}); `python3 -m lab down --purge --force` clears it"
        ) from error
    return State(**data | {"faults": [Fault(**fault) for fault in data["faults"]]})


@contextmanager
def lock(command: str, patience_seconds: float) -> Iterator[None]:
    """Let one command at a time change the lab; raise LabError when another holds it beyond our patience."""
    STATE.mkdir(parents=True, exist_ok=True)
    with Path(STATE / "lock").open("a+") as file:
        for _ in ticks(patience_seconds or 0.05):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                continue
        else:
            file.seek(0)
            raise LabError(
                f"another lab command is at work ({file.read().strip() or 'unknown'}); wait for it, then try again"
            )
        file.truncate(0)
        file.write(f"{command}, process {os.getpid()}\n")
        file.flush()
        yield
