"""Every way in which a database can be described wrongly is one fault that says what to do, and a platform without one has none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils import _preflight_database
from ansible_collections.escala.ha.plugins.module_utils._preflight import find_faults, find_hints
from ansible_collections.escala.ha.plugins.module_utils._preflight_questions import questions
from tests.unit.plugins.module_utils.preflight_platform import (
    POOLERS_DEFAULTS,
    application,
    balancer,
    by_name,
    data,
    host,
    platform,
    pooler,
    seen,
    witness,
)

THREE = (data(1), data(2), data(3))


def faults(*hosts, groups=None, **demands):
    return [str(fault) for fault in find_faults(platform(*hosts, groups=groups, demands=demands))]


def asked(*hosts):
    return questions(by_name(*hosts), {one.name: one for one in hosts})


def test_a_good_database_has_no_faults():
    assert faults(*THREE, pooler(1), pooler(2)) == []
    assert find_hints(platform(*THREE, pooler())) == []


def test_a_platform_without_data_nodes_is_not_looked_at():
    bare = platform(balancer(1), balancer(2), application(pgbouncer_port="x", platform_app_servers_maximum="many"))
    assert [fault for rule in _preflight_database.RULES for fault in rule(bare)] == []


@pytest.mark.parametrize(("nodes", "witnesses"), [(1, 0), (2, 1), (3, 0), (3, 2), (5, 0)])
def test_sizes_that_can_fail_over_are_no_fault(nodes, witnesses):
    hosts = [*(data(number) for number in range(1, nodes + 1)), *(witness(number) for number in range(witnesses))]
    assert faults(*hosts) == []


def test_two_data_nodes_without_a_witness_are_a_fault_unless_a_person_fails_over():
    (fault,) = faults(data(1), data(2))
    assert fault == (
        "inventory: pg_guard_automatic = True: 2 data nodes and 0 witnesses cannot fail over by themselves: a promotion takes"
        " 2 of 2 votes, and the loss of one leaves 1; add a host to postgres_witnesses or one more to postgres_servers,"
        " or set pg_guard_automatic: false"
    )
    by_hand = {"pg_guard_automatic": False}
    assert faults(data(1, **by_hand), data(2, **by_hand)) == []


def test_witnesses_of_nothing_are_a_fault():
    (fault,) = faults(witness(1))
    assert "inventory: postgres_servers 0 data nodes and 1 witnesses are no cluster" in fault


def test_a_data_node_cannot_be_a_witness_as_well():
    groups = {"postgres_servers": ["db1", "db2"], "postgres_witnesses": ["db1"]}
    (fault,) = faults(data(1), data(2), groups=groups)
    assert fault.startswith("db1: postgres_witnesses it is in postgres_servers too, and would vote twice;")


def test_names_that_cannot_be_nodes_names_are_a_fault():
    pair = [host(name, platform_address=f"192.0.2.{last}") for last, name in enumerate(("db1.a", "db1.b"), start=51)]
    (fault,) = faults(*pair, data(2))
    assert "db1.b and db1.a would be the same node db1" in fault
    (fault,) = faults(
        data(1), host("witness_x"), groups={"postgres_servers": ["db1"], "postgres_witnesses": ["witness_x"]}
    )
    assert "witness_x would be the node 'witness_x', and a node's name is letters in lower case" in fault


def test_a_witness_named_like_a_data_node_is_a_fault():
    twin = host("db1.b")
    (fault,) = faults(data(1), twin, groups={"postgres_servers": ["db1"], "postgres_witnesses": ["db1.b"]})
    assert fault == "db1.b: postgres_witnesses would be the same node as db1; name them differently"


@pytest.mark.parametrize(
    ("system", "version", "more", "good"),
    [
        ("Debian 13", None, {}, True),
        ("Debian 12", None, {}, True),
        ("Debian 13", 17, {}, True),
        ("Debian 12", 15, {}, True),
        ("Debian 12", "15", {}, True),
        ("Debian 12", 17, {}, False),
        ("Debian 13", 15, {}, False),
        ("Debian 12", 17, {"postgresql_install_from": "pgdg"}, True),
        ("Debian 13", 18, {"postgresql_install_from": "pgdg"}, True),
        ("Debian 13", None, {"postgresql_install_from": "pgdg"}, True),
    ],
)
def test_the_version_is_one_that_the_system_has(system, version, more, good):
    known = seen(system=system, addresses=["192.0.2.31"])
    found = faults(data(1, observed=known, postgresql_version=version, **more))
    assert (found == []) is good
    if not good:
        packaged = {"Debian 12": 15, "Debian 13": 17}[system]
        said = f"db1: postgresql_version = {version}: {system} has {packaged}; set it to {packaged}, or set postgresql_install_from: pgdg"
        assert found == [said]


@pytest.mark.parametrize("version", [14, 19])
def test_a_version_that_the_roles_do_not_know_is_a_fault_wherever_it_comes_from(version):
    assert faults(data(1, postgresql_version=version, postgresql_install_from="pgdg")) == [
        f"db1: postgresql_version = {version}: is none that the roles know, which are 15, 16, 17, 18; choose one of them"
    ]


def test_data_nodes_have_one_version():
    mixed = [data(1), data(2, postgresql_version=18), data(3)]
    of = {"postgresql_install_from": "pgdg"}
    mixed = [one._replace(values={**one.values, **of}) for one in mixed]
    assert faults(*mixed) == [
        "db1, db3, db2: postgresql_version = 17, 18: differs between data nodes, and none could be a standby of another; set the same for all"
    ]


def test_data_nodes_of_two_systems_have_one_version_only_where_it_is_set():
    older = seen(system="Debian 12", addresses=["127.0.0.1", "192.0.2.32"])
    (fault,) = faults(data(1), data(2, observed=older), data(3))
    assert fault == (
        "db1, db3, db2: postgresql_version = 17, 15: differs between data nodes, whose systems are Debian 13, Debian 12, and none could be a"
        " standby of another; set the same for all, with postgresql_install_from: pgdg where the system has another"
    )
    of = {"postgresql_install_from": "pgdg", "postgresql_version": 17}
    assert faults(data(1, **of), data(2, observed=older, **of), data(3, **of)) == []


def test_a_data_node_that_could_not_be_seen_has_no_version_of_its_own():
    (fault,) = faults(data(1), data(2), data(3, absent="unreachable"))
    assert fault.startswith("db3: ansible_host")


@pytest.mark.parametrize(("system", "version"), [("Debian 12", 15), ("Debian 13", 17)])
def test_the_server_of_the_version_that_the_system_has_may_listen_already(system, version):
    def listening(unit):
        server = {"port": 5432, "address": "192.0.2.31", "program": "postgres", "unit": unit}
        return seen(system=system, addresses=["127.0.0.1", "192.0.2.31"], listeners=[server])

    assert faults(data(1, observed=listening(f"postgresql@{version}-main.service"))) == []
    (fault,) = faults(data(1, observed=listening("postgresql@16-main.service")))
    assert fault.startswith("db1: port 5432 = postgres (postgresql@16-main.service): has it already")


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("postgresql_install_from", "source", "is unknown; choose one of debian, pgdg"),
        ("pg_guard_when_alone", "hope", "is unknown; choose one of wait, continue"),
        ("postgresql_version", "seventeen", "is not a whole number; write it as one"),
        ("postgresql_max_connections", "many", "is not a whole number; write it as one"),
    ],
)
def test_a_value_that_a_role_would_refuse_is_a_fault(variable, value, problem):
    (fault,) = faults(data(1, **{variable: value}))
    assert fault == f"db1: {variable} = {value}: {problem}"


def test_a_port_must_be_one():
    (fault,) = faults(data(1), pooler(pgbouncer_port=432))
    assert fault == "app1: pgbouncer_port = 432: is not between 1024 and 65535; choose another port"


def test_all_must_know_a_port_by_one_number():
    (fault,) = faults(*(data(number, postgresql_port=5444) for number in (1, 2, 3)), pooler())
    assert fault == (
        "inventory: postgresql_port = 5444 (postgresql_port of db1, db2, db3); 5432 (repmgr_port of db1, db2, db3,"
        " pgbouncer_postgresql_port of app1): whoever connects would not find who listens; set the same for all"
    )
    (fault,) = faults(data(1), data(2), witness(1, pg_guard_port=5434))
    assert "pg_guard_port = 5433 (pg_guard_port of db1, db2); 5434 (pg_guard_port of witness1)" in fault


def test_two_services_of_one_host_cannot_have_one_port():
    found = faults(data(1, pg_guard_port=5432))
    assert (
        "db1: port 5432 postgresql_port asks for it, and pg_guard_port asks for it too; give each a port of its own"
        in found
    )
    (fault,) = faults(data(1), pooler(pgbouncer_port=3001))
    assert fault.startswith("app1: port 3001 app_ports asks for it, and pgbouncer_port asks for it too;")


def test_connections_that_do_not_fit_name_the_variable_on_each_data_node():
    (fault,) = faults(*(data(number, postgresql_max_connections=91) for number in (1, 2, 3)), pooler(1), pooler(2))
    assert fault == (
        "db1, db2, db3: postgresql_max_connections = 91: 2 application hosts x 40 connections (app 20, app_ro 20)"
        " + 12 for others (superusers 8, migrations 4) = 92 connections, and max_connections is 91; raise"
        " postgresql_max_connections to 92 or more, or have the databases of a pooler share 39 connections"
        " (pgbouncer_max_connections, pgbouncer_readers_max_connections)"
    )
    assert faults(*(data(number, postgresql_max_connections=92) for number in (1, 2, 3)), pooler(1), pooler(2)) == []


def test_the_hosts_that_autoscaling_may_make_are_counted():
    (fault,) = faults(*THREE, pooler(platform_app_servers_maximum=6))
    assert "= 252 connections, and max_connections is 200; raise postgresql_max_connections to 252" in fault


def test_instances_that_their_pooler_would_not_take_are_a_fault_of_their_host():
    (fault,) = faults(*THREE, pooler(pgbouncer_max_client_connections=79, app_environment={"DATABASE_POOL_SIZE": 20}))
    assert fault == (
        "app1: pgbouncer_max_client_connections = 79: 2 instances x 20 x 2 databases = 80 clients of one pooler, which takes 79;"
        " raise pgbouncer_max_client_connections, or lower the pool of an instance"
    )


def test_a_budget_that_cannot_be_added_up_is_a_fault():
    (fault,) = faults(data(1), pooler(app_environment={"DATABASE_POOL_SIZE": "ten"}))
    assert fault.startswith("app1: connections to the database cannot be added up, a number or a key is missing:")


def test_variables_of_the_database_that_cannot_be_evaluated_are_a_fault_where_there_is_one():
    problems = {"pgbouncer_max_connections": "cannot be evaluated, 'x' is undefined"}
    broken = host("app1", problems=problems, defaults=POOLERS_DEFAULTS, platform_address="192.0.2.21")
    assert faults(broken) == []
    assert faults(broken, data(1)) == [
        "app1: pgbouncer_max_connections cannot be evaluated, 'x' is undefined; set what it is made of, or mend it"
    ]


def test_data_nodes_are_asked_for_their_ports_and_their_ways():
    found = asked(*THREE, pooler())
    assert found["db1"]["ports"] == [5432, 5433]
    assert found["db1"]["reach"] == [
        {"name": "db2", "address": "192.0.2.32", "port": 5432},
        {"name": "db3", "address": "192.0.2.33", "port": 5432},
        {"name": "db2", "address": "192.0.2.32", "port": 5433},
        {"name": "db3", "address": "192.0.2.33", "port": 5433},
    ]


def test_an_application_s_host_is_asked_for_its_pooler_and_its_ways_to_all_data_nodes():
    found = asked(*THREE, witness(1), pooler())["app1"]
    assert found["ports"] == [3001, 3002, 6432]
    assert [(way["name"], way["port"]) for way in found["reach"]] == [
        *(("db1", 5432), ("db2", 5432), ("db3", 5432)),
        *(("db1", 5433), ("db2", 5433), ("db3", 5433)),
    ]


def test_a_witness_and_data_nodes_must_reach_each_other_s_guards():
    found = asked(data(1), data(2), witness(1))
    assert found["witness1"]["ports"] == [5433]
    assert [(way["name"], way["port"]) for way in found["witness1"]["reach"]] == [("db1", 5433), ("db2", 5433)]
    assert [(way["name"], way["port"]) for way in found["db1"]["reach"]] == [
        ("db2", 5432),
        ("db2", 5433),
        ("witness1", 5433),
    ]


def test_a_witness_on_an_application_s_host_is_asked_for_each_way_once():
    both = host(
        "app1", defaults={**POOLERS_DEFAULTS, "pg_guard_port": 5433}, platform_address="192.0.2.21", app_ports=[3001]
    )
    groups = {"app_servers": ["app1"], "postgres_servers": ["db1", "db2"], "postgres_witnesses": ["app1"]}
    found = questions(groups, {one.name: one for one in (both, data(1), data(2))})["app1"]
    assert found["ports"] == [3001, 5433, 6432]
    assert [way["port"] for way in found["reach"]] == [5432, 5432, 5433, 5433]


def listener(port, program, unit, address="::"):
    return {"address": address, "port": port, "program": program, "unit": unit}


@pytest.mark.parametrize(
    ("program", "unit", "port"),
    [
        ("postgres", "postgresql@17-main.service", 5432),
        ("postgres", None, 5432),
        ("escala-pg-guard", "escala-pg-guard.service", 5433),
    ],
)
def test_ports_that_the_right_program_holds_are_no_fault(program, unit, port):
    known = seen(addresses=["192.0.2.31"], listeners=[listener(port, program, unit)])
    assert faults(data(1, observed=known)) == []


def test_ports_that_another_program_holds_are_a_fault_that_is_said_once():
    intruders = [listener(5432, "postgres", "postgresql@15-main.service"), listener(5433, "nc", "nc.service")]
    assert faults(data(1, observed=seen(addresses=["192.0.2.31"], listeners=intruders))) == [
        f"db1: port {port} = {holder}: has it already, and {variable} asks for it; stop that program, or choose another port"
        for port, holder, variable in (
            (5432, "postgres (postgresql@15-main.service)", "postgresql_port"),
            (5433, "nc (nc.service)", "pg_guard_port"),
        )
    ]
    ours = seen(addresses=["192.0.2.21"], listeners=[listener(6432, "pgbouncer", "pgbouncer.service")])
    assert faults(data(1), pooler(observed=ours)) == []
    local = seen(addresses=["192.0.2.21"], listeners=[listener(6432, "odyssey", "odyssey.service", "127.0.0.1")])
    (fault,) = faults(data(1), pooler(observed=local))
    assert fault.startswith("app1: port 6432 = odyssey (odyssey.service): has it already, and pgbouncer_port asks")


def test_the_pooler_s_port_is_nobody_s_where_there_is_no_database():
    known = seen(addresses=["192.0.2.21"], listeners=[listener(6432, "odyssey", "odyssey.service")])
    assert faults(pooler(observed=known)) == []


def test_an_address_that_a_data_node_does_not_have_is_a_fault():
    (fault,) = faults(data(1, observed=seen(addresses=["127.0.0.1", "192.0.2.99"])))
    assert fault.startswith("db1: platform_address = 192.0.2.31: no interface of the host has it;")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_VARIABLES = [
    "app_environment",
    "app_ports",
    "pg_guard_automatic",
    "pg_guard_port",
    "pg_guard_when_alone",
    "pgbouncer_database",
    "pgbouncer_guard_port",
    "pgbouncer_max_client_connections",
    "pgbouncer_max_connections",
    "pgbouncer_port",
    "pgbouncer_postgresql_port",
    "pgbouncer_readers_max_connections",
    "pgbouncer_reserved_connections",
    "platform_address",
    "platform_app_servers_maximum",
    "postgresql_ha_manager",
    "postgresql_install_from",
    "postgresql_max_connections",
    "postgresql_port",
    "postgresql_version",
    "repmgr_port",
]


@settings(max_examples=300, deadline=None)
@given(values=st.dictionaries(st.sampled_from(_VARIABLES), _VALUES, max_size=8))
def test_whatever_a_variable_holds_it_is_judged_and_not_tripped_over(values):
    whatever = host("db1", defaults=POOLERS_DEFAULTS, **values)
    groups = {"app_servers": ["db1"], "postgres_servers": ["db1", "db2"], "postgres_witnesses": ["db1"]}
    judged = platform(whatever, data(2), groups=groups)
    assert all(": " in str(fault) for fault in (*find_faults(judged), *find_hints(judged)))
    assert set(questions(groups, judged.hosts)) == {"db1", "db2"}


PATRONI = {"postgresql_ha_manager": "patroni"}


def test_patroni_on_three_nodes_has_a_store_of_three():
    assert faults(*(data(number, **PATRONI) for number in (1, 2, 3))) == []


def test_one_manager_decides_for_all_data_nodes():
    (fault,) = faults(data(1, **PATRONI), data(2, **PATRONI), data(3))
    assert "postgresql_ha_manager = patroni, repmgr: differs between data nodes" in fault


def test_an_unknown_manager_is_told_which_there_are():
    found = faults(*(data(number, postgresql_ha_manager="stolon") for number in (1, 2, 3)))
    assert found == [
        "db1, db2, db3: postgresql_ha_manager = stolon: is unknown; choose one of repmgr, patroni",
    ]


def test_a_witness_has_nothing_to_do_beside_patroni():
    hosts = [data(1, **PATRONI), data(2, **PATRONI), witness(1)]
    found = faults(*hosts)
    assert any("postgres_witnesses" in fault and "name them in etcd_servers" in fault for fault in found)
    assert any("2 members of etcd keep no majority" in fault for fault in found)


def test_a_store_on_hosts_of_its_own_counts():
    hosts = [data(1, **PATRONI), data(2, **PATRONI), data(3, **PATRONI)]
    names = [one.name for one in hosts]
    of_three = {"postgres_servers": names, "etcd_servers": ["etcd1", "etcd2", "etcd3"]}
    assert faults(*hosts, groups=of_three) == []
    (fault,) = faults(*hosts, groups={**of_three, "etcd_servers": ["etcd1", "etcd2", "etcd3", "etcd4"]})
    assert "4 members of etcd" in fault


def on_a_data_node(*listeners, **values):
    known = seen(addresses=["192.0.2.31"], listeners=list(listeners))
    others = [data(number, **values) for number in (2, 3)]
    return faults(data(1, observed=known, **values), *others)


def test_what_patroni_and_etcd_listen_on_is_theirs():
    ours = [
        listener(5432, "postgres", "patroni.service"),
        listener(8008, "patroni", "patroni.service"),
        listener(2379, "etcd", "etcd.service"),
        listener(2380, "etcd", "etcd.service"),
    ]
    assert on_a_data_node(*ours, **PATRONI) == []


@pytest.mark.parametrize(
    ("port", "variable"), [(8008, "patroni_port"), (2379, "etcd_client_port"), (2380, "etcd_peer_port")]
)
def test_another_program_on_a_port_of_theirs_is_a_fault_only_where_they_are_wanted(port, variable):
    intruder = listener(port, "nc", "nc.service")
    (fault,) = on_a_data_node(intruder, **PATRONI)
    assert f"has it already, and {variable} asks for it" in fault
    assert on_a_data_node(intruder) == []


def test_a_server_that_runs_by_itself_has_patroni_s_port():
    (fault,) = on_a_data_node(listener(5432, "postgres", "postgresql@17-main.service"), **PATRONI)
    assert "postgresql_port asks for it" in fault
