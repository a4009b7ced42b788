from __future__ import annotations

import datetime

import pytest
from ansible.errors import AnsibleFilterError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.escala.ha.plugins.filter import certificate_faults as module

certificate_faults = module.FilterModule().filters()["certificate_faults"]

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def pair():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, START, START + datetime.timedelta(days=10))
    names = x509.SubjectAlternativeName([x509.DNSName("app.example")])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    return (
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


def test_a_pair_that_serves_has_none(pair):
    assert certificate_faults(*pair, ["app.example"], START.timestamp()) == []


def test_each_fault_is_one_sentence_with_its_remedy(pair):
    assert certificate_faults(*pair, ["other.example"], START.timestamp()) == [
        "the certificate does not cover other.example: it is for app.example; ask the authority for one that covers every name"
    ]


def test_without_a_time_it_is_now(pair):
    [fault] = certificate_faults(*pair, ["app.example"])
    assert fault.startswith("the certificate of CN=app expired on 2026-01-11")


def test_a_controller_without_the_library_is_told_so(pair, monkeypatch):
    monkeypatch.setattr(module, "HAS_CRYPTOGRAPHY", False)
    with pytest.raises(AnsibleFilterError, match="needs the Python package cryptography"):
        certificate_faults(*pair, [])
