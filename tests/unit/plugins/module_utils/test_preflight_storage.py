from __future__ import annotations

import pytest

from ansible_collections.escala.ha.plugins.module_utils._preflight import find_faults, find_hints
from ansible_collections.escala.ha.plugins.module_utils._preflight_questions import questions
from tests.unit.plugins.module_utils.preflight_platform import application, balancer, by_name, host, platform, seen

KEYS = ["secret_shared_storage_access_key", "secret_shared_storage_secret_key"]
STRING = "secret_shared_storage_azure_connection_string"


# What two servers need beside what one needs.
PAIR = {"shared_storage_address": "192.0.2.60", "share_volume_device": "/dev/disk/by-id/virtio-uploads"}


def storage(number, **values):
    address = f"192.0.2.6{number}"
    known = seen(addresses=["127.0.0.1", address])
    return host(f"storage{number}", observed=known, **{"platform_address": address, "minio_port": 9000, **values})


def app(backend, sealed=(*KEYS, STRING), **values):
    one = application(shared_storage_backend=backend, **values)
    return one._replace(sealed=sealed)


def described(*hosts):
    servers = [one.name for one in hosts if one.name.startswith("storage")]
    groups = by_name(*hosts)
    return platform(*hosts, groups={**groups, "storage_servers": servers} if servers else groups)


def faults(*hosts):
    return [str(fault) for fault in find_faults(described(*hosts))]


def hints(*hosts):
    return [str(hint) for hint in find_hints(described(*hosts)) if "shared_storage" in str(hint)]


def directory(**changes):
    mount = {"point": "/", "type": "ext4", "source": "/dev/vda1", "options": ["rw"]}
    return {"answers": True, "directory": {"mount": mount, "is_mount_point": False, "first_names": [], **changes}}


def test_a_platform_without_shared_storage_is_not_judged_by_it():
    assert faults(application()) == []


@pytest.mark.parametrize("backend", ["ftp", "NFS", 7])
def test_an_unknown_backend_is_a_fault(backend):
    (fault,) = faults(app(backend))
    assert fault.endswith("is unknown; choose one of nfs, smb, minio, s3, azure_blob")


def test_a_backend_that_differs_between_hosts_is_a_fault():
    other = host("app2", shared_storage_backend="azure_blob", sealed=[STRING], platform_address="192.0.2.2")
    found = faults(app("s3"), other._replace(defaults={}))
    assert any("= azure_blob, s3: differs between hosts" in fault for fault in found)


@pytest.mark.parametrize(
    ("backend", "count", "good"),
    [
        *(("nfs", count, count in (1, 2)) for count in range(4)),
        *(("smb", count, count == 1) for count in range(4)),
        *(("minio", count, count in (1, 4, 5)) for count in range(6)),
        ("s3", 0, True),
        ("azure_blob", 0, True),
    ],
)
def test_each_backend_has_its_number_of_servers(backend, count, good):
    given = {"shared_storage_backend": backend, **PAIR}
    found = faults(app(backend), *(storage(number, **given) for number in range(1, count + 1)))
    assert (found == []) is good
    if not good:
        assert f"shared_storage_backend = {backend} takes 1 " in found[0]
        assert f"has {count} host" in found[0]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"shared_storage_address": None},
            "shared_storage_address is not set, and two servers need one that moves between them",
        ),
        ({"shared_storage_address": "nas.example.com"}, "is no address, and a name does not move"),
        ({"shared_storage_address": "192.0.2.62"}, "is a host's own, and two servers need one that moves"),
        ({"share_volume_device": ""}, "is not set, and two servers mirror a disk of their own"),
    ],
)
def test_two_servers_need_an_address_that_moves_and_a_disk_each(changed, words):
    found = faults(app("nfs"), storage(1, **PAIR), storage(2, **{**PAIR, **changed}))
    assert len(found) == 1
    assert found[0].startswith("storage2")
    assert words in found[0]
    assert faults(app("nfs"), storage(1)) == []


