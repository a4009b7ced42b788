from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.escala.ha.plugins.module_utils import _preflight_edge
from ansible_collections.escala.ha.plugins.module_utils._preflight import find_faults
from tests.unit.plugins.module_utils.preflight_platform import NOW, VIP, application, balancer, platform

_DAY = 86400


def faults(*hosts, **more):
    return [str(fault) for fault in find_faults(platform(*hosts, **more))]


@pytest.mark.parametrize(
    ("vip", "problem"),
    [
        ("nonsense", "is not an address with a prefix length; write it as 192.0.2.100/24"),
        ("192.0.2.100", "has no prefix length of its network; write it as 192.0.2.100/24"),
        ("192.0.2.255/24", "is the address of the network 192.0.2.0/24 itself; choose a free one inside it"),
        ("192.0.2.2/24", "is the address of lb2 itself; choose one that no host has"),
    ],
)
def test_a_virtual_address_must_be_a_free_one_in_the_network(vip, problem):
    assert faults(balancer(1, keepalived_vip=vip), balancer(2, keepalived_vip=vip)) == [
        f"lb1, lb2: keepalived_vip = {vip}: {problem}"
    ]


def test_a_virtual_address_must_be_in_every_balancer_s_network():
    assert faults(balancer(1), balancer(2, platform_address="198.51.100.2")) == [
        f"lb1, lb2: keepalived_vip = {VIP}: lb2 has 198.51.100.2, outside of 192.0.2.0/24; choose one in the network that the balancers share"
    ]


def test_a_virtual_address_needs_two_hosts():
    assert faults(balancer(1)) == [
        f"lb1: keepalived_vip = {VIP}: only one host would hold it; add a second balancer to the inventory, or leave keepalived_vip out"
    ]


def test_balancers_must_not_have_the_same_priority():
    assert faults(balancer(1, keepalived_priority=100), balancer(2, keepalived_priority=100)) == [
        "lb2: keepalived_priority = 100: is the priority of lb1 too; let them differ"
    ]


@pytest.mark.parametrize("priority", [0, 255, "high"])
def test_a_priority_must_be_one(priority):
    assert faults(balancer(1, keepalived_priority=priority), balancer(2)) == [
        f"lb1: keepalived_priority = {priority}: is not a number from 1 to 254; choose one"
    ]


def test_balancers_must_share_one_router_id():
    assert faults(balancer(1), balancer(2, keepalived_router_id=52)) == [
        "lb1, lb2: keepalived_router_id = ['51', '52']: differs between hosts that share an address; set the same on each"
    ]


def test_a_router_id_must_be_one():
    assert faults(balancer(1, keepalived_router_id=256), balancer(2, keepalived_router_id=256)) == [
        "lb1, lb2: keepalived_router_id = 256: is not a number from 1 to 255; choose one"
    ]


def test_a_rank_left_to_the_role_serves_for_one_balancer_only():
    quiet = {"keepalived_priority": None}
    assert faults(balancer(1, **quiet), balancer(2)) == []
    assert faults(balancer(1, **quiet), balancer(2, **quiet)) == [
        "lb2: keepalived_priority is the priority of lb1 too; let them differ"
    ]


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        ("load_balancer_engine", "choose one of nginx, haproxy"),
        ("edge_certificate_source", "choose one of pki, files, acme"),
    ],
)
def test_a_choice_must_be_one(variable, problem):
    assert faults(balancer(1, **{variable: "caddy"}), balancer(2)) == [
        f"lb1: {variable} = caddy: is unknown; {problem}"
    ]


@pytest.mark.parametrize(
    "name", ["https://app.example.com", "app_1.example.com", "-app.example.com", "app..example", ""]
)
def test_a_server_name_must_be_one(name):
    (fault,) = faults(balancer(1, load_balancer_server_names=[name]), balancer(2))
    assert fault == f"lb1: load_balancer_server_names = {name}: is not a host name; write it as app.example.com"


def test_server_names_must_be_a_list():
    (fault,) = faults(balancer(1, load_balancer_server_names="app.example.com"), balancer(2))
    assert "is not a list; write it as [app.example.com]" in fault


