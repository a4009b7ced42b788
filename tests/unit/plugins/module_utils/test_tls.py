import datetime
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.escala.ha.plugins.module_utils import _tls
from ansible_collections.escala.ha.plugins.module_utils._http import Endpoint

NAME = "app.example.com"
NOW = datetime.datetime(2026, 2, 9, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
GOOD = _tls.Certificate(NAME, "Test CA", [NAME], (NOW - DAY).timestamp(), (NOW + 30 * DAY).timestamp())


class Authority:
    def __init__(self, folder):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test CA")])
        self.folder = folder
        self.file = str(folder / "ca.pem")
        certificate = self._signed(self.name, self.key, 3650).add_extension(x509.BasicConstraints(True, None), True)
        (folder / "ca.pem").write_bytes(self._pem(certificate))

    def issue(self, name, days=30, started_days_ago=60):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = self._signed(subject, key, days, started_days_ago)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        file = self.folder / f"{name}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + self._pem(builder))
        return str(file)

    def _signed(self, subject, key, days, started_days_ago=60):
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - started_days_ago * DAY)
            .not_valid_after(now + days * DAY)
        )

    def _pem(self, builder):
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def serving():
    """A TLS server that shakes hands with whoever comes."""
    listeners, threads = [], []

    def serve(certificate, oldest=ssl.TLSVersion.TLSv1_2, newest=ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = oldest, newest
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept():
            while True:
                try:
                    connection, _peer = listener.accept()
                except OSError:
                    return
                connection.settimeout(5)
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()

        threads.append(threading.Thread(target=accept, daemon=True))
        threads[-1].start()
        return Endpoint("127.0.0.1", listener.getsockname()[1], NAME, 5.0)

    yield serve
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(10)


def checked(endpoint, authority, limit=14):
    now = datetime.datetime.now(datetime.UTC).timestamp()
    return _tls.check_certificate(endpoint, authority.file, limit, now)


def test_a_certificate_of_the_given_authority_for_the_name_passes(authority, serving):
    verdict = checked(serving(authority.issue(NAME)), authority)
    assert verdict["passed"], verdict["reason"]
    assert verdict["evidence"]["names"] == [NAME]
    assert verdict["evidence"]["issuer"] == "Test CA"
    assert verdict["evidence"]["days_left"] == 29


def test_a_certificate_that_ends_before_the_limit_fails(authority, serving):
    verdict = checked(serving(authority.issue(NAME)), authority, limit=31)
    assert verdict["reason"].startswith("29 days left, limit is 31; renew it")


@pytest.mark.parametrize(
    ("name", "days", "started_days_ago", "said"),
    [
        (NAME, -1, 60, "certificate has expired; renew it"),
        (NAME, 30, -1, "certificate is not yet valid; set the clocks"),
        ("other.example.com", 30, 60, "issue a certificate that covers the name"),
    ],
)
def test_a_certificate_that_no_client_takes_fails_with_the_next_step(
    authority, serving, name, days, started_days_ago, said
):
    verdict = checked(serving(authority.issue(name, days, started_days_ago)), authority)
    assert not verdict["passed"]
    assert said in verdict["reason"]


def test_an_authority_that_is_not_ours_is_not_trusted(authority, serving, tmp_path):
    verdict = checked(serving(Authority(tmp_path).issue(NAME)), authority)
    assert not verdict["passed"]
    assert "refused for app.example.com" in verdict["reason"]


def test_an_authority_that_cannot_be_read_is_named():
    verdict = _tls.check_certificate(Endpoint("127.0.0.1", 1, NAME, 1.0), "/nowhere/ca.pem", 14, 0)
    assert "/nowhere/ca.pem cannot be read" in verdict["reason"]


def test_a_service_that_is_down_fails_both_checks(authority):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1], NAME, 1.0)
    assert "connection refused" in checked(endpoint, authority)["reason"]
    assert "connection refused" in _tls.check_versions(endpoint)["reason"]


@pytest.mark.parametrize(
    ("now", "limit", "passed"),
    [
        (NOW, 30, True),
        (NOW, 31, False),
        (NOW + 30 * DAY, 0, True),
        (NOW + 31 * DAY, 0, False),
        (NOW - 2 * DAY, 14, False),
    ],
)
def test_dates_are_judged_at_the_time_that_is_given(now, limit, passed):
    assert _tls.judge_certificate(NAME, GOOD, limit, now.timestamp())["passed"] is passed


def test_modern_versions_alone_pass(authority, serving):
    verdict = _tls.check_versions(serving(authority.issue(NAME)))
    assert verdict["passed"], verdict["reason"]
    assert verdict["evidence"]["versions"] == {
        "TLSv1.0": "refused",
        "TLSv1.1": "refused",
        "TLSv1.2": "accepted",
        "TLSv1.3": "accepted",
    }


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_an_old_version_that_is_still_spoken_fails(authority, serving):
    endpoint = serving(authority.issue(NAME), oldest=ssl.TLSVersion.TLSv1)
    verdict = _tls.check_versions(endpoint)
    assert verdict["reason"].startswith("TLSv1.0, TLSv1.1 accepted, limit is TLSv1.2")


def test_one_modern_version_is_enough(authority, serving):
    endpoint = serving(authority.issue(NAME), oldest=ssl.TLSVersion.TLSv1_3)
    assert _tls.check_versions(endpoint)["evidence"]["versions"]["TLSv1.2"] == "refused"
    assert _tls.check_versions(endpoint)["passed"]


def test_a_service_that_speaks_no_tls_at_all_fails():
    assert not _tls.judge_versions(dict.fromkeys([*_tls.OLD, *_tls.MODERN], False))["passed"]
