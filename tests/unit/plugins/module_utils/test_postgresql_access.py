from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._postgresql_access import password_line, rules


def account(name="app", databases=("app",), addresses=("192.0.2.21",)):
    return {"name": name, "databases": databases, "addresses": addresses}


def test_each_account_enters_its_databases_from_its_addresses_by_tls_with_a_password():
    found = [str(rule).split() for rule in rules([account(databases=("app", "replication"))])]
    assert found == [
        ["hostssl", "app", "app", "192.0.2.21/32", "scram-sha-256"],
        ["hostssl", "replication", "app", "192.0.2.21/32", "scram-sha-256"],
    ]


@pytest.mark.parametrize(
    ("addresses", "networks"),
    [
        (["192.0.2.20", "192.0.2.21"], ["192.0.2.20/31"]),
        (["192.0.2.21", "192.0.2.22"], ["192.0.2.21/32", "192.0.2.22/32"]),
        (["192.0.2.21", "192.0.2.21"], ["192.0.2.21/32"]),
        (["192.0.2.5/24", "192.0.2.21"], ["192.0.2.0/24"]),
        (["2001:db8::1"], ["2001:db8::1/128"]),
        ([], []),
    ],
)
def test_addresses_become_as_few_networks_as_cover_just_them(addresses, networks):
    assert [rule.network for rule in rules([account(addresses=addresses)])] == networks


@pytest.mark.parametrize("address", ["db1.example.com", "192.0.2.256", "", None])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match="neither an address nor a network"):
        rules([account(addresses=[address])])


@pytest.mark.parametrize("address", ["0.0.0.0/0", "::/0"])
def test_everywhere_is_refused(address):
    with pytest.raises(ValueError, match="which is everywhere"):
        rules([account(addresses=[address])])


def test_a_name_that_is_a_keyword_means_only_itself():
    [rule] = rules([account(name="all", databases=["sameuser"])])
    assert str(rule).split()[1:3] == ['"sameuser"', '"all"']
    [rule] = rules([account(name="my-app")])
    assert rule.user == '"my-app"'


@pytest.mark.parametrize("name", ["", 'a"b', "a,b", "a\nb"])
def test_a_name_that_would_be_a_rule_of_its_own_is_refused(name):
    with pytest.raises(ValueError, match="cannot be a name"):
        rules([account(name=name)])


@pytest.mark.parametrize(
    ("password", "written"),
    [("plain", "plain"), ("a:b", r"a\:b"), ("a\\b", r"a\\b"), ("\\:", r"\\\:"), ("a b#", "a b#")],
)
def test_a_password_is_written_so_that_libpq_reads_the_same(password, written):
    assert password_line("app", password) == f"*:*:*:app:{written}"