@pytest.mark.parametrize("entry", ["192.0.2.21", {"address": "app1", "port": 3001}, {"address": "192.0.2.21"}])
def test_upload_servers_must_have_addresses(entry):
    (fault,) = faults(balancer(1, load_balancer_upload_servers=[entry]), balancer(2))
    assert f"load_balancer_upload_servers = {entry}: has no IP address and port" in fault


def test_good_upload_servers_are_no_fault():
    servers = [{"name": "app1-3001", "address": "192.0.2.21", "port": 3001}]
    assert faults(balancer(1, load_balancer_upload_servers=servers), balancer(2), application()) == []


@pytest.mark.parametrize(
    ("ports", "read", "retry", "good"),
    [(2, 3, 7, True), (3, 3, 7, False), (3, 3, 9, False), (3, 3, 10, True), (1, 7, 7, False)],
)
def test_a_request_outlasts_every_instance_of_a_dead_host(ports, read, retry, good):
    times = {"load_balancer_read_timeout_seconds": read, "load_balancer_retry_timeout_seconds": retry}
    app = application(app_ports=list(range(3001, 3001 + ports)))
    found = faults(balancer(1, **times), balancer(2, **times), app)
    assert (found == []) is good
    if not good:
        assert (
            f"load_balancer_retry_timeout_seconds = {retry}: no longer than the {ports} instances of a host" in found[0]
        )


def test_a_virtual_address_needs_an_interface():
    found = faults(balancer(1, keepalived_interface=None), balancer(2))
    assert found == [
        "lb1: keepalived_interface is not set, and keepalived_vip needs it; name the interface of the address's network"
    ]


def key_pem(key):
    no_encryption = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_encryption).decode()


KEY, OTHER_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def certificate_pem(days_left=90, name="app.example.com"):
    now = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(days=200))
    builder = builder.not_valid_after(now + datetime.timedelta(days=days_left))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def with_certificate(certificate, key):
    files = {"/edge.crt": certificate, "/edge.key": key}

    def text_of(path):
        if isinstance(files[path], Exception):
            raise files[path]
        return files[path]

    given = {
        "edge_certificate_source": "files",
        "edge_certificate_file": "/edge.crt",
        "edge_certificate_key_file": "/edge.key",
    }
    return faults(balancer(1, **given), balancer(2, **given), text_of=text_of)


def test_a_good_certificate_is_no_fault():
    assert with_certificate(certificate_pem(), key_pem(KEY)) == []


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (certificate_pem(), key_pem(OTHER_KEY), "the key does not belong to the certificate"),
        (certificate_pem(days_left=-1), key_pem(KEY), "expired on"),
        (certificate_pem(days_left=13), key_pem(KEY), "expires within preflight_certificate_days_left = 14 days"),
        (certificate_pem(name="other.example.com"), key_pem(KEY), "does not cover app.example.com"),
        ("nonsense", key_pem(KEY), "the certificate cannot be read"),
    ],
)
def test_a_bad_certificate_is_one_fault_of_both_balancers(certificate, key, problem):
    (fault,) = with_certificate(certificate, key)
    assert fault.startswith("lb1, lb2: edge_certificate_file = /edge.crt: ")
    assert problem in fault


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (PermissionError(13, "Permission denied"), "the controller cannot read it: Permission denied"),
        (
            UnicodeDecodeError("utf-8", b"\x80", 0, 1, "invalid start byte"),
            "the controller cannot read it: it is not text",
        ),
        ("$ANSIBLE_VAULT;1.1;AES256\n3132", "is encrypted with ansible-vault, and no password that opens it was given"),
    ],
)
def test_a_key_that_cannot_be_read_is_a_fault(text, problem):
    (fault,) = with_certificate(certificate_pem(), text)
    assert fault.startswith(f"lb1, lb2: edge_certificate_key_file = /edge.key: {problem};")


def test_files_that_are_not_named_are_faults():
    assert faults(balancer(1, edge_certificate_source="files"), balancer(2)) == [
        f"lb1: edge_certificate_{name} is not set; name the file, or set edge_certificate_source: pki"
        for name in ("file", "key_file")
    ]


def test_without_the_library_that_is_the_fault(monkeypatch):
    monkeypatch.setattr(_preflight_edge, "HAS_CRYPTOGRAPHY", False)
    (fault,) = with_certificate(certificate_pem(), key_pem(KEY))
    assert "controller: python has no cryptography" in fault
