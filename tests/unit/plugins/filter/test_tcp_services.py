from __future__ import annotations

from ansible_collections.escala.ha.plugins.filter.tcp_service_checks import FilterModule as Checks
from ansible_collections.escala.ha.plugins.filter.tcp_service_faults import FilterModule as Faults

SERVICE = {
    "name": "s3",
    "port": 443,
    "servers": [{"name": "storage1", "address": "192.0.2.41", "port": 9000}],
    "check": {"path": "/live"},
    "allowed_clients": ["192.0.2.21"],
}


def test_a_role_has_the_faults_as_sentences():
    faults = Faults().filters()["tcp_service_faults"]
    assert faults([SERVICE], {"HTTPS": 443}) == [
        "load_balancer_tcp_services[0] (s3): port 443 is taken by HTTPS; choose another one"
    ]


def test_a_role_has_what_the_checker_reads():
    checks = Checks().filters()["tcp_service_checks"]
    assert [one["upstream_file"] for one in checks([SERVICE], "/x", 0.5)] == ["/x/tcp_s3.conf"]


def test_a_server_that_must_settle_is_asked_for_as_long_as_that_takes():
    checks = Checks().filters()["tcp_service_checks"]
    settling = {**SERVICE, "check": {"path": "/live", "settle_seconds": 20}}
    assert [one["rise"] for one in checks([SERVICE, settling], "/x", 0.6)] == [0, 34]
