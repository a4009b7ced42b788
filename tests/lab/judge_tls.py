"""sslyze's verdict on a server, for the tests: a program of its own, since sslyze has an environment of its own.

Prints a JSON list of what is wrong: `judge_tls.py NAME ADDRESS FILE_OF_THE_AUTHORITY`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

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

# No weaker than the profile's curves. With a list of curves of our own OpenSSL 3.5 would no longer offer X25519MLKEM768, which Debian 12's does not know.
STRONGER_CURVES = {"X448", "secp521r1"}


def scan(name: str, address: str, authority: Path) -> ServerScanResult:
    """All that sslyze looks at, for this name at this address."""
    scanner = Scanner()
    scanner.queue_scans(
        [
            ServerScanRequest(
                ServerNetworkLocation(name, 443, ip_address=address),
                ServerNetworkConfiguration(name),
                scan_commands_extra_arguments=ScanCommandsExtraArguments(
                    certificate_info=CertificateInfoExtraArgument(authority)
                ),
            )
        ]
    )
    return next(iter(scanner.get_results()))


def outside_the_profile(result: ServerScanResult) -> list[str]:
    """Where the server is weaker than Mozilla's intermediate profile."""
    profile = MozillaTlsConfiguration.get(TlsConfigurationEnum.MOZILLA_INTERMEDIATE)
    profile.tls_curves |= STRONGER_CURVES
    try:
        check_server_against_tls_configuration(result, profile)
    except ServerNotCompliantWithTlsConfiguration as found:
        return list(found.issues.values())
    return []


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


def main(name: str, address: str, authority: str) -> int:
    result = scan(name, address, Path(authority))
    found = result.scan_result
    if found is None:
        print(f"{address}: {result.connectivity_error_trace}", file=sys.stderr)
        return 1
    faults = [*outside_the_profile(result), *certificate_faults(found), *what_more_is_wrong(found)]
    print(json.dumps(faults))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
