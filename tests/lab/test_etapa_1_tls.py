"""What judges from outside say of the edge: sslyze of its TLS, gixy of the configuration that nginx runs with."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.lab.handle import ROOT, Lab
from tests.lab.target import Target

# gixy's findings that are none, each with the reason.
NOT_A_FAULT = {
    "try_files_is_evil_too": "it wants open_file_cache, which would show a page of the release before after a deployment",
}

FAULTY = """# configuration file /etc/nginx/nginx.conf:
http { server { location / { return 302 https://example.org$uri; } } }
"""

pytestmark = [pytest.mark.usefixtures("whole_platform"), pytest.mark.either_engine]


def sslyze(target: Target, address: str) -> list[str]:
    """What sslyze finds wrong with the platform's name at this address."""
    judge = [ROOT / ".venv/sslyze/bin/python", ROOT / "tests/lab/judge_tls.py"]
    done = subprocess.run(
        [*judge, target.server_name, address, target.ca_file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    faults: list[str] = json.loads(done.stdout)
    return faults


def test_sslyze_finds_no_weak_protocol_cipher_or_certificate(lab: Lab, target: Target) -> None:
    hosts = lab.hosts()
    balancers = {name: hosts[name]["address"] for name in lab.group("load_balancers")}
    for place, address in {"the virtual address": target.vip, **balancers}.items():
        assert sslyze(target, address) == [], place


def gixy(configuration: str) -> list[dict[str, Any]]:
    """What gixy finds in what `nginx -T` printed."""
    program = ROOT / ".venv/bin/gixy"
    done = subprocess.run(
        [program, "--format", "json", "--skips", ",".join(NOT_A_FAULT), "-"],
        input=configuration,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    return findings


def test_gixy_finds_nothing_in_what_nginx_runs_with(lab: Lab) -> None:
    # It has nothing to say of what it cannot read, so it is seen to read.
    assert "http_splitting" in {one["plugin"] for one in gixy(FAULTY)}
    for balancer in lab.group("load_balancers"):
        configuration = lab.on(balancer, "nginx -T 2>/dev/null")
        assert "# configuration file /etc/nginx/nginx.conf:" in configuration
        findings = gixy(configuration)
        assert not findings, "\n".join(
            f"{balancer}: {one['severity']} {one['plugin']}: {one['reason']}\n{one['config']}" for one in findings
        )
