# Copyright: (c) 2026, escala.ha contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what is wrong with a certificate and its key before any host gets them."""

from __future__ import annotations

import datetime
import ipaddress
import typing as t

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID

    HAS_CRYPTOGRAPHY = True
except ImportError:
    HAS_CRYPTOGRAPHY = False

Fault = t.Tuple[str, str]

_LEAST_BITS_RSA = 2048
_LEAST_BITS_EC = 256
# What OpenSSL's default security level no longer takes in a certificate that it serves.
_BROKEN_HASHES = ("md5", "sha1")

_PEM = "give the file that the authority sent, in PEM format: it has a line -----BEGIN CERTIFICATE-----"
_ORDER = "write the server's own certificate first, then the one that signed it, and so on"
_ANOTHER = "ask the authority for another certificate"


def faults_of(certificate_pem: str, key_pem: str, names: t.Sequence[str], now: float) -> t.List[Fault]:
    """All that keeps these two from serving these names now (seconds since the epoch): each problem with its remedy.

    `certificate_pem` is the server's certificate, any intermediate authorities after it.
    """
    faults: t.List[Fault] = []
    chain = _chain(certificate_pem, faults)
    key = _public_key(key_pem, faults)
    if not chain:
        return faults
    if key is not None:
        faults += _key_faults(chain, key)
    faults += _order_faults(chain)
    faults += _date_faults(chain, datetime.datetime.fromtimestamp(now, datetime.timezone.utc))
    faults += _name_faults(chain[0], names)
    faults += _strength_faults(chain[0])
    return faults


def covers(names_in_certificate: t.Iterable[str], name: str) -> bool:
    """Whether one of a certificate's names stands for this one, as browsers see it: a star is one label, the first."""
    wanted = _plain(name)
    _label, dot, rest = wanted.partition(".")
    accepted = {wanted} if _is_address(wanted) or not dot else {wanted, f"*.{rest}"}
    return any(_plain(candidate) in accepted for candidate in names_in_certificate)


def names_of(certificate: x509.Certificate) -> t.List[str]:
    """The names and addresses for which a certificate is valid; its common name is none of them."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _chain(pem: str, faults: t.List[Fault]) -> t.List[x509.Certificate]:
    if "PRIVATE KEY-----" in pem:
        faults.append(
            (
                "the certificate's file also holds a private key, and everybody may read that file",
                "keep the key in a file of its own",
            )
        )
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError as unreadable:
        faults.append((f"the certificate cannot be read: {_first_line(unreadable)}", _PEM))
        return []


def _public_key(pem: str, faults: t.List[Fault]) -> t.Optional[bytes]:
    """The public half of a private key, in a form that can be compared."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        faults.append(
            (
                "the key is encrypted with a passphrase of its own, which nobody types in when a balancer starts",
                "take the passphrase off (`openssl pkey -in OLD -out NEW`) and encrypt the file with ansible-vault",
            )
        )
        return None
    except (ValueError, UnsupportedAlgorithm):
        # What the library says of a broken key may quote it.
        faults.append(
            (
                "the key cannot be read",
                "give the private key in PEM format: it has a line that ends in PRIVATE KEY-----",
            )
        )
        return None
    return _bytes(key.public_key())


def _key_faults(chain: t.Sequence[x509.Certificate], key: bytes) -> t.Iterator[Fault]:
    if _bytes(chain[0].public_key()) == key:
        return
    if any(_bytes(other.public_key()) == key for other in chain[1:]):
        yield (
            f"the file begins with the certificate of {_subject(chain[0])}, and the key belongs to a later one",
            _ORDER,
        )
    else:
        yield (
            f"the key does not belong to the certificate of {_subject(chain[0])}",
            "give the key with which that certificate was asked for",
        )


def _order_faults(chain: t.Sequence[x509.Certificate]) -> t.Iterator[Fault]:
    if _is_authority(chain[0]):
        yield (f"the first certificate, of {_subject(chain[0])}, is an authority's and no server's", _ORDER)
    for signed, signer in zip(chain, chain[1:]):
        if not _is_signed_by(signed, signer):
            yield (
                f"the certificate of {_subject(signed)} was not signed by the one after it, of {_subject(signer)}",
                _ORDER,
            )


def _date_faults(chain: t.Sequence[x509.Certificate], now: datetime.datetime) -> t.Iterator[Fault]:
    for certificate in chain:
        if now >= certificate.not_valid_after_utc:
            yield (
                f"the certificate of {_subject(certificate)} expired on {_date(certificate.not_valid_after_utc)}",
                "renew it at the authority that signed it",
            )
        if now < certificate.not_valid_before_utc:
            yield (
                f"the certificate of {_subject(certificate)} is not valid before {_date(certificate.not_valid_before_utc)}",
                "wait until then, or set this machine's clock right",
            )


def _name_faults(certificate: x509.Certificate, names: t.Sequence[str]) -> t.Iterator[Fault]:
    covered = names_of(certificate)
    missing = [name for name in names if not covers(covered, name)]
    if missing:
        said = f"it is for {', '.join(covered)}" if covered else "it has no subject alternative names at all"
        yield (
            f"the certificate does not cover {', '.join(missing)}: {said}",
            "ask the authority for one that covers every name",
        )


def _strength_faults(certificate: x509.Certificate) -> t.Iterator[Fault]:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage):
            yield ("the certificate may not be used by a server", f"{_ANOTHER}, with the usage serverAuth")
    except x509.ExtensionNotFound:
        pass
    key = certificate.public_key()
    least = _LEAST_BITS_RSA if isinstance(key, rsa.RSAPublicKey) else _LEAST_BITS_EC
    if isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)) and key.key_size < least:
        yield (f"the key has {key.key_size} bits, at least {least} are safe", "make a larger key, and " + _ANOTHER)
    signed_with = certificate.signature_hash_algorithm
    if signed_with is not None and signed_with.name in _BROKEN_HASHES:
        yield (f"the certificate is signed with {signed_with.name}, which no browser trusts", _ANOTHER)


def _is_signed_by(signed: x509.Certificate, signer: x509.Certificate) -> bool:
    try:
        signed.verify_directly_issued_by(signer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or ", ".join(names_of(certificate)) or "nobody"


def _bytes(key: t.Any) -> bytes:
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _plain(name: str) -> str:
    name = name.strip().rstrip(".").lower()
    if _is_address(name):
        return str(ipaddress.ip_address(name))
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _date(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%d")
