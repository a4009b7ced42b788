"""Small platforms for the tests of the preflight's rules."""

from __future__ import annotations

from ansible_collections.escala.ha.plugins.module_utils._preflight_platform import Controller, Demands, Host, Platform

VIP = "192.0.2.100/24"
NOW = 1_795_478_400.0
LIMITS = {
    "preflight_certificate_days_left": 14,
    "preflight_clock_difference_seconds": 2,
    "preflight_minimum_free_mib": {"/": 512, "/var": 1024},
    "preflight_minimum_memory_mib": 900,
}
BALANCERS_DEFAULTS = {"load_balancer_health_port": 8404, "load_balancer_status_port": 8405, "keepalived_router_id": 51}
APPLICATIONS_DEFAULTS = {"app_name": "my-app", "app_listen_address": "::", "app_stop_timeout_seconds": 45}


def seen(**changes):
    """What preflight_info sees on a good host."""
    good = {
        "system": "Debian 13",
        "container": False,
        "time_daemon": "chronyd",
        "clock": {"asked_at": NOW, "begun": NOW + 0.2, "ended": NOW + 0.5, "answered_at": NOW + 0.7},
        "memory_mib": 2000,
        "disks": [],
        "interfaces": {"lo": "00:00:00:00:00:00", "eth0": "02:00:00:00:00:01"},
        "addresses": ["127.0.0.1", "192.0.2.1", "192.0.2.2", "192.0.2.21", "198.51.100.2"],
        "listeners": [],
        "names": {},
        "reach": [],
        "virtual_address": None,
    }
    return {**good, **changes}


def host(name, sealed=(), problems=None, defaults=None, observed=None, absent="", **values):
    known = None if absent else observed or seen()
    return Host(name, values, sealed, problems or {}, {**LIMITS, **(defaults or {})}, known, absent)


def balancer(number, observed=None, **values):
    given = {
        "platform_address": f"192.0.2.{number}",
        "load_balancer_server_names": ["app.example.com"],
        "keepalived_vip": VIP,
        "keepalived_interface": "eth0",
        "keepalived_priority": 100 + number,
    }
    return host(f"lb{number}", defaults=BALANCERS_DEFAULTS, observed=observed, **{**given, **values})


def application(observed=None, **values):
    given = {"platform_address": "192.0.2.21", "app_ports": [3001, 3002]}
    return host("app1", defaults=APPLICATIONS_DEFAULTS, observed=observed, **{**given, **values})


def platform(*hosts, groups=None, demands=None, is_file=lambda _path: True, text_of=None, addresses_of=None):
    """Hosts in the groups that their names begin with."""
    named = {
        "load_balancers": [one.name for one in hosts if one.name.startswith("lb")],
        "app_servers": [one.name for one in hosts if one.name.startswith("app")],
    }
    controller = Controller(
        is_file,
        text_of or (lambda _path: ""),
        addresses_of or (lambda names: {name: ["192.0.2.100"] for name in names}),
        NOW,
    )
    known = {one.name: one for one in hosts}
    return Platform(named if groups is None else groups, known, Demands(**(demands or {})), controller)
