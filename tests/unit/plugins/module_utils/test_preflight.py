from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils._preflight import find_faults, find_hints
from tests.unit.plugins.module_utils.preflight_platform import (
    APPLICATIONS_DEFAULTS,
    BALANCERS_DEFAULTS,
    application,
    balancer,
    host,
    platform,
)


def faults(*hosts, groups=None, is_file=lambda _path: True, **demands):
    return [str(fault) for fault in find_faults(platform(*hosts, groups=groups, is_file=is_file, demands=demands))]


def test_a_good_platform_has_no_faults_and_no_hints():
    good = platform(
        balancer(1, load_balancer_release_file="/srv/app.tar.gz"),
        balancer(2, load_balancer_release_file="/srv/app.tar.gz"),
        host("app1", sealed=["app_secrets", "secret_a"], platform_address="192.0.2.21", app_ports=[3001, 3002]),
        demands={
            "systems": {"load_balancers": ["Debian 12", "Debian 13"], "app_servers": ["Debian 13"]},
            "minimum": {"load_balancers": 1, "app_servers": 1},
            "required": {"app_servers": ["app_ports", "app_secrets"]},
            "secrets": ["secret_a"],
            "files": ["load_balancer_release_file"],
        },
    )
    assert (find_faults(good), find_hints(good)) == ([], [])


@pytest.mark.parametrize("groups", [{"app_servers": []}, {}])
def test_an_empty_group_is_a_fault(groups):
    assert faults(groups=groups, minimum={"app_servers": 1}) == [
        "inventory: app_servers the group has 0 of at least 1 host; name them there in the inventory"
    ]


@pytest.mark.parametrize("values", [{}, {"app_ports": []}, {"app_ports": None}])
def test_a_variable_that_is_missing_or_empty_is_a_fault(values):
    assert faults(host("app1", **values), required={"app_servers": ["app_ports"]}) == [
        "app1: app_ports is not set; set it in group_vars/app_servers.yml of the inventory"
    ]


def test_a_variable_that_no_role_of_the_group_takes_may_be_made_of_something_missing():
    problem = {"app_environment": "cannot be evaluated, 'x' is undefined"}
    assert faults(host("lb1", problems=problem)) == []
    assert faults(host("app1", problems=problem)) == [
        "app1: app_environment cannot be evaluated, 'x' is undefined; set what it is made of, or mend it"
    ]


def test_a_variable_made_of_something_missing_is_a_fault():
    broken = host("app1", problems={"app_secrets": "cannot be evaluated, 'secret_a' is undefined"})
    assert faults(broken, required={"app_servers": ["app_secrets"]}) == [
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
        is_file=lambda _path: False,
    ) == ["app1, app2: app_release_file = /a.tar.gz: the controller has no such file; build it or name another"]


@pytest.mark.parametrize(
    ("ports", "problem"),
    [
        ([3001, 3001], "3001 is there 2 times; give each instance a free port of its own"),
        ([80], "80 is not between 1024 and 65535; give each instance a free port of its own"),
        ([8404], "8404 is taken, load_balancer_health_port is the same; give each instance a free port of its own"),
        ([8405], "8405 is taken, load_balancer_status_port is the same; give each instance a free port of its own"),
        ("3001", "is not a list of numbers; write it as [3001, 3002]"),
        (["3001"], "is not a list of numbers; write it as [3001, 3002]"),
    ],
)
def test_ports_must_be_free_and_distinct(ports, problem):
    single = host("server1", defaults={**BALANCERS_DEFAULTS, **APPLICATIONS_DEFAULTS}, app_ports=ports)
    both = {"load_balancers": ["server1"], "app_servers": ["server1"]}
    assert faults(single, groups=both) == [f"server1: app_ports = {ports}: {problem}"]


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
    ("stop", "environment", "problem"),
    [
        (
            21,
            {"DRAIN_DELAY_MS": 1000, "DRAIN_TIMEOUT_MS": 20000},
            "drains for 21 s (DRAIN_DELAY_MS + DRAIN_TIMEOUT_MS)",
        ),
        (5, {"DRAIN_TIMEOUT_MS": "5000"}, "drains for 5 s (DRAIN_TIMEOUT_MS)"),
    ],
)
def test_an_instance_must_have_the_time_to_drain(stop, environment, problem):
    (fault,) = faults(application(app_stop_timeout_seconds=stop, app_environment=environment))
    assert fault.startswith(f"app1: app_stop_timeout_seconds = {stop}: an instance that {problem} would be killed")


@pytest.mark.parametrize(
    "environment", [{}, {"LOG_LEVEL": "info"}, {"DRAIN_DELAY_MS": 1000, "DRAIN_TIMEOUT_MS": 20000}]
)
def test_the_role_s_own_time_for_a_stop_is_enough(environment):
    assert faults(application(app_environment=environment)) == []


def test_a_drain_must_be_a_number():
    (fault,) = faults(application(app_environment={"DRAIN_DELAY_MS": "soon"}))
    assert "app_environment = {'DRAIN_DELAY_MS': 'soon'}: are not whole numbers of milliseconds" in fault


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("preflight_clock_difference_seconds", "2 s", "is not a number"),
        ("preflight_minimum_memory_mib", True, "is not a number"),
        ("preflight_minimum_free_mib", 512, "is not a number of MiB for each path"),
        ("preflight_minimum_free_mib", {"/": "much"}, "is not a number of MiB for each path"),
        ("preflight_names", "db.example.com", "is not a list"),
    ],
)
def test_a_limit_that_is_none_is_a_fault(variable, value, problem):
    (fault,) = faults(host("app1", **{variable: value}))
    assert fault.startswith(f"app1: {variable} = {value}: {problem}; write it as")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_VARIABLES = [
    "ansible_host",
    "app_environment",
    "app_listen_address",
    "app_name",
    "app_ports",
    "app_release_file",
    "app_stop_timeout_seconds",
    "edge_certificate_file",
    "edge_certificate_source",
    "keepalived_interface",
    "keepalived_priority",
    "keepalived_router_id",
    "keepalived_vip",
    "load_balancer_check_fall",
    "load_balancer_engine",
    "load_balancer_health_port",
    "load_balancer_server_names",
    "load_balancer_upload_servers",
    "platform_address",
    "preflight_minimum_free_mib",
    "preflight_minimum_memory_mib",
    "preflight_names",
]


@settings(max_examples=300, deadline=None)
@given(values=st.dictionaries(st.sampled_from(_VARIABLES), _VALUES, max_size=8))
def test_whatever_a_variable_holds_it_is_judged_and_not_tripped_over(values):
    whatever = host("lb1", defaults={**BALANCERS_DEFAULTS, **APPLICATIONS_DEFAULTS}, **values)
    judged = platform(
        *(whatever, balancer(2)),
        groups={"load_balancers": ["lb1", "lb2"], "app_servers": ["lb1"]},
        demands={"systems": {"load_balancers": ["Debian 13"]}, "files": ["app_release_file"]},
    )
    assert all(": " in str(fault) for fault in (*find_faults(judged), *find_hints(judged)))
