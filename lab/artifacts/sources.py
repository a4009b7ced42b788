"""How a program is come by: a file that is given, the cache, the vendor's build, or a Go build of our own."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lab.artifacts.catalogue import Artifact, Vendor
from lab.artifacts.toolchain import environment, go_for
from lab.errors import LabError
from lab.paths import CHECKOUT
from lab.shell import say, ticks

_NEWS_SECONDS = 30
_VENDOR_TIMEOUT_SECONDS = 10
_PROOF_TIMEOUT_SECONDS = 30


def ready(artifact: Artifact) -> Path | None:
    """The program, where nothing needs to be done for it; a given file comes before the cache."""
    return artifact.given or (artifact.cached if artifact.cached.is_file() else None)


def obtain(artifact: Artifact) -> Path:
    """Return the program, fetched or built first where need be. One at a time on a machine: a build takes all its cores."""
    program = ready(artifact)
    if program:
        say(f"{artifact.name}: {program}")
        return program
    with _turn(artifact):
        if not artifact.cached.is_file():
            _make(artifact)
    return artifact.cached


def obtain_in_background(artifact: Artifact) -> subprocess.Popen[bytes]:
    """Start `obtain` as a process of its own, at the lowest priority, which goes on when this one ends."""
    artifact.cache.mkdir(parents=True, exist_ok=True)
    command = ["nice", "-n", "19", sys.executable, "-m", "lab", "artifacts", "build", artifact.name]
    with artifact.log.open("ab") as log:
        return subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def wait_for(artifact: Artifact, limit_seconds: float) -> Path:
    """Return the program once it is there, starting what brings it; LabError when that fails or takes longer."""
    program = ready(artifact)
    if program:
        return program
    if limit_seconds <= 0:
        raise LabError(f"{artifact.name} is not there; `python3 -m lab artifacts build {artifact.name}` makes it")
    worker = obtain_in_background(artifact)
    for _ in _with_news(artifact, ticks(limit_seconds, step_seconds=0.5)):
        if worker.poll() is not None:
            break
    else:
        raise LabError(
            f"{artifact.name} is not there after {limit_seconds:.0f} s, its build goes on; its log is {artifact.log}"
        )
    if worker.returncode != 0:
        raise LabError(f"{artifact.name} could not be had: {_last_line(artifact.log)}; its log is {artifact.log}")
    return artifact.cached


def being_made(cache: Path) -> str:
    """The name of the artifact that some process makes right now, or nothing."""
    try:
        with (cache / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                return lock.read().strip()
    except FileNotFoundError:
        pass
    return ""


@contextmanager
def _turn(artifact: Artifact) -> Iterator[None]:
    """Hold the lock that all makers share; the kernel frees it when its holder dies, however that happens."""
    artifact.cache.mkdir(parents=True, exist_ok=True)
    with (artifact.cache / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{artifact.name}: waiting for {being_made(artifact.cache) or 'another build'}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(artifact.name)
        lock.flush()
        yield
        lock.truncate(0)


def _make(artifact: Artifact) -> None:
    """Bring the program into the cache in one step, so that a crash leaves it there whole or not at all."""
    folder = artifact.cached.parent
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{artifact.cached.name}.draft"
    begin = time.monotonic()
    if artifact.vendor and _fetch(artifact, artifact.vendor, draft):
        way = f"fetched from {artifact.vendor.url}"
    else:
        _build(artifact, draft)
        way = "built"
    draft.chmod(0o755)
    _prove(artifact, draft)
    size = draft.stat().st_size / 1e6
    draft.replace(artifact.cached)
    say(f"{artifact.name}: {way} in {time.monotonic() - begin:.0f} s, {size:.0f} MB: {artifact.cached}")


def _prove(artifact: Artifact, draft: Path) -> None:
    done = subprocess.run(
        [draft, *artifact.proof.arguments], capture_output=True, text=True, check=False, timeout=_PROOF_TIMEOUT_SECONDS
    )
    if done.returncode != 0 or artifact.proof.says not in done.stdout + done.stderr:
        first = ((done.stdout + done.stderr).strip().splitlines() or ["nothing"])[0]
        raise LabError(
            f"{artifact.name} was made and does not say {artifact.proof.says!r} but: {first}; mend its recipe"
        )


def _fetch(artifact: Artifact, vendor: Vendor, draft: Path) -> bool:
    """Try the vendor's build: False where the site cannot be reached, LabError where it hands out other bytes."""
    say(f"{artifact.name}: fetching {vendor.url}")
    try:
        # The address is the catalogue's own, and what comes is believed only for its checksum.
        with urllib.request.urlopen(vendor.url, timeout=_VENDOR_TIMEOUT_SECONDS) as response, draft.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(response, file)
    except (urllib.error.URLError, OSError) as error:
        say(f"{artifact.name}: the vendor's site does not answer ({error}); building it instead")
        return False
    found = hashlib.sha256(draft.read_bytes()).hexdigest()
    if found != vendor.sha256:
        draft.unlink()
        raise LabError(f"{vendor.url} has the checksum {found}, and the catalogue says {vendor.sha256}: it is not used")
    return True


def _build(artifact: Artifact, draft: Path) -> None:
    go = go_for(artifact)
    ldflags = " ".join(("-s", "-w", *artifact.ldflags))
    command = ["nice", "-n", "19", str(go), "build", "-o", str(draft), "-ldflags", ldflags, artifact.package]
    say(f"{artifact.name}: building {artifact.module} {artifact.version} with Go; its log is {artifact.log}")
    with artifact.log.open("ab") as log, _ended(command, artifact, environment(go), log) as builder:
        for _ in _with_news(artifact, _until_over(builder)):
            continue
    if builder.returncode != 0:
        raise LabError(f"{artifact.name}: `go build` failed: {_last_line(artifact.log)}; its log is {artifact.log}")


@contextmanager
def _ended(
    command: list[str], artifact: Artifact, variables: dict[str, str], log: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in the artifact's folder, and end it when this process is interrupted."""
    builder = subprocess.Popen(
        command, cwd=artifact.folder, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        yield builder
    finally:
        if builder.poll() is None:
            builder.terminate()
            builder.wait()


def _until_over(process: subprocess.Popen[bytes]) -> Iterator[float]:
    for passed in ticks(float("inf"), step_seconds=0.2):
        if process.poll() is not None:
            return
        yield passed


def _with_news(artifact: Artifact, passed_seconds: Iterator[float]) -> Iterator[float]:
    """Hand the ticks through, saying now and then for how long it has taken."""
    told = 0
    for passed in passed_seconds:
        if passed // _NEWS_SECONDS > told:
            told = int(passed // _NEWS_SECONDS)
            say(f"{artifact.name}: still being made after {passed:.0f} s")
        yield passed


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
