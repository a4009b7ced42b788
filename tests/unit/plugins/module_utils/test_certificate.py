from __future__ import annotations

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ansible_collections.escala.ha.plugins.module_utils._certificate import covers, faults_of, names_of

DAY = 86400
NOW = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
NAMES = ["app.example.com", "www.example.com"]

# Made by openssl for x.example, since the library that makes the others refuses to sign with SHA-1.
SHA1_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBfDCCASSgAwIBAgIUNYqX+PBEUNLOTbQ41FjYOcT8lSIwCQYHKoZIzj0EATAM
MQowCAYDVQQDDAF4MCAXDTI2MTEyNDAwMzI1OVoYDzIwODEwODI3MDAzMjU5WjAM
MQowCAYDVQQDDAF4MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECK0ScquTq/4t
PXN2TwZPZHkbHG90mCMtk17/rY5DLbi7uK98cFQLxwDkpJxHvUuKO3hcpGoVPCXm
czLgzA3jqqNjMGEwHQYDVR0OBBYEFA5yJWInNXN7EcY813MzhagWL+x/MB8GA1Ud
IwQYMBaAFA5yJWInNXN7EcY813MzhagWL+x/MBQGA1UdEQQNMAuCCXguZXhhbXBs
ZTAJBgNVHRMEAjAAMAkGByqGSM49BAEDRwAwRAIgWeorZx+I2wry2axIiEuVAdHF
J6J6tafHwc6mftpb2gsCIFF6/2p6fbroY8TbhGO8yFAiPUwnVMdtHy8JK0/E0X4Y
-----END CERTIFICATE-----
"""


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key, passphrase=b""):
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def name_of(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)] if text else [])


def alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Party:
    """Who has a key and a certificate, and may sign another's."""

    def __init__(self, name, signer=None, names=(), key=None, days=(-1, 90), usage=(), authority=False):
        self.key = key or new_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name_of(name))
            .issuer_name(signer.certificate.subject if signer else name_of(name))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + datetime.timedelta(days=days[0]))
            .not_valid_after(NOW + datetime.timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([alternative(name) for name in names]), False)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(usage)), critical=False)
        self.certificate = builder.sign(signer.key if signer else self.key, hashes.SHA256())

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def root():
    return Party("Root", authority=True, days=(-400, 4000))


@pytest.fixture(scope="module")
def middle(root):
    return Party("Middle", root, authority=True, days=(-400, 4000))


@pytest.fixture(scope="module")
def server(middle):
    return Party("app.example.com", middle, NAMES, usage=[x509.ExtendedKeyUsageOID.SERVER_AUTH])


def faults(certificate_pem, key, names=tuple(NAMES), now=NOW):
    key_pem = key if isinstance(key, str) else pem_of(key)
    return faults_of(certificate_pem, key_pem, list(names), now.timestamp())


def problems(*arguments, **more):
    return [problem for problem, _remedy in faults(*arguments, **more)]


def test_a_certificate_with_its_chain_has_no_fault(server, middle, root):
    assert faults(server.pem, server.key) == []
    assert faults(server.pem + middle.pem, server.key) == []
    assert faults(server.pem + middle.pem + root.pem, server.key) == []


def test_text_between_the_certificates_of_a_chain_does_no_harm(server, middle):
    assert faults(f"subject=app\n{server.pem}\nissuer=Middle\n{middle.pem}\n", server.key) == []


def test_no_names_asked_for_are_all_covered(server):
    assert faults(server.pem, server.key, names=[]) == []


@pytest.mark.parametrize(
    "kind", [lambda: rsa.generate_private_key(65537, 2048), lambda: ec.generate_private_key(ec.SECP384R1())]
)
def test_each_usual_kind_of_key_serves(kind):
    party = Party("x", names=NAMES, key=kind())
    assert faults(party.pem, party.key) == []


