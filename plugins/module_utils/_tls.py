# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge a service's certificate and the TLS versions that it speaks."""

from __future__ import annotations

import datetime
import os
import ssl
import struct
import typing as t

from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint, problem, unverified
from ansible_collections.escala.ha.plugins.module_utils._verdict import Check, Verdict

CERTIFICATE = Check(1, "certificate_valid", "The certificate is trusted, covers the name and does not expire soon")
VERSIONS = Check(1, "tls_versions", "The service speaks TLS 1.2 or newer and nothing older")

OLD = {"TLSv1.0": b"\x03\x01", "TLSv1.1": b"\x03\x02"}
MODERN = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}

_DAY_SECONDS = 86400
_ALERT, _HANDSHAKE = 0x15, 0x16

# OpenSSL's X509_V_ERR_* numbers, each with what mends it.
_NEXT_STEP = {
    9: "set the clocks of the balancer and of this host",
    10: "renew it by running the etapa's playbook again",
    18: "give the file of the authority that signed it as ca_file",
    19: "give the file of the authority that signed it as ca_file",
    20: "give the file of the authority that signed it as ca_file, and serve the whole chain",
    21: "serve the whole chain, intermediate certificates included",
    62: "issue a certificate that covers the name",
}


class Certificate(t.NamedTuple):
    subject: str
    issuer: str
    names: t.List[str]
    not_before: float
    not_after: float


def certificate_from(peer: t.Mapping[str, t.Any]) -> Certificate:
    """Read what ssl.SSLSocket.getpeercert() returns for a certificate that was verified."""

    def common_name(field: str) -> str:
        parts = {key: value for group in peer.get(field, ()) for key, value in group}
        return str(parts.get("commonName", parts))

    return Certificate(
        subject=common_name("subject"),
        issuer=common_name("issuer"),
        names=[name for _kind, name in peer.get("subjectAltName", ())],
        not_before=float(ssl.cert_time_to_seconds(peer["notBefore"])),
        not_after=float(ssl.cert_time_to_seconds(peer["notAfter"])),
    )


def judge_certificate(server_name: str, certificate: Certificate, days_left_limit: int, now: float) -> Verdict:
    """Judge the dates of a certificate whose chain and name the handshake has already proven."""
    days_left = int((certificate.not_after - now) // _DAY_SECONDS)
    evidence = {
        "server_name": server_name,
        "names": certificate.names,
        "issuer": certificate.issuer,
        "not_before": _date(certificate.not_before),
        "not_after": _date(certificate.not_after),
        "days_left": days_left,
        "days_left_limit": days_left_limit,
    }
    if now < certificate.not_before:
        return CERTIFICATE.fails(
            f"not valid before {_date(certificate.not_before)}, now it is {_date(now)}; {_NEXT_STEP[9]}", **evidence
        )
    if days_left < days_left_limit:
        return CERTIFICATE.fails(f"{days_left} days left, limit is {days_left_limit}; {_NEXT_STEP[10]}", **evidence)
    return CERTIFICATE.passes(
        f"covers {server_name}, signed by {certificate.issuer}, {days_left} days left (limit {days_left_limit})",
        **evidence,
    )


def judge_untrusted(server_name: str, error: ssl.SSLCertVerificationError) -> Verdict:
    step = _NEXT_STEP.get(error.verify_code, "replace the certificate")
    return CERTIFICATE.fails(
        f"refused for {server_name}: {error.verify_message.rstrip('.')}; {step}", server_name=server_name
    )


def check_certificate(endpoint: Endpoint, ca_file: t.Optional[str], days_left_limit: int, now: float) -> Verdict:
    if ca_file and not os.access(ca_file, os.R_OK):
        return CERTIFICATE.fails(f"the authority's file {ca_file} cannot be read on this host; correct ca_file")
    try:
        context = ssl.create_default_context(cafile=ca_file)
        # Python 3.13 is stricter than 3.12 by default; one certificate must get one verdict from every host.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        with endpoint.connect_tls(context) as tls:
            certificate = certificate_from(tls.getpeercert() or {})
    except ssl.SSLCertVerificationError as error:
        return judge_untrusted(endpoint.server_name, error)
    except OSError as error:
        return CERTIFICATE.fails(
            f"no TLS connection to {endpoint.address}:{endpoint.port}: {problem(error)}; see whether a balancer serves there"
        )
    return judge_certificate(endpoint.server_name, certificate, days_left_limit, now)


def client_hello(version: bytes, server_name: str, random: bytes) -> bytes:
    """The first message of a client that speaks this old version and no newer one.

    It is written by hand because today's OpenSSL refuses to offer the versions whose refusal is to be proven.
    """
    # ECDHE, DHE and RSA with AES in CBC mode: what every server of those versions had.
    suites = struct.pack("!8H", 0xC009, 0xC00A, 0xC013, 0xC014, 0x0033, 0x0039, 0x002F, 0x0035)
    name = server_name.encode("idna")
    entry = b"\x00" + _vector(2, name)
    extensions = b"".join(
        struct.pack("!H", number) + _vector(2, content)
        for number, content in (
            (0x0000, _vector(2, entry)),
            (0x000A, _vector(2, struct.pack("!3H", 0x001D, 0x0017, 0x0018))),
            (0x000B, _vector(1, b"\x00")),
        )
    )
    hello = version + random + _vector(1, b"") + _vector(2, suites) + _vector(1, b"\x00") + _vector(2, extensions)
    return bytes([_HANDSHAKE]) + b"\x03\x01" + _vector(2, b"\x01" + _vector(3, hello))


def accepts(reply: bytes) -> bool:
    """Whether the first bytes of a server's reply begin a handshake; an alert or a closed connection is a refusal."""
    return reply[:1] == bytes([_HANDSHAKE])


def offer_old(endpoint: Endpoint, version: bytes) -> bool:
    with endpoint.connect() as plain:
        plain.sendall(client_hello(version, endpoint.server_name, os.urandom(32)))
        try:
            return accepts(plain.recv(1))
        except ConnectionResetError:
            return False


def offer_modern(endpoint: Endpoint, version: ssl.TLSVersion) -> bool:
    context = unverified()
    context.minimum_version = context.maximum_version = version
    try:
        endpoint.connect_tls(context).close()
    except ssl.SSLError:
        return False
    return True


def judge_versions(spoken: t.Mapping[str, bool]) -> Verdict:
    accepted = [name for name, yes in spoken.items() if yes]
    old = [name for name in accepted if name in OLD]
    evidence = {name: "accepted" if yes else "refused" for name, yes in spoken.items()}
    if old:
        return VERSIONS.fails(
            f"{', '.join(old)} accepted, limit is TLSv1.2; switch the old versions off", versions=evidence
        )
    if not accepted:
        return VERSIONS.fails("neither TLSv1.2 nor TLSv1.3 is accepted; switch one of them on", versions=evidence)
    return VERSIONS.passes(f"{' and '.join(accepted)} accepted, older ones refused", versions=evidence)


def check_versions(endpoint: Endpoint) -> Verdict:
    try:
        spoken = {name: offer_old(endpoint, version) for name, version in OLD.items()}
        spoken.update((name, offer_modern(endpoint, version)) for name, version in MODERN.items())
    except OSError as error:
        return VERSIONS.fails(
            f"no connection to {endpoint.address}:{endpoint.port}: {problem(error)}; see whether a balancer serves there"
        )
    return judge_versions(spoken)


def _vector(length_bytes: int, content: bytes) -> bytes:
    return len(content).to_bytes(length_bytes, "big") + content


def _date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
