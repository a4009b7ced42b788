"""The certificate that clients see is changed under their hands: the customer's own, and one more from the platform's authority."""

from __future__ import annotations

import dataclasses
import datetime
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.lab.certificates import Authority, bundle, served_at
from tests.lab.eventually import eventually
from tests.lab.handle import ROOT, Lab, playbook
from tests.lab.interrupted import chance, kill_at_a_task
from tests.lab.load import BESIDE_A_RUN, running_load
from tests.lab.recap import changed_hosts
from tests.lab.target import Target

pytestmark = pytest.mark.usefixtures("whole_platform")

_PIECE = b"x" * 1024


def serials(lab: Lab, target: Target, ca_file: str | Path) -> dict[str, int]:
    """The number of the certificate that each balancer serves, trusted by that file."""
    hosts = lab.hosts()
    return {
        balancer: served_at(hosts[balancer]["address"], target.server_name, ca_file).serial_number
        for balancer in lab.group("load_balancers")
    }


def from_the_platform_s_own_authority(lab: Lab, target: Target) -> None:
    """As it is by default, whatever was tried."""
    done = playbook("renew_certificates.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    eventually("both serve our own certificate", lambda: serials(lab, target, target.ca_file), within=10)


class SlowUpload:
    """A file sent in small pieces over one TLS connection, for as long as it is wanted."""

    def __init__(self, target: Target) -> None:
        self._context = ssl.create_default_context(cafile=target.ca_file)
        self._target = target
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._send, name="upload")
        self.pieces = 0
        self.status = 0

    def __enter__(self) -> SlowUpload:
        self._thread.start()
        eventually("the upload is under way", lambda: self.pieces > 2, within=10)
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(30)

    def _connect(self) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(self._target.server_name, timeout=20, context=self._context)
        plain = socket.create_connection((self._target.vip, 443), 5)
        connection.sock = self._context.wrap_socket(plain, server_hostname=self._target.server_name)
        return connection

    def _token(self) -> str:
        connection = self._connect()
        body = {"tenant": self._target.tenant, "email": self._target.email, "password": self._target.password}
        headers = {"Content-Type": "application/json", "Connection": "close"}
        connection.request("POST", "/api/auth/login", json.dumps(body), headers)
        return str(json.loads(connection.getresponse().read())["accessToken"])

    def _pieces(self) -> Iterator[bytes]:
        yield b'--edge\r\nContent-Disposition: form-data; name="file"; filename="slow.txt"\r\nContent-Type: text/plain\r\n\r\n'
        while not self._enough.wait(0.2):
            self.pieces += 1
            yield _PIECE
        yield b"\r\n--edge--\r\n"

    def _send(self) -> None:
        connection = self._connect()
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "multipart/form-data; boundary=edge"}
        connection.request("POST", "/api/uploads", self._pieces(), headers, encode_chunked=True)
        self.status = connection.getresponse().status


@pytest.fixture
def _ours_again(whole_platform: None, lab: Lab, target: Target) -> Iterator[None]:
    yield
    from_the_platform_s_own_authority(lab, target)


@pytest.mark.usefixtures("_ours_again")
def test_the_customer_s_own_files_take_over_unnoticed(lab: Lab, target: Target, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "customer", "The customer's authority")
    either = dataclasses.replace(
        target, ca_file=str(bundle(tmp_path / "either.pem", target.ca_file, authority.ca_file))
    )
    pair = authority.issue("edge", [target.server_name])
    own = {
        "edge_certificate_source": "files",
        "edge_certificate_file": str(pair.certificate_file),
        "edge_certificate_key_file": str(pair.key_file),
    }
    with running_load(either, requests=2_000, rate=BESIDE_A_RUN) as load:
        done = playbook("renew_certificates.yml", "--extra-vars", json.dumps(own))
        assert done.returncode == 0, done.stdout[-3000:]
        assert len(set(serials(lab, target, authority.ca_file).values())) == 1
        again = playbook("renew_certificates.yml", "--extra-vars", json.dumps(own))
        assert changed_hosts(again.stdout) == {}
    load.result.assert_unharmed()
    assert pair.key_file.read_text().splitlines()[1] not in done.stdout + done.stderr


