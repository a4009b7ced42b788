"""What a new user does first: a fresh clone, empty caches, `make lab`. It takes the lab that there is away, so it comes last."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.eventually import widened
from tests.lab.handle import ROOT
from tests.lab.measurements import record

LIMIT_SECONDS = 360


@pytest.mark.soak(runs=1)
@pytest.mark.soak_only
def test_make_lab_from_nothing_is_quick(tmp_path: Path, output: Path) -> None:
    checkout = tmp_path / "checkout"
    caches = {name: str(tmp_path / name) for name in ("ESCALA_LAB_CACHE", "UV_CACHE_DIR", "PIP_CACHE_DIR")}
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"} | caches
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
    subprocess.run(["make", "clean"], cwd=checkout, env=environment, check=True, capture_output=True)
    begin = time.monotonic()
    with (output / "make-lab.log").open("w") as log:
        done = subprocess.run(["make", "lab"], cwd=checkout, env=environment, stdout=log, stderr=log, check=False)
    seconds = time.monotonic() - begin
    text = (output / "make-lab.log").read_text()
    assert done.returncode == 0, text[-3000:]
    # Its disks lie over a cache that goes with this story.
    subprocess.run(["make", "clean"], cwd=checkout, env=environment, check=True, capture_output=True)
    assert "FAILED" not in text[text.index("The platform") :]
    record(
        "make_lab",
        seconds,
        "s",
        LIMIT_SECONDS,
        what="make lab of the default topology, from a fresh clone and empty caches",
    )
    assert seconds <= widened(LIMIT_SECONDS)
