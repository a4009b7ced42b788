from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils._preflight import find_faults, find_hints
from tests.unit.plugins.module_utils.preflight_platform import NOW, application, balancer, platform, seen


def faults(*hosts, **more):
    return [str(fault) for fault in find_faults(platform(*hosts, **more))]


def hints(*hosts, **more):
    return [str(hint) for hint in find_hints(platform(*hosts, **more))]


def test_a_host_that_cannot_be_entered_is_a_fault():
    assert faults(application(ansible_host="192.0.2.21", absent="unreachable")) == [
        "app1: ansible_host = 192.0.2.21: the host cannot be entered by ssh; try `ansible app1 -m ansible.builtin.ping`"
    ]


def test_a_host_that_cannot_be_looked_at_is_a_fault_with_the_reason():
    assert faults(application(absent="Missing sudo password")) == [
        "app1: ansible_host the host cannot be looked at: Missing sudo password; see that it has python3, and that its user may become root"
    ]


@pytest.mark.parametrize(
    ("group", "system", "good"),
    [
        ("lb", "Debian 12", True),
        ("lb", "Debian 13", True),
        ("app", "Debian 13", True),
        ("app", "Debian 12", False),
        ("lb", "Debian 11", False),
        ("lb", "Ubuntu 24.04", False),
        ("app", None, False),
    ],
)
def test_each_group_has_its_systems(group, system, good):
    systems = {"load_balancers": ["Debian 12", "Debian 13"], "app_servers": ["Debian 13"]}
    known = seen(system=system)
    one = application(observed=known) if group == "app" else balancer(1, observed=known, keepalived_vip=None)
    found = faults(one, demands={"systems": systems})
    assert (found == []) is good
    if not good:
        (fault,) = found
        assert "is not supported for" in fault
        assert "install one of these: Debian" in fault


def clock(offset, there=0.3, back=0.2, work=1.0):
    """A host whose clock is wrong by the offset, as it is seen after a way there and one back."""
    begun = NOW + there + offset
    return {"asked_at": NOW, "begun": begun, "ended": begun + work, "answered_at": NOW + there + work + back}


@pytest.mark.parametrize(
    ("offset", "problem"),
    [(30, "clock = 29.8 s ahead of the controller's:"), (-30, "clock = 29.7 s behind the controller's:")],
)
def test_a_clock_that_differs_is_a_fault(offset, problem):
    (fault,) = faults(application(observed=seen(clock=clock(offset))))
    assert fault.startswith(f"app1: {problem} more than preflight_clock_difference_seconds = 2; let ")


@given(offset=st.floats(-2, 2), there=st.floats(0, 60), back=st.floats(0, 60), work=st.floats(0, 5))
def test_a_slow_way_to_a_host_is_no_fault_of_its_clock(offset, there, back, work):
    observed = seen(clock=clock(offset * 0.999, there, back, work))
    assert faults(application(observed=observed)) == []


@given(offset=st.floats(3, 1e6), there=st.floats(0, 0.5), back=st.floats(0, 0.5), ahead=st.booleans())
def test_a_clock_that_differs_by_more_than_the_limit_and_the_way_is_always_found(offset, there, back, ahead):
    observed = seen(clock=clock(offset if ahead else -offset, there, back))
    (fault,) = faults(application(observed=observed))
    assert ("ahead of" if ahead else "behind") in fault


def disk(path, free_mib, device=1, read_only=False):
    return {"path": path, "device": device, "free_mib": free_mib, "read_only": read_only}


def test_what_is_on_one_file_system_is_added_up():
    observed = seen(disks=[disk("/", 1500), disk("/var", 1500)])
    assert faults(application(observed=observed)) == [
        "app1: free disk = 1500 MiB: less than the 1536 MiB in preflight_minimum_free_mib for /, /var; free some, or enlarge the disk"
    ]


def test_each_file_system_has_its_limit():
    assert faults(application(observed=seen(disks=[disk("/", 600), disk("/var", 1100, device=2)]))) == []
    (fault,) = faults(application(observed=seen(disks=[disk("/", 600), disk("/var", 1000, device=2)])))
    assert "1000 MiB: less than the 1024 MiB in preflight_minimum_free_mib for /var" in fault


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (disk("/var", 9000, read_only=True), "disk = /var: is mounted read-only"),
        (disk("/var", None, device=None), "free disk = /var: cannot be looked at"),
    ],
)
def test_a_disk_that_cannot_be_written_is_a_fault(broken, problem):
    (fault,) = faults(application(observed=seen(disks=[disk("/", 9000, device=7), broken])))
    assert problem in fault


def test_too_little_memory_is_a_fault():
    assert faults(application(observed=seen(memory_mib=512))) == [
        "app1: memory = 512 MiB: less than preflight_minimum_memory_mib = 900; give the host more"
    ]


