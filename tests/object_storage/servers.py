"""AWS and Azure on loopback, both behind certificates of an authority that only these tests know."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from tests.lab.certificates import Authority
from tests.lab.eventually import eventually, widened

ROOT = Path(__file__).resolve().parents[2]
_LOCK = ROOT / "examples/tenant_app/backend/test/servers/package-lock.json"
_START_SECONDS = 60
_INSTALL_SECONDS = 300


@dataclass(frozen=True)
class Aws:
    """Where it is, and an administrator's key."""

    endpoint: str
    access_key: str
    secret_key: str
    account: str
    ca_file: Path

    def client(self, service: str) -> Any:
        """AWS's own library, as the administrator."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            verify=str(self.ca_file),
        )

    @contextmanager
    def clock_off(self, seconds: int) -> Iterator[None]:
        """Have its clock be off meanwhile."""
        self._set_clock(seconds)
        try:
            yield
        finally:
            self._set_clock(0)

    def _set_clock(self, seconds: int) -> None:
        request = urllib.request.Request(f"{self.endpoint}/-/clock/{seconds}", method="PUT")
        urllib.request.urlopen(request, context=ssl.create_default_context(cafile=self.ca_file)).close()


@contextmanager
def running_aws(folder: Path, authority: Authority) -> Iterator[Aws]:
    """Run aws_server.py."""
    pair = authority.issue("aws", ["127.0.0.1"])
    command: list[str | Path] = [
        sys.executable,
        Path(__file__).with_name("aws_server.py"),
        pair.certificate_file,
        pair.key_file,
    ]
    with _running(command, folder / "aws.log", {}) as log:
        ready = _line(log, r"^(\{.*\})$")
        yield Aws(**json.loads(ready), ca_file=authority.ca_file)


@dataclass(frozen=True)
class Azurite:
    """Microsoft's own emulator of Azure Blob Storage."""

    endpoint: str
    account: str
    key: str

    def connection_string(self, **other: str) -> str:
        """What Azure shows for an account, with other parts where given."""
        parts = {
            "AccountName": self.account,
            "AccountKey": self.key,
            "BlobEndpoint": f"{self.endpoint}/{self.account}",
        } | other
        return ";".join(f"{name}={value}" for name, value in parts.items())


@contextmanager
def running_azurite(folder: Path, authority: Authority) -> Iterator[Azurite]:
    """Run Azurite from npm, as the reference application's tests do."""
    pair = authority.issue("azurite", ["127.0.0.1"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    key = base64.b64encode(b"a key that only these tests use").decode()
    options = [
        "--inMemoryPersistence",
        "--disableTelemetry",
        "--skipApiVersionCheck",
        "--silent",
        "--blobPort",
        str(port),
    ]
    command: list[str | Path] = ["node", _azurite(), *options, "--cert", pair.certificate_file, "--key", pair.key_file]
    with _running(command, folder / "azurite.log", {"AZURITE_ACCOUNTS": f"uploads:{key}"}) as log:
        yield Azurite(_line(log, r"successfully listens on (https:\S+)"), "uploads", key)


def _azurite() -> Path:
    """Its program, installed once for each lock file."""
    home = ROOT / ".cache" / f"azurite-{hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]}"
    if not home.exists():
        assert shutil.which("npm"), "Azurite needs node and npm: install the packages nodejs and npm"
        making = home.with_name(f"{home.name}.{os.getpid()}")
        making.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_LOCK.with_name(name), making)
        command = ["npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=making, check=True, timeout=widened(_INSTALL_SECONDS))
        making.rename(home)
    return home / "node_modules/azurite/dist/src/blob/main.js"


@contextmanager
def _running(command: list[str | Path], log: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=log.parent, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=os.environ | environment
        )
    try:
        yield log
    finally:
        process.kill()
        process.wait()


def _line(log: Path, pattern: str) -> str:
    found = eventually(
        f"{log.stem} says that it listens",
        lambda: re.search(pattern, log.read_text(), re.MULTILINE),
        within=_START_SECONDS,
    )
    return found[1] if found else ""
