from __future__ import annotations

import datetime

import pytest
from ansible.errors import AnsibleFilterError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.escala.ha.plugins.filter.certificate_days_left import FilterModule

certificate_days_left = FilterModule().filters()["certificate_days_left"]

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def ten_days():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "app.example")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, START, START + 10 * DAY)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(("age", "left"), [(0 * DAY, 10), (9.5 * DAY, 0.5), (12 * DAY, -2)])
def test_days_are_counted_to_the_end(ten_days, age, left):
    assert certificate_days_left(ten_days, START + age) == left


def test_a_chain_counts_by_its_first_certificate(ten_days):
    assert certificate_days_left(ten_days + "-----BEGIN CERTIFICATE-----\nrest\n", START) == 10


def test_without_a_time_it_is_now(ten_days):
    now = datetime.datetime.now(datetime.UTC)
    assert certificate_days_left(ten_days) == pytest.approx((START + 10 * DAY - now) / DAY, abs=0.01)


@pytest.mark.parametrize("text", ["", "no certificate"])
def test_what_is_no_certificate_is_refused(text):
    with pytest.raises(AnsibleFilterError, match="takes a certificate in PEM format"):
        certificate_days_left(text)
