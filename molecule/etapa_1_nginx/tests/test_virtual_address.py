"""The virtual address, looked for on both balancers."""

import os

import testinfra

from tests.lab.eventually import eventually, lasting

testinfra_hosts = ["local://"]

ENGINE = os.environ["ESCALA_LOAD_BALANCER_ENGINE"]


def balancers(pytestconfig):
    inventory = pytestconfig.getoption("--ansible-inventory")
    return testinfra.get_hosts(["ansible://load_balancers"], ansible_inventory=inventory)


def holders(hosts):
    found = []
    for host in hosts:
        address = host.ansible.get_variables()["lab_vip"]
        if address in host.check_output("ip -brief address show"):
            found.append(host.backend.get_hostname())
    return found


def test_exactly_one_balancer_holds_it(pytestconfig):
    assert len(holders(balancers(pytestconfig))) == 1


def test_it_leaves_a_balancer_whose_engine_is_stopped_and_stays_where_it_went(pytestconfig):
    hosts = {host.backend.get_hostname(): host for host in balancers(pytestconfig)}
    [first] = holders(hosts.values())
    hosts[first].check_output(f"systemctl stop {ENGINE}")
    try:
        [now] = eventually(
            "the other balancer holds the address",
            lambda: [name for name in holders(hosts.values()) if name != first],
            within=5,
        )
    finally:
        hosts[first].check_output(f"systemctl start {ENGINE}")
    lasting("the address stays where it went", lambda: holders(hosts.values()) == [now], seconds=3)
