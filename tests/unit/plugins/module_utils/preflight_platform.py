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
DATA_DEFAULTS = {
    "etcd_client_port": 2379,
    "etcd_peer_port": 2380,
    "patroni_port": 8008,
    "pg_guard_automatic": True,
    "pg_guard_port": 5433,
    "pg_guard_when_alone": "wait",
    "postgresql_install_from": "debian",
    "postgresql_max_connections": 200,
    "postgresql_port": 5432,
    "repmgr_port": 5432,
}
WITNESSES_DEFAULTS = {"pg_guard_automatic": True, "pg_guard_port": 5433}
POOLERS_DEFAULTS = {
    "app_name": "my-app",
    "app_listen_address": "::",
    "pgbouncer_database": "app",
    "pgbouncer_guard_port": 5433,
    "pgbouncer_max_client_connections": 2000,
    "pgbouncer_max_connections": 20,
    "pgbouncer_port": 6432,
    "pgbouncer_postgresql_port": 5432,
    "pgbouncer_readers_max_connections": 20,
    "pgbouncer_reserved_connections": {"superusers": 8, "migrations": 4},
}
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


def data(number, observed=None, absent="", **values):
    """A data node."""
    name, values = f"db{number}", {"platform_address": f"192.0.2.3{number}", **values}
    known = observed or seen(addresses=["127.0.0.1", f"192.0.2.3{number}"])
    return host(name, defaults=DATA_DEFAULTS, observed=known, absent=absent, **values)


def witness(number, **values):
    name, values = f"witness{number}", {"platform_address": f"192.0.2.4{number}", **values}
    observed = seen(addresses=["127.0.0.1", f"192.0.2.4{number}"])
    return host(name, defaults=WITNESSES_DEFAULTS, observed=observed, **values)


def pooler(number=1, observed=None, **values):
    """An application host of a platform with a database."""
    given = {"platform_address": f"192.0.2.2{number}", "app_ports": [3001, 3002], **values}
    known = observed or seen(addresses=["127.0.0.1", f"192.0.2.2{number}"])
    return host(f"app{number}", defaults=POOLERS_DEFAULTS, observed=known, **given)


def by_name(*hosts):
    """Hosts in the groups that their names begin with; those of a database only where it has some."""
    names = [one.name for one in hosts]
    found = {
        group: [name for name in names if name.startswith(begin)]
        for group, begin in (
            ("load_balancers", "lb"),
            ("app_servers", "app"),
            ("postgres_servers", "db"),
            ("postgres_witnesses", "witness"),
        )
    }
    return {group: of for group, of in found.items() if of or not group.startswith("postgres_")}


def platform(*hosts, groups=None, demands=None, is_file=lambda _path: True, text_of=None, addresses_of=None):
    """Hosts in the groups that their names begin with."""
    named = by_name(*hosts)
    controller = Controller(
        is_file,
        text_of or (lambda _path: ""),
        addresses_of or (lambda names: {name: ["192.0.2.100"] for name in names}),
        NOW,
    )
    known = {one.name: one for one in hosts}
    return Platform(named if groups is None else groups, known, Demands(**(demands or {})), controller)