def test_a_name_that_does_not_resolve_is_a_fault():
    names = {
        "db.example.com": {"addresses": ["192.0.2.31"], "problem": None},
        "s3.example.com": {"addresses": [], "problem": "Name or service not known"},
    }
    assert faults(application(observed=seen(names=names))) == [
        "app1: preflight_names = s3.example.com: does not resolve on the host (Name or service not known); mend its resolver or the name"
    ]


def listener(port, program, unit, address="0.0.0.0"):  # noqa: S104
    return {"port": port, "address": address, "program": program, "unit": unit}


@pytest.mark.parametrize(
    "ours",
    [
        listener(3001, "node", "my-app@3001.service"),
        listener(3001, "MainThread", "my-app@3001.service"),
        listener(3001, "node", None),
        listener(3003, "python3", "other.service"),
    ],
)
def test_our_own_instance_on_its_port_is_no_fault(ours):
    assert faults(application(observed=seen(listeners=[ours]))) == []


@pytest.mark.parametrize(
    ("program", "unit", "said"),
    [
        ("python3", "session-3.scope", "python3 (session-3.scope)"),
        ("node", "my-app@3002.service", "node (my-app@3002.service)"),
        ("node", "legacy.service", "node (legacy.service)"),
        (None, None, "an unknown program (no unit)"),
    ],
)
def test_another_program_on_an_instance_s_port_is_a_fault(program, unit, said):
    assert faults(application(observed=seen(listeners=[listener(3001, program, unit)]))) == [
        f"app1: port 3001 = {said}: has it already, and app_ports asks for it; stop that program, or choose another port"
    ]


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        (80, "clients come by it"),
        (443, "clients come by it"),
        (8404, "load_balancer_health_port asks for it"),
        (8405, "load_balancer_status_port asks for it"),
    ],
)
def test_each_of_a_balancer_s_ports_must_be_free_or_its_own(port, reason):
    for program in ("nginx", "haproxy"):
        ours = seen(listeners=[listener(port, program, f"{program}.service")])
        assert faults(balancer(1, observed=ours), balancer(2)) == []
    (fault,) = faults(balancer(1, observed=seen(listeners=[listener(port, "apache2", "apache2.service")])), balancer(2))
    assert fault.startswith(f"lb1: port {port} = apache2 (apache2.service): has it already, and {reason};")


@pytest.mark.parametrize(
    ("address", "in_the_way"),
    [("127.0.0.1", True), ("0.0.0.0", True), ("::", True), ("192.0.2.1", False)],  # noqa: S104
)
def test_only_a_program_on_the_same_address_is_in_the_way(address, in_the_way):
    observed = seen(listeners=[listener(8404, "python3", None, address)])
    assert bool(faults(balancer(1, observed=observed), balancer(2))) is in_the_way


def test_an_address_that_no_interface_has_is_a_fault():
    behind_nat = balancer(1, observed=seen(addresses=["127.0.0.1", "192.0.2.7"]), platform_address="192.0.2.1")
    assert faults(behind_nat, balancer(2)) == [
        "lb1: platform_address = 192.0.2.1: no interface of the host has it; it has 127.0.0.1, 192.0.2.7; set it to one of them"
    ]


def way(name, address, port, problem):
    return {"name": name, "address": address, "port": port, "problem": problem}


def test_a_closed_way_is_one_fault_for_all_ports_behind_it():
    late = "no answer within 2 s"
    ways = [way("app1", "192.0.2.21", 3001, late), way("app1", "192.0.2.21", 3002, late)]
    assert faults(balancer(1, observed=seen(reach=ways)), balancer(2), application()) == [
        "lb1: way to app1 = 192.0.2.21 port 3001, 3002: no answer within 2 s; let no firewall or route stand between lb1 and app1"
    ]


def test_a_host_that_nobody_can_enter_is_not_said_to_be_out_of_reach_as_well():
    ways = [way("app1", "192.0.2.21", 3001, "no answer within 2 s")]
    (fault,) = faults(balancer(1, observed=seen(reach=ways)), balancer(2), application(absent="unreachable"))
    assert "cannot be entered by ssh" in fault


def test_a_way_to_a_host_that_is_not_the_platform_s_can_be_closed_too():
    ways = [way("legacy1", "192.0.2.71", 8080, "no answer within 2 s")]
    (fault,) = faults(balancer(1, observed=seen(reach=ways)), balancer(2))
    assert fault.startswith("lb1: way to legacy1 = 192.0.2.71 port 8080: no answer within 2 s;")


