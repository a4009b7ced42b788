from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._preflight import Demands, Host, Platform, find_faults

NO_DEMANDS = Demands(systems=["Debian 13"], minimum={}, required={}, secrets=[], files=[])
VIP = "192.0.2.100/24"


def host(name, system="Debian 13", sealed=(), problems=None, **values):
    return Host(name, system, values, sealed, problems or {})


def balancer(number, **values):
    rank = {"keepalived_vip": VIP, "keepalived_router_id": 51, "keepalived_priority": 100 + number}
    return host(f"lb{number}", **{"platform_address": f"192.0.2.{number}", **rank, **values})


def faults(*hosts, groups=None, file_exists=lambda _path: True, **demands):
    platform = Platform(groups or {}, {host.name: host for host in hosts}, NO_DEMANDS._replace(**demands), file_exists)
    return [str(fault) for fault in find_faults(platform)]


def test_a_good_platform_has_no_faults():
    assert (
        faults(
            balancer(1, load_balancer_release_file="/srv/app.tar.gz"),
            balancer(2, load_balancer_release_file="/srv/app.tar.gz"),
            host("app1", sealed=["app_secrets", "secret_a"], platform_address="192.0.2.21", app_ports=[3001, 3002]),
            groups={"load_balancers": ["lb1", "lb2"], "app_servers": ["app1"]},
            minimum={"load_balancers": 1, "app_servers": 1},
            required={"app_servers": ["app_ports", "app_secrets"]},
            secrets=["secret_a"],
            files=["load_balancer_release_file"],
        )
        == []
    )


@pytest.mark.parametrize("groups", [{"app_servers": []}, {}])
def test_an_empty_group_is_a_fault(groups):
    assert faults(groups=groups, minimum={"app_servers": 1}) == [
        "inventory: app_servers the group has 0 of at least 1 host; name them there in the inventory"
    ]


def test_a_host_that_cannot_be_entered_is_a_fault():
    assert faults(host("app1", system=None, ansible_host="192.0.2.21")) == [
        "app1: ansible_host = 192.0.2.21: the host cannot be entered by ssh; try `ansible app1 -m ansible.builtin.ping`"
    ]


def test_an_operating_system_that_is_not_supported_is_a_fault():
    assert faults(host("app1", system="Debian 11")) == [
        "app1: operating system = Debian 11: is not supported; install one of these: Debian 13"
    ]


@pytest.mark.parametrize("values", [{}, {"app_ports": []}, {"app_ports": None}])
def test_a_variable_that_is_missing_or_empty_is_a_fault(values):
    assert faults(
        host("app1", **values), groups={"app_servers": ["app1"]}, required={"app_servers": ["app_ports"]}
    ) == ["app1: app_ports is not set; set it in group_vars/app_servers.yml of the inventory"]


def test_a_variable_made_of_something_missing_is_a_fault():
    broken = host("app1", problems={"app_secrets": "cannot be evaluated, 'secret_a' is undefined"})
    assert faults(broken, groups={"app_servers": ["app1"]}, required={"app_servers": ["app_secrets"]}) == [
        "app1: app_secrets cannot be evaluated, 'secret_a' is undefined; set what it is made of, or mend it"
    ]


def test_all_missing_secrets_are_one_fault():
    assert faults(host("app1", sealed=["secret_b"]), secrets=["secret_a", "secret_b", "secret_c"]) == [
        "all hosts: secret_a, secret_c are not set; run `ansible-playbook playbooks/secrets.yml`, which generates what is absent"
    ]


def test_what_hosts_share_is_said_once():
    assert faults(
        host("app1", app_release_file="/a.tar.gz"),
        host("app2", app_release_file="/a.tar.gz"),
        files=["app_release_file"],
        file_exists=lambda _path: False,
    ) == ["app1, app2: app_release_file = /a.tar.gz: the controller has no such file; build it or name another"]


@pytest.mark.parametrize(
    ("ports", "problem"),
    [
        ([3001, 3001], "3001 is there 2 times; give each instance a free port of its own"),
        ([80], "80 is not between 1024 and 65535; give each instance a free port of its own"),
        ([8404], "8404 is taken, load_balancer_health_port is the same; give each instance a free port of its own"),
        ("3001", "is not a list of numbers; write it as [3001, 3002]"),
        (["3001"], "is not a list of numbers; write it as [3001, 3002]"),
    ],
)
def test_ports_must_be_free_and_distinct(ports, problem):
    single = host("server1", app_ports=ports, load_balancer_server_names=["app.example"], load_balancer_health_port=8404)
    assert faults(single) == [f"server1: app_ports = {ports}: {problem}"]


def test_addresses_must_be_addresses_and_distinct():
    assert faults(
        host("app1", platform_address="192.0.2.21"),
        host("app2", platform_address="192.0.2.21"),
        host("app3", platform_address="app3.example"),
    ) == [
        "app2: platform_address = 192.0.2.21: is the address of app1 too; give each host its own",
        "app3: platform_address = app3.example: is not an IP address; set it to the one by which the other hosts reach this host",
    ]


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
    quiet = {"keepalived_priority": None, "keepalived_router_id": None}
    assert faults(balancer(1, **quiet), balancer(2)) == []
    assert faults(balancer(1, **quiet), balancer(2, **quiet)) == [
        "lb2: keepalived_priority is the priority of lb1 too; let them differ"
    ]
