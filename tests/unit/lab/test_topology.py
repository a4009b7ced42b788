from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab import topology
from lab.errors import LabError

HEAD = 'bridge = "b0"\nnetwork = "10.9.0.0/24"\nvip = "10.9.0.100"\nserver_name = "a.test"\n'
GOOD = HEAD + '[hosts.a]\naddress = "10.9.0.2"\ngroups = ["x"]\n'


def read(folder: Path, text: str, name: str = "given") -> topology.Topology:
    (folder / f"{name}.toml").write_text(text)
    return topology.load(name, folder)


def test_the_default_topology_has_every_host_of_the_small_one() -> None:
    assert topology.load("default").covers(topology.load("small"))
    assert not topology.load("small").covers(topology.load("default"))
    # The same hosts, of which each says something else.
    assert not topology.load("backups").covers(topology.load("backups_pgbackrest"))
    assert not topology.load("backups_pgbackrest").covers(topology.load("backups"))
    assert topology.load("backups_pgbackrest").covers(topology.load("database"))
    assert not topology.load("backups_s3").covers(topology.load("backups_pgbackrest"))


def test_the_default_topology_has_the_hosts_that_the_etapas_need() -> None:
    hosts = topology.load("default").hosts
    assert set(hosts) == {
        "lb1",
        "lb2",
        "app1",
        "app2",
        "db1",
        "db2",
        "db3",
        "storage1",
        "cache1",
        "cache2",
        "cache3",
        "mon1",
        "legacy1",
        "single1",
    }
    for host in hosts.values():
        if {"postgres_servers", "legacy_servers"} & set(host.groups):
            assert [volume.path for volume in host.volumes] == ["/var/lib/postgresql"]


def test_the_database_on_debian_12_differs_from_the_migration_by_that_alone() -> None:
    newer, older = topology.load("migration").hosts, topology.load("database_debian12").hosts
    changed = {name for name, host in older.items() if host != newer[name]}
    assert older.keys() == newer.keys()
    assert changed == {name for name, host in newer.items() if "postgres_servers" in host.groups}
    assert all(older[name] == replace(newer[name], os="debian12") for name in changed)


def test_the_hosts_for_nfs_have_kernels_of_their_own_and_bare_disks_to_mirror() -> None:
    hosts = topology.load("nfs_storage").hosts
    small = topology.load("small").hosts
    added = {name: host for name, host in hosts.items() if name not in small}
    assert {name: (host.kind, *host.groups) for name, host in added.items()} == {
        "app3": ("vm", "app_servers"),
        "app4": ("vm", "app_servers"),
        "nas1": ("vm", "storage_servers"),
        "nas2": ("vm", "storage_servers"),
    }
    assert [volume.path for name in ("nas1", "nas2") for volume in hosts[name].volumes] == ["", ""]
    assert not hosts["app1"].groups
    assert not hosts["app2"].groups


@pytest.mark.parametrize("name", ["small", "database"])
def test_the_hosts_of_one_topology_run_on_where_another_only_groups_them_otherwise(name: str) -> None:
    present, wanted = topology.load(name), topology.load("nfs_storage")
    assert not present.covers(wanted)
    assert not wanted.covers(present)
    assert wanted.changed_from(present) == []


def test_a_host_that_would_become_another_is_named() -> None:
    older, newer = topology.load("database_debian12"), topology.load("database")
    assert newer.changed_from(older) == ["db1", "db2", "db3"]


def test_the_machine_takes_the_first_address(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD).gateway == "10.9.0.1"


def test_a_host_named_again_replaces_the_one_it_extends(tmp_path: Path) -> None:
    read(tmp_path, GOOD, "base")
    wider = read(tmp_path, 'extends = "base"\n[hosts.a]\naddress = "10.9.0.3"\ngroups = []\n')
    assert wider.hosts["a"].address == "10.9.0.3"
    assert not wider.covers(topology.load("base", tmp_path))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (GOOD + '[hosts.b]\naddress = "10.9.0.2"\ngroups = []\n', "host b: 10.9.0.2 is a's already"),
        (GOOD + '[hosts.b]\naddress = "10.9.0.1"\ngroups = []\n', "host b: 10.9.0.1 is the machine's already"),
        (GOOD + '[hosts.b]\naddress = "10.9.0.100"\ngroups = []\n', "host b: 10.9.0.100 is the VIP's already"),
        (GOOD + '[hosts.b]\naddress = "10.8.0.2"\ngroups = []\n', "host b: 10.8.0.2 is outside 10.9.0.0/24"),
        (GOOD + '[hosts.b]\naddress = "10.9.0.3"\n', "host b: 'groups'"),
        (GOOD + '[hosts.b]\naddress = "10.9.0.3"\ngroups = []\nos = "debian9"\n', "os is 'debian9'"),
        (GOOD + '[hosts.b]\naddress = "10.9.0.3"\ngroups = []\nkind = "cloud"\n', "kind is 'cloud'"),
        (
            GOOD + 'volumes = [{name = "v", path = "", size_mib = 1}]\n',
            "host a, volume v: a disk without a file system",
        ),
        (GOOD + 'volumes = [{name = "v", path = "srv", size_mib = 1}]\n', "volume v: the path is 'srv'"),
        (GOOD + f'volumes = [{{name = "{"v" * 17}", path = "/v", size_mib = 1}}]\n', "a name has 1 to 16"),
        (GOOD + '[hosts.b]\naddress = "10.9.0.3"\ngroups = []\nsize = 1\n', "unexpected keyword argument 'size'"),
        (GOOD + '[hosts.much-too-long]\naddress = "10.9.0.3"\ngroups = []\n', "a name has 1 to 12"),
        (GOOD.replace('vip = "10.9.0.100"\n', ""), "missing 1 required positional argument: 'vip'"),
        ("bridge = [", "given.toml"),
    ],
)
def test_a_topology_that_cannot_be_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(LabError, match=complaint.replace("(", r"\(")):
        read(tmp_path, text)


def test_an_unknown_topology_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        LabError,
        match=r"'huge' does not exist; there are adoption, backups, backups_pgbackrest, backups_s3, database, database_debian12, default, (\w+, )*small",
    ):
        topology.load("huge")


def test_an_unknown_host_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="host 'z' is not in topology given; it has a"):
        read(tmp_path, GOOD).host("z")
