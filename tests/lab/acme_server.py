"""Pebble as the platform's authority: an ACME server on the lab's gateway, with a name server that knows one address."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import artifacts
from tests.lab.certificates import Authority
from tests.lab.eventually import eventually

_BUILD_SECONDS = 300
_ACME_PORT, _MANAGEMENT_PORT, _DNS_PORT, _DNS_MANAGEMENT_PORT = 14000, 15000, 8053, 8055


@dataclass(frozen=True)
class AcmeServer:
    """Where it is, what its own address is trusted by, and what trusts the certificates that it gives."""

    directory_url: str
    ca_file: Path
    root_file: Path


@contextlib.contextmanager
def running_acme_server(address: str, names_lead_to: str, folder: Path) -> Iterator[AcmeServer]:
    """Run Pebble at this address of ours; it looks up every name as `names_lead_to`, and asks there on port 80."""
    programs = [artifacts.path(name, _BUILD_SECONDS) for name in ("pebble", "pebble-challtestsrv")]
    authority = Authority(folder, "Pebble's own address")
    own = authority.issue("pebble", [address])
    configuration = folder / "pebble.json"
    configuration.write_text(
        json.dumps(
            {
                "pebble": {
                    "listenAddress": f"{address}:{_ACME_PORT}",
                    "managementListenAddress": f"{address}:{_MANAGEMENT_PORT}",
                    "certificate": str(own.certificate_file),
                    "privateKey": str(own.key_file),
                    "httpPort": 80,
                    "tlsPort": 443,
                    "keyAlgorithm": "ecdsa",
                    "retryAfter": {"authz": 1, "order": 1},
                }
            }
        )
    )
    pebble: list[str | Path] = [programs[0], "-config", configuration, "-dnsserver", f"{address}:{_DNS_PORT}"]
    names: list[str | Path] = [
        programs[1],
        "-dnsserver",
        f"{address}:{_DNS_PORT}",
        "-defaultIPv4",
        names_lead_to,
        "-defaultIPv6",
        "",
    ]
    names += ["-management", f"{address}:{_DNS_MANAGEMENT_PORT}"]
    names += [word for service in ("http01", "https01", "tlsalpn01", "doh") for word in (f"-{service}", "")]
    with _running(names, folder / "names.log"), _running(pebble, folder / "pebble.log"):
        root = folder / "root.pem"
        context = ssl.create_default_context(cafile=str(authority.ca_file))

        def fetch_root() -> int:
            with urllib.request.urlopen(f"https://{address}:{_MANAGEMENT_PORT}/roots/0", context=context) as answer:
                return root.write_bytes(answer.read())

        eventually("Pebble answers", fetch_root, within=20)
        yield AcmeServer(f"https://{address}:{_ACME_PORT}/dir", authority.ca_file, root)


@contextlib.contextmanager
def _running(command: list[str | Path], log: Path) -> Iterator[None]:
    # Without these it waits for seconds before it asks, refuses numbers that are right, and remembers what it has proven.
    variables = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | variables
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()