def test_files_that_would_not_serve_are_refused_and_nothing_changes(lab: Lab, target: Target, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "customer", "The customer's authority")
    before = serials(lab, target, target.ca_file)
    certificate = authority.issue("other", ["other.example"]).certificate_file
    key = authority.issue("another", [target.server_name]).key_file
    own = {
        "edge_certificate_source": "files",
        "edge_certificate_file": str(certificate),
        "edge_certificate_key_file": str(key),
    }
    done = playbook("renew_certificates.yml", "--extra-vars", json.dumps(own))
    message = " ".join(done.stdout.split() + done.stderr.split())
    assert done.returncode != 0
    assert "(edge_certificate_file)" in message
    assert "the key does not belong to the certificate of CN=other.example" in message
    assert f"does not cover {target.server_name}: it is for other.example" in message
    assert changed_hosts(done.stdout) == {}
    assert serials(lab, target, target.ca_file) == before


@pytest.fixture
def _signed_for_as_long_as_usual() -> Iterator[None]:
    """A certificate of which the controller has no copy is signed anew."""
    yield
    for copy in (ROOT / "inventories/lab/.state/pki/issued").glob("*-edge.crt"):
        copy.unlink()
    done = playbook("renew_certificates.yml")
    assert done.returncode == 0, done.stdout[-3000:]


def renewal_is_due(*certificates: x509.Certificate) -> tuple[str, str]:
    """With these arguments each of the certificates is too old, and the one that takes its place is not."""
    ends = max(certificate.not_valid_after_utc for certificate in certificates)
    days_left = (ends - datetime.datetime.now(datetime.UTC)).days
    due = {"pki_renew_before_days": days_left + 2, "pki_certificate_days": days_left + 3}
    return "--extra-vars", json.dumps(due)


@pytest.mark.usefixtures("_signed_for_as_long_as_usual")
def test_a_renewal_is_noticed_by_nobody_and_by_no_open_connection(lab: Lab, target: Target) -> None:
    before = serials(lab, target, target.ca_file)
    due = renewal_is_due(served_at(target.vip, target.server_name, target.ca_file))
    with running_load(target, requests=2_000, rate=BESIDE_A_RUN) as load, SlowUpload(target) as upload:
        done = playbook("renew_certificates.yml", *due)
        assert done.returncode == 0, done.stdout[-3000:]
        after = serials(lab, target, target.ca_file)
        pieces = upload.pieces
        eventually("the upload goes on", lambda: upload.pieces > pieces + 5, within=10)
    assert {balancer: after[balancer] != before[balancer] for balancer in after} == dict.fromkeys(before, True)
    assert upload.status == 201
    load.result.assert_unharmed()


@pytest.mark.usefixtures("_signed_for_as_long_as_usual")
@pytest.mark.soak_only
def test_a_renewal_that_was_killed_is_made_good_by_the_next(lab: Lab, target: Target, output: Path) -> None:
    before = serials(lab, target, target.ca_file)
    due = renewal_is_due(served_at(target.vip, target.server_name, target.ca_file))
    with running_load(target, requests=2_000, rate=BESIDE_A_RUN) as load:
        kill_at_a_task("renew_certificates.yml", *due, by=chance(), output=output / "killed.log")
        # Whatever each balancer serves by now, it is valid and has its own key.
        serials(lab, target, target.ca_file)
        done = playbook("renew_certificates.yml", *due)
    assert done.returncode == 0, done.stdout[-3000:]
    after = serials(lab, target, target.ca_file)
    assert {balancer: after[balancer] != before[balancer] for balancer in after} == dict.fromkeys(before, True)
    assert changed_hosts(playbook("renew_certificates.yml", *due).stdout) == {}
    load.result.assert_unharmed()