def test_an_open_way_is_no_fault():
    ways = [way("app1", "192.0.2.21", 3001, None)]
    assert faults(balancer(1, observed=seen(reach=ways)), balancer(2), application()) == []


def test_an_interface_that_is_not_there_is_a_fault():
    (fault,) = faults(balancer(1, keepalived_interface="eth1"), balancer(2))
    assert fault.startswith("lb1: keepalived_interface = eth1: the host has no such interface; it has eth0; set it")


def answers(*hardware, holds=False):
    addresses = ["192.0.2.1", "192.0.2.2", *(["192.0.2.100"] if holds else [])]
    return seen(virtual_address={"answers": list(hardware), "problem": None}, addresses=addresses)


@pytest.mark.parametrize(
    ("hardware", "who"), [("02:00:00:00:00:99", "02:00:00:00:00:99"), ("02:00:00:00:00:21", "app1")]
)
def test_a_virtual_address_that_answers_from_elsewhere_is_a_fault(hardware, who):
    app = application(observed=seen(interfaces={"eth0": "02:00:00:00:00:21"}))
    (fault,) = faults(balancer(1, observed=answers(hardware)), balancer(2, observed=answers(hardware)), app)
    assert fault == (
        f"lb1, lb2: keepalived_vip = 192.0.2.100: answers already, from {who}, and none of the balancers holds it;"
        " choose a free address, or take it from the machine that has it"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (answers(), answers()),
        (answers(holds=True), answers("02:00:00:00:00:99")),
        (answers(), answers("02:00:00:00:00:01")),
    ],
    ids=["nobody answers", "a balancer holds it", "a balancer is just taking it"],
)
def test_a_virtual_address_that_is_free_or_a_balancer_s_is_no_fault(first, second):
    assert faults(balancer(1, observed=first), balancer(2, observed=second)) == []


def test_a_balancer_that_cannot_be_looked_at_may_hold_the_address():
    found = faults(balancer(1, observed=answers("02:00:00:00:00:99")), balancer(2, absent="unreachable"))
    assert [fault for fault in found if "answers already" in fault] == []


def test_a_clock_that_nothing_keeps_is_a_hint():
    bare = seen(time_daemon=None)
    assert hints(application(observed=bare)) == [
        "app1: time no program that keeps the clock runs; install systemd-timesyncd or chrony"
    ]
    assert hints(application(observed={**bare, "container": True})) == []


@pytest.mark.parametrize(("delay", "hinted"), [(999, True), (1000, False), ("1000", False)])
def test_a_drain_that_ends_before_the_balancers_notice_is_a_hint(delay, hinted):
    noticing = {"load_balancer_check_interval_seconds": 0.5, "load_balancer_check_fall": 2}
    found = hints(balancer(1, **noticing), balancer(2), application(app_environment={"DRAIN_DELAY_MS": delay}))
    assert bool(found) is hinted
    if hinted:
        assert found[0].startswith("app1: app_environment.DRAIN_DELAY_MS = 999: shorter than the 1000 ms in which")


@pytest.mark.parametrize(
    ("addresses", "said"), [([], "does not resolve"), (["198.51.100.7"], "resolves to 198.51.100.7")]
)
def test_a_server_name_that_leads_elsewhere_is_a_hint(addresses, said):
    (hint,) = hints(balancer(1), balancer(2), addresses_of=lambda names: dict.fromkeys(names, addresses))
    assert hint == (
        f"load_balancers: load_balancer_server_names = app.example.com: {said} on the controller;"
        " by this name clients must find 192.0.2.100"
    )


OURS, NGINX, HAPROXY = (
    "/etc/systemd/system/nginx.service.d/escala.conf",
    "/etc/nginx/nginx.conf",
    "/etc/haproxy/haproxy.cfg",
)


@pytest.mark.parametrize(
    ("files", "of_others"),
    [
        ({}, []),
        ({OURS: True, NGINX: True, HAPROXY: True}, []),
        ({OURS: False, NGINX: False, HAPROXY: False}, []),
        ({OURS: False, NGINX: True, HAPROXY: False}, [NGINX]),
        ({OURS: False, NGINX: False, HAPROXY: True}, [HAPROXY]),
        ({OURS: False, NGINX: True, HAPROXY: True}, [NGINX, HAPROXY]),
    ],
)
def test_an_engine_that_is_not_ours_keeps_its_configuration(files, of_others):
    found = faults(balancer(1, observed=seen(files=files)), balancer(2))
    assert [fault.split(" is of")[0] for fault in found] == [f"lb1: {file}" for file in of_others]
    assert all("set load_balancer_replaces_existing: true on this one" in fault for fault in found)
    agreed = balancer(1, observed=seen(files=files), load_balancer_replaces_existing=True)
    assert faults(agreed, balancer(2)) == []
