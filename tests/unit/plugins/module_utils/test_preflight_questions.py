from __future__ import annotations

from ansible_collections.escala.ha.plugins.module_utils._preflight_questions import questions
from tests.unit.plugins.module_utils.preflight_platform import (
    APPLICATIONS_DEFAULTS,
    BALANCERS_DEFAULTS,
    application,
    balancer,
    host,
)

GROUPS = {"load_balancers": ["lb1", "lb2"], "app_servers": ["app1"]}


def asked(*hosts, groups=None):
    return questions(groups or GROUPS, {one.name: one for one in hosts})


def test_a_balancer_is_asked_for_its_ports_its_ways_and_the_virtual_address():
    assert asked(balancer(1), balancer(2), application(), host("app9"))["lb1"] == {
        "paths": ["/", "/var"],
        "files": [
            "/etc/systemd/system/nginx.service.d/escala.conf",
            "/etc/nginx/nginx.conf",
            "/etc/haproxy/haproxy.cfg",
        ],
        "names": [],
        "ports": [80, 443, 8404, 8405],
        "reach": [
            {"name": "app1", "address": "192.0.2.21", "port": 3001},
            {"name": "app1", "address": "192.0.2.21", "port": 3002},
            {"name": "lb2", "address": "192.0.2.2", "port": 22, "ping": True},
        ],
        "virtual_address": "192.0.2.100",
        "interface": "eth0",
    }


def test_an_application_s_host_is_asked_for_its_instances_ports():
    found = asked(balancer(1), application(preflight_names=["db.example.com"]))["app1"]
    assert (found["ports"], found["reach"], found["names"]) == ([3001, 3002], [], ["db.example.com"])
    assert found["virtual_address"] is None


def test_a_balancer_must_reach_where_uploads_go_as_well():
    legacy = {"name": "legacy1", "address": "192.0.2.71", "port": 8080}
    same = {"name": "app1-3001", "address": "192.0.2.21", "port": 3001}
    wrong = [{"address": "legacy1", "port": 8080}, "192.0.2.71", {"address": "192.0.2.71"}]
    one = balancer(1, keepalived_vip=None, load_balancer_upload_servers=[legacy, same, *wrong])
    assert [way["name"] for way in asked(one, application())["lb1"]["reach"]] == ["app1", "app1", "legacy1"]


def test_balancers_without_a_virtual_address_need_not_reach_each_other():
    quiet = {"keepalived_vip": None}
    assert asked(balancer(1, **quiet), balancer(2, **quiet))["lb1"]["reach"] == []


def test_a_host_of_both_groups_is_asked_for_all():
    both = host("server1", defaults={**BALANCERS_DEFAULTS, **APPLICATIONS_DEFAULTS}, app_ports=[3001])
    found = asked(both, groups={"load_balancers": ["server1"], "app_servers": ["server1"]})["server1"]
    assert found["ports"] == [80, 443, 3001, 8404, 8405]


def test_what_the_description_has_wrong_is_left_out():
    wrong = application(app_ports="3001", platform_address="app1", preflight_names="x", preflight_minimum_free_mib=1)
    found = asked(balancer(1, keepalived_vip="nonsense", platform_address=None), wrong)
    assert found["app1"] == {
        "paths": [],
        "files": [],
        "names": [],
        "ports": [],
        "reach": [],
        "virtual_address": None,
        "interface": None,
    }
    assert (found["lb1"]["reach"], found["lb1"]["virtual_address"]) == ([], None)
