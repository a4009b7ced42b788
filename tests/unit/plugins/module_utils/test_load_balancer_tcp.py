"""What an inventory says of services is refused with the place and the reason before anything is touched."""

import pytest

from ansible_collections.escala.ha.plugins.module_utils._load_balancer_tcp import checks, faults

TAKEN = {"HTTPS": 443, "load_balancer_health_port": "8404"}


def server(number, **changes):
    return {"name": f"storage{number}", "address": f"192.0.2.4{number}", "port": 9000, **changes}


def service(**changes):
    return {
        "name": "s3",
        "port": 9000,
        "servers": [server(1), server(2)],
        "check": {"path": "/minio/health/live", "ca_file": "/etc/ssl/escala/ca.pem"},
        "allowed_clients": ["192.0.2.21", "198.51.100.0/24", "2001:db8::/32"],
        **changes,
    }


def test_what_is_right_has_no_fault():
    assert faults([service(), service(name="metrics_2", port=9100)], TAKEN) == []
    assert faults([service(check={"path": "/live", "server_name": "s3.example.com"})], TAKEN) == []
    assert faults([], TAKEN) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "S3"}, "its name is to be of lower-case letters"),
        ({"name": "s3; evil"}, "its name is to be of lower-case letters"),
        ({"name": "s3\n"}, "its name is to be of lower-case letters"),
        ({"name": ""}, "its name is to be of lower-case letters"),
        ({"name": "a" * 33}, "its name is to be of lower-case letters"),
        ({"port": 443}, "port 443 is taken by HTTPS; choose another one"),
        ({"port": 8404}, "port 8404 is taken by load_balancer_health_port"),
        ({"port": 0}, "port is 0, a port is 1 to 65535"),
        ({"port": 65536}, "port is 65536, a port is 1 to 65535"),
        ({"servers": []}, "servers is empty; name those that serve it"),
        ({"servers": [server(1), server(2, name="storage1")]}, "two servers are called storage1"),
        ({"servers": [server(1, name="a b")]}, "a server's name is 'a b', which is no host name"),
        ({"servers": [server(1, name="-x")]}, "a server's name is '-x'"),
        ({"servers": [server(1, address="storage1")]}, "storage1's address is 'storage1', which is no IP address"),
        ({"servers": [server(1, address="192.0.2.41; evil")]}, "which is no IP address"),
        ({"servers": [server(1, port=99999)]}, "storage1's port is 99999"),
        ({"servers": [server(1), server(2, address="192.0.2.41")]}, "storage1 and storage2 are both 192.0.2.41:9000"),
        ({"check": {"path": "live"}}, "check.path is 'live', which is no path"),
        ({"check": {"path": "/a b"}}, "check.path is '/a b'"),
        ({"check": {"path": "/l", "ca_file": "ca.pem"}}, "check.ca_file is 'ca.pem', which is no full path"),
        ({"check": {"path": "/l", "ca_file": "/etc/a b"}}, "check.ca_file is '/etc/a b'"),
        ({"check": {"path": "/l", "server_name": "a;b"}}, "check.server_name is 'a;b'"),
        ({"allowed_clients": []}, "allowed_clients is empty, so nobody could connect"),
        ({"allowed_clients": ["all"]}, "allowed_clients has 'all', which is no address or network"),
        ({"allowed_clients": ["192.0.2.0/33"]}, "allowed_clients has '192.0.2.0/33'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(changes, fault):
    found = faults([service(**changes)], TAKEN)
    assert len(found) == 1
    assert fault in found[0]
    assert found[0].startswith(f"load_balancer_tcp_services[0] ({changes.get('name', 's3')}): ")


def test_two_services_share_neither_name_nor_port():
    found = faults([service(), service()], TAKEN)
    assert found == [
        "load_balancer_tcp_services[1] (s3): another service has this name",
        "load_balancer_tcp_services[1] (s3): port 9000 is taken by s3; choose another one",
    ]


def test_every_fault_is_found_at_once():
    assert len(faults([service(servers=[], allowed_clients=[]), service(name="B", port=443)], TAKEN)) == 4


def test_the_checker_is_told_what_it_has_to_know():
    plain = service(check={"path": "/live"})
    assert checks([service(), {**plain, "name": "other"}], "/var/lib/x", 0.5) == [
        {
            "name": "s3",
            "servers": [server(1), server(2)],
            "path": "/minio/health/live",
            "ca_file": "/etc/ssl/escala/ca.pem",
            "server_name": "",
            "upstream_file": "/var/lib/x/tcp_s3.conf",
            "rise": 0,
        },
        {
            "name": "other",
            "servers": [server(1), server(2)],
            "path": "/live",
            "ca_file": "",
            "server_name": "",
            "upstream_file": "/var/lib/x/tcp_other.conf",
            "rise": 0,
        },
    ]