@pytest.mark.parametrize(
    "text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_said(server, text):
    [(problem, remedy)] = faults(text, server.key)
    assert problem.startswith("the certificate cannot be read: ")
    assert "\n" not in problem
    assert "BEGIN CERTIFICATE" in remedy


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PRIVATE KEY-----\nU0VDUkVU\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_said_and_not_shown(server, text):
    [(problem, remedy)] = faults(server.pem, text)
    assert problem == "the key cannot be read"
    assert "PRIVATE KEY" in remedy


def test_both_unreadable_are_two_faults():
    assert len(faults("", "")) == 2


def test_a_key_with_a_passphrase_is_refused_with_what_to_do(server):
    [(problem, remedy)] = faults(server.pem, pem_of(server.key, b"secret"))
    assert "encrypted with a passphrase" in problem
    assert "ansible-vault" in remedy


def test_a_key_of_another_certificate_is_named(server):
    [(problem, remedy)] = faults(server.pem, new_key())
    assert problem == "the key does not belong to the certificate of CN=app.example.com"
    assert "asked for" in remedy


def test_a_key_in_the_certificate_s_file_would_be_readable_for_everybody(server):
    [(problem, remedy)] = faults(server.pem + pem_of(server.key), server.key)
    assert "also holds a private key" in problem
    assert "file of its own" in remedy


def test_a_chain_that_begins_with_the_authority_is_told_from_a_wrong_key(server, middle):
    found = problems(middle.pem + server.pem, server.key)
    assert "the file begins with the certificate of CN=Middle, and the key belongs to a later one" in found
    assert "the first certificate, of CN=Middle, is an authority's and no server's" in found
    assert not any("does not belong" in problem for problem in found)


def test_a_gap_in_the_chain_is_named(server, root):
    [(problem, remedy)] = faults(server.pem + root.pem, server.key)
    assert problem == "the certificate of CN=app.example.com was not signed by the one after it, of CN=Root"
    assert "server's own certificate first" in remedy


def test_an_authority_of_the_same_name_with_another_key_did_not_sign_it(server):
    impostor = Party("Middle", authority=True)
    assert problems(server.pem + impostor.pem, server.key) == [
        "the certificate of CN=app.example.com was not signed by the one after it, of CN=Middle"
    ]


def test_the_same_certificate_twice_is_no_chain(server):
    assert len(problems(server.pem * 2, server.key)) == 1


def test_dates_count_to_the_second():
    party = Party("x", names=NAMES, days=(0, 10))
    at = lambda seconds: problems(party.pem, party.key, now=NOW + datetime.timedelta(seconds=seconds))  # noqa: E731
    assert at(-1) == ["the certificate of CN=x is not valid before 2026-11-24"]
    assert at(0) == []
    assert at(10 * DAY - 1) == []
    assert at(10 * DAY) == ["the certificate of CN=x expired on 2026-12-04"]


def test_an_expired_authority_in_the_chain_is_a_fault_too():
    root = Party("Old", authority=True, days=(-400, -1))
    server = Party("x", root, NAMES)
    assert problems(server.pem + root.pem, server.key) == ["the certificate of CN=Old expired on 2026-11-23"]


def test_every_name_that_is_not_covered_is_named_with_what_is(server):
    [(problem, remedy)] = faults(server.pem, server.key, names=[*NAMES, "api.example.com", "example.com"])
    assert problem == (
        "the certificate does not cover api.example.com, example.com: it is for app.example.com, www.example.com"
    )
    assert "covers every name" in remedy


def test_a_common_name_alone_covers_nothing():
    party = Party("app.example.com")
    assert problems(party.pem, party.key, names=["app.example.com"]) == [
        "the certificate does not cover app.example.com: it has no subject alternative names at all"
    ]


@pytest.mark.parametrize(
    ("in_certificate", "name", "covered"),
    [
        ("app.example.com", "app.example.com", True),
        ("app.example.com", "APP.Example.com.", True),
        ("App.Example.COM", "app.example.com", True),
        ("app.example.com", "example.com", False),
        ("app.example.com", "x.app.example.com", False),
        ("*.example.com", "app.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.b.example.com", False),
        ("*.example.com", "*.example.com", True),
        ("app.example.com", "*.example.com", False),
        ("a*.example.com", "app.example.com", False),
        ("*.*.example.com", "a.b.example.com", False),
        ("*", "com", False),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("*.0.0.1", "10.0.0.1", False),
        ("2001:db8::1", "2001:0db8:0:0::1", True),
    ],
)
def test_a_name_is_covered_as_browsers_see_it(in_certificate, name, covered):
    assert covers([in_certificate], name) is covered


def test_names_of_a_certificate_are_its_names_and_addresses():
    party = Party("x", names=["a.example", "10.0.0.1", "2001:db8::1"])
    assert names_of(party.certificate) == ["a.example", "10.0.0.1", "2001:db8::1"]
    assert faults(party.pem, party.key, names=["10.0.0.1", "a.example"]) == []


def test_a_certificate_without_a_subject_is_told_by_its_names():
    party = Party("", names=["a.example"])
    assert problems(party.pem, new_key(), names=[]) == ["the key does not belong to the certificate of a.example"]


def test_a_certificate_for_clients_is_no_server_s():
    party = Party("x", names=NAMES, usage=[x509.ExtendedKeyUsageOID.CLIENT_AUTH])
    assert problems(party.pem, party.key) == ["the certificate may not be used by a server"]
    anything = Party("x", names=NAMES, usage=[x509.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    assert faults(anything.pem, anything.key) == []


def test_a_key_that_openssl_no_longer_takes_is_refused():
    party = Party("x", names=NAMES, key=rsa.generate_private_key(65537, 1024))  # noqa: S505
    [(problem, remedy)] = faults(party.pem, party.key)
    assert problem == "the key has 1024 bits, at least 2048 are safe"
    assert "larger key" in remedy
    small = Party("x", names=NAMES, key=ec.generate_private_key(ec.SECP192R1()))
    assert problems(small.pem, small.key) == ["the key has 192 bits, at least 256 are safe"]


def test_a_signature_that_no_browser_trusts_is_refused():
    found = problems(SHA1_CERTIFICATE, new_key(), names=["x.example"], now=NOW + datetime.timedelta(days=1))
    assert "the certificate is signed with sha1, which no browser trusts" in found


def test_all_faults_are_said_at_once(server):
    found = problems(server.pem, new_key(), names=["other.example"], now=NOW + datetime.timedelta(days=91))
    assert len(found) == 3