@pytest.mark.parametrize("path", ["/srv/uploads", "/mnt/a/b"])
def test_a_path_below_the_application_s_roots_is_good(path):
    assert faults(app("nfs", shared_storage_path=path), storage(1)) == []


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/opt/uploads", "is not below one of /srv, /mnt"),
        ("/srv", "is not below one of /srv, /mnt"),
        ("/srvx/uploads", "is not below one of"),
        ("srv/uploads", "is not an absolute path"),
        ("/srv/uploads/", "is not an absolute path"),
        ("/srv/../etc", "is not an absolute path"),
        (7, "is not an absolute path"),
    ],
)
def test_a_path_where_the_application_takes_none_is_a_fault(path, words):
    (fault,) = faults(app("smb", shared_storage_path=path), storage(1))
    assert words in fault


def test_the_application_s_roots_may_be_others():
    roots = {"STORAGE_ALLOWED_ROOTS": "/data/, /srv"}
    assert faults(app("nfs", shared_storage_path="/data/uploads", app_environment=roots), storage(1)) == []


@pytest.mark.parametrize(
    ("backend", "name", "good"),
    [
        ("s3", "uploads", True),
        ("s3", "up.loads-1", True),
        ("s3", "Uploads", False),
        ("s3", "up", False),
        ("s3", "-uploads", False),
        ("s3", "up..loads", False),
        ("s3", "192.0.2.1", False),
        ("s3", "a" * 64, False),
        ("s3", ["uploads"], False),
        ("azure_blob", "uploads-1", True),
        ("azure_blob", "up.loads", False),
        ("azure_blob", "up--loads", False),
        ("azure_blob", "a" * 64, False),
    ],
)
def test_a_name_that_no_bucket_or_container_can_have_is_a_fault(backend, name, good):
    found = faults(app(backend, shared_storage_bucket=name))
    assert (found == []) is good
    assert all("is no name of a" in fault for fault in found)


@pytest.mark.parametrize(
    ("endpoint", "good"),
    [
        ("https://s3.example.com", True),
        ("https://192.0.2.4:9000/", True),
        ("", True),
        ("http://s3.example.com", False),
        ("s3.example.com", False),
        ("https://s3.example.com/path", False),
        ("https://s3.example.com:x", False),
    ],
)
def test_an_endpoint_is_an_address_of_https(endpoint, good):
    assert (faults(app("s3", shared_storage_endpoint=endpoint)) == []) is good


@pytest.mark.parametrize(
    ("backend", "sealed", "endpoint", "missing"),
    [
        ("s3", KEYS, "", []),
        ("s3", [], "", []),
        ("s3", KEYS[:1], "", KEYS[1:]),
        ("s3", [], "https://s3.example.com", KEYS),
        ("azure_blob", [], "", [STRING]),
        ("azure_blob", [STRING], "", []),
    ],
)
def test_keys_that_nobody_can_generate_must_be_given_or_be_the_host_s_own(backend, sealed, endpoint, missing):
    found = faults(app(backend, sealed, shared_storage_endpoint=endpoint))
    assert [fault.split(": ")[1].partition(" ")[0] for fault in found] == missing


def test_a_mount_point_with_files_that_is_no_mount_is_a_fault_that_names_them():
    there = directory(first_names=["a.jpg", "b.jpg"])
    (fault,) = faults(app("nfs", __preflight_storage=there), storage(1))
    assert fault.startswith(
        "app1: shared_storage_path = /srv/uploads: is not empty and no mount, and what is in it would be hidden: a.jpg, b.jpg; move"
    )


@pytest.mark.parametrize(
    ("backend", "kind", "good"),
    [
        ("nfs", "nfs4", True),
        ("nfs", "autofs", True),
        ("smb", "cifs", True),
        ("nfs", "cifs", False),
        ("smb", "ext4", False),
    ],
)
def test_a_mount_of_its_own_kind_is_good_however_full_and_another_is_a_fault(backend, kind, good):
    mount = {"point": "/srv/uploads", "type": kind, "source": "x", "options": []}
    there = directory(mount=mount, is_mount_point=True, first_names=["a.jpg"])
    found = faults(app(backend, __preflight_storage=there), storage(1))
    assert found == [] if good else f"x ({kind}) is mounted there, and {backend} would" in found[0]


@pytest.mark.parametrize("names", [[], None])
def test_an_empty_directory_is_good_and_so_is_one_that_may_not_be_seen(names):
    assert faults(app("nfs", __preflight_storage=directory(first_names=names)), storage(1)) == []


