"""What judges from outside say of the edge: sslyze of its TLS, gixy of the configuration that nginx runs with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sslyze import (
    AllScanCommandsAttempts,
    CertificateInfoExtraArgument,
    ScanCommandsExtraArguments,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
    ServerScanResult,
    TlsResumptionSupportEnum,
)
from sslyze.mozilla_tls_profile.tls_config_checker import (
    MozillaTlsConfiguration,
    ServerNotCompliantWithTlsConfiguration,
    TlsConfigurationEnum,
    check_server_against_tls_configuration,
)

from tests.lab.handle import Lab
from tests.lab.target import Target

# No weaker than the profile's curves. With a list of curves of our own OpenSSL 3.5 would no longer offer X25519MLKEM768, which Debian 12's does not know.
STRONGER_CURVES = {"X448", "secp521r1"}
# gixy's findings that are none, each with the reason.
NOT_A_FAULT = {
    "try_files_is_evil_too": "it wants open_file_cache, which would show a page of the release before after a deployment",
}

FAULTY = """# configuration file /etc/nginx/nginx.conf:
http { server { location / { return 302 https://example.org$uri; } } }
"""

pytestmark = [pytest.mark.usefixtures("whole_platform"), pytest.mark.either_engine]


def scan(target: Target, address: str) -> ServerScanResult:
    """All that sslyze looks at, for the platform's name at this address."""
    scanner = Scanner()
    scanner.queue_scans(
        [
            ServerScanRequest(
                ServerNetworkLocation(target.server_name, 443, ip_address=address),
                ServerNetworkConfiguration(target.server_name),
                scan_commands_extra_arguments=ScanCommandsExtraArguments(
                    certificate_info=CertificateInfoExtraArgument(Path(target.ca_file))
                ),
            )
        ]
    )
    return next(iter(scanner.get_results()))


def outside_the_profile(result: ServerScanResult) -> dict[str, str]:
    """Where the server is weaker than Mozilla's intermediate profile, by subject."""
    profile = MozillaTlsConfiguration.get(TlsConfigurationEnum.MOZILLA_INTERMEDIATE)
    profile.tls_curves |= STRONGER_CURVES
    try:
        check_server_against_tls_configuration(result, profile)
    except ServerNotCompliantWithTlsConfiguration as found:
        return found.issues
    return {}


def certificate_faults(found: AllScanCommandsAttempts) -> list[str]:
    """Why a client that trusts the platform's authority alone would not take the certificate."""
    assert found.certificate_info.result
    ours = [
        result
        for deployment in found.certificate_info.result.certificate_deployments
        for result in deployment.path_validation_results
        if result.trust_store.name == "Supplied CA file"
    ]
    assert ours
    return [str(result.validation_error) for result in ours if not result.was_validation_successful]


def what_more_is_wrong(found: AllScanCommandsAttempts) -> list[str]:
    """What the profile does not ask about."""
    assert found.tls_1_3_cipher_suites.result
    assert found.tls_1_3_early_data.result
    assert found.session_renegotiation.result
    assert found.session_resumption.result
    faults = {
        "TLS 1.3 is not spoken": not found.tls_1_3_cipher_suites.result.is_tls_version_supported,
        "early data, which can be sent again by others, is taken": found.tls_1_3_early_data.result.supports_early_data,
        "a client may renegotiate": found.session_renegotiation.result.is_vulnerable_to_client_renegotiation_dos,
        "session tickets are given out, under a key that is not changed": (
            found.session_resumption.result.tls_ticket_resumption_result != TlsResumptionSupportEnum.NOT_SUPPORTED
        ),
    }
    return [fault for fault, is_there in faults.items() if is_there]


def test_sslyze_finds_no_weak_protocol_cipher_or_certificate(lab: Lab, target: Target) -> None:
    hosts = lab.hosts()
    balancers = {name: hosts[name]["address"] for name in lab.group("load_balancers")}
    for place, address in {"the virtual address": target.vip, **balancers}.items():
        result = scan(target, address)
        assert result.scan_result, f"{place}: {result.connectivity_error_trace}"
        assert not outside_the_profile(result), place
        assert not certificate_faults(result.scan_result), place
        assert not what_more_is_wrong(result.scan_result), place


def gixy(configuration: str) -> list[dict[str, Any]]:
    """What gixy finds in what `nginx -T` printed."""
    program = Path(sys.executable).parent / "gixy"
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