@pytest.mark.parametrize(
    ("kind", "fault", "hint"),
    [
        ("missing", False, False),
        ("hangs", False, True),
        ("stale", False, True),
        ("away", False, True),
        ("error", True, False),
    ],
)
def test_what_etapa_2_may_be_there_to_mend_is_worth_a_look_and_no_fault(kind, fault, hint):
    one = app("nfs", __preflight_storage={"answers": False, "kind": kind, "problem": "it is so"})
    assert (bool(faults(one, storage(1))), bool(hints(one, storage(1)))) == (fault, hint)


@pytest.mark.parametrize("backend", ["s3", "azure_blob"])
def test_a_bucket_that_cannot_be_used_is_a_fault_with_the_reason(backend):
    there = {"answers": False, "kind": "clock", "problem": "the clocks differ"}
    assert faults(app(backend, __preflight_storage=there)) == [
        "app1: shared_storage_bucket = uploads: cannot be used, the clocks differ; then run this again"
    ]


@pytest.mark.parametrize(("manage", "good"), [(None, True), (True, True), (False, False)])
def test_a_bucket_that_is_missing_is_made_by_etapa_2_or_a_fault(manage, good):
    there = {"answers": False, "kind": "bucket", "problem": "there is none"}
    assert (faults(app("s3", __preflight_storage=there, object_storage_manage=manage)) == []) is good


def test_a_bucket_whose_name_is_wrong_is_told_once():
    there = {"answers": False, "kind": "options", "problem": "object_storage_bucket is 'X'"}
    assert len(faults(app("s3", shared_storage_bucket="X", __preflight_storage=there))) == 1


@pytest.mark.parametrize("seen_there", [None, {"skipped": True}, {"unreachable": True}, {"msg": "no python"}])
def test_a_host_that_was_not_asked_is_not_judged_by_what_it_did_not_say(seen_there):
    assert faults(app("s3", __preflight_storage=seen_there)) == []
    assert faults(app("nfs", __preflight_storage=seen_there), storage(1)) == []


def asked(*hosts):
    known = described(*hosts)
    return questions(known.groups, known.hosts)


def ways(found, name):
    return [(way["name"], way["port"]) for way in found[name]["reach"]]


@pytest.mark.parametrize(("backend", "port"), [("nfs", 2049), ("smb", 445), ("minio", 9000)])
def test_applications_reach_the_one_storage_server(backend, port):
    given = {"shared_storage_backend": backend, "minio_port": 9000}
    found = asked(app(backend, minio_port=9000), storage(1, **given))
    assert ways(found, "app1") == [("storage1", port)]
    # The kernel serves NFS, so nobody can tell who has its port.
    assert found["storage1"]["ports"] == ([] if backend == "nfs" else [port])
    assert ways(found, "storage1") == []


def test_several_nodes_of_minio_are_reached_by_the_balancers_and_by_each_other():
    given = {"shared_storage_backend": "minio", "minio_port": 9000}
    nodes = [storage(number, **given) for number in range(1, 5)]
    found = asked(app("minio", minio_port=9000), balancer(1, keepalived_vip=None, **given), *nodes)
    everyone = [(f"storage{number}", 9000) for number in range(1, 5)]
    assert ways(found, "app1") == []
    assert [way for way in ways(found, "lb1") if way[1] == 9000] == everyone
    assert ways(found, "storage2") == [way for way in everyone if way[0] != "storage2"]
    assert 9000 in found["lb1"]["ports"]


@pytest.mark.parametrize("backend", ["s3", "azure_blob", None])
def test_a_storage_of_somebody_else_s_has_no_ports_here(backend):
    found = asked(app(backend), storage(1, shared_storage_backend=backend))
    assert (ways(found, "app1"), found["storage1"]["ports"]) == ([], [])


def test_another_program_on_the_storage_s_port_is_a_fault():
    given = {"shared_storage_backend": "smb"}
    listener = {"port": 445, "address": "192.0.2.61", "program": "python3", "unit": "intruder.service"}
    server = storage(1, **given)
    server = server._replace(observed={**server.observed, "listeners": [listener]})
    (fault,) = faults(app("smb"), server)
    assert (
        "port 445 = python3 (intruder.service): has it already, and shared_storage_backend = smb asks for it" in fault
    )
