import itertools
import json

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _minio
from ansible_collections.escala.ha.plugins.module_utils._minio import Wish, default_parity, refusals, write_quorum

EMPTY = {"own_file_system": True, "foreign": [], "deployment": "", "drives": 0, "position": 0, "problem": ""}


def nodes(count):
    return [{"name": f"s{number}", "address": f"192.0.2.{number}"} for number in range(1, count + 1)]


def wish(count=4, volumes=("/data",), parity=0, host="s1", password_length=20):
    return Wish(host, nodes(count), volumes, parity, password_length)


def seen(count=4, volumes=("/data",), **changes):
    return {node["name"]: {"volumes": {path: {**EMPTY, **changes} for path in volumes}} for node in nodes(count)}


def pool(position, drives=4, deployment="one"):
    return {"deployment": deployment, "drives": drives, "position": position}


@pytest.mark.parametrize("count", [1, 4, 5, 16])
def test_one_node_and_four_and_more_with_empty_disks_may_be(count):
    assert refusals(wish(count), seen(count)) == []


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (wish(2), "2 nodes: with one off the other would take no writes; name 1 node, or 4 and more"),
        (wish(3), "3 nodes: with one off nothing would be left over for a bad disk; name 1 node, or 4 and more"),
        (wish(17), "17 nodes with 1 of minio_volumes each are 17 drives, and the limit is 16, one erasure set"),
        (wish(4, [f"/data{number}" for number in range(5)]), "20 drives, and the limit is 16"),
        (wish(volumes=[]), "minio_volumes is empty"),
        (wish(host="other"), "minio_nodes names s1, s2, s3, s4, and not other"),
        (wish(parity=3), "minio_parity is 3 of 4 drives, and the limit is half of them; set it to 2 at most"),
        (
            wish(volumes=["/a", "/b"], parity=1),
            "minio_parity is 1 of 8 drives, and a node that is off takes 2: the 6 that are left would take no writes, which need 7;",
        ),
        (wish(password_length=7), "minio_root_password has 7 characters, and MinIO takes 8 at least"),
        (wish()._replace(nodes=nodes(4) + nodes(1)), "minio_nodes has the names s1 twice"),
        (
            wish()._replace(nodes=[{**node, "address": "192.0.2.1"} for node in nodes(4)]),
            "minio_nodes has the addresses 192.0.2.1 twice",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_what_is_wrong_and_what_to_do(asked, reason):
    assert any(reason in told for told in refusals(asked, seen()))


def test_whatever_is_not_refused_takes_writes_and_reads_with_a_node_off():
    for count, per_node, parity in itertools.product(range(4, 17), range(1, 5), range(9)):
        volumes = [f"/{number}" for number in range(per_node)]
        if refusals(wish(count, volumes, parity), seen(count, volumes)):
            continue
        drives = count * per_node
        spare = parity or default_parity(drives)
        left = drives - per_node
        assert left >= write_quorum(drives, spare)
        assert left >= drives - spare


def test_what_minio_takes_by_itself_is_enough_for_every_size_that_one_set_allows():
    for count, per_node in itertools.product(range(4, 17), range(1, 5)):
        if count * per_node <= 16:
            volumes = [f"/{number}" for number in range(per_node)]
            assert refusals(wish(count, volumes), seen(count, volumes)) == []


@pytest.mark.parametrize(
    ("drives", "parity"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3), (8, 4), (16, 4)]
)
def test_the_spare_drives_are_those_that_minio_would_take(drives, parity):
    assert default_parity(drives) == parity


def test_a_folder_on_the_root_file_system_is_refused_by_its_host():
    [told] = refusals(wish(), seen(own_file_system=False))
    assert told.startswith("s1: /data is on the root file system")
    assert "Mount a disk of its own there" in told


def test_a_folder_with_another_s_files_is_refused_with_their_names():
    [told] = refusals(wish(), seen(foreign=["photos", "x.sql"]))
    assert told.startswith("s1: /data holds what is not MinIO's: photos, x.sql. Move it away")


def test_a_format_that_cannot_be_read_is_said():
    [told] = refusals(wish(), seen(problem="ValueError: no JSON"))
    assert "s1: /data/.minio.sys/format.json cannot be read: ValueError: no JSON" in told


def test_a_pool_stays_as_it_is():
    for place, host in enumerate(("s1", "s2", "s3", "s4")):
        found = {
            name: {"volumes": {"/data": {**EMPTY, **pool(at)}}} for at, name in enumerate(("s1", "s2", "s3", "s4"))
        }
        assert refusals(wish(host=host), found) == [], place


@pytest.mark.parametrize("count", [1, 5])
def test_a_pool_that_has_data_keeps_its_size(count):
    [told] = refusals(wish(count), {"s1": {"volumes": {"/data": {**EMPTY, **pool(0)}}}})
    assert told.startswith(
        f"s1: /data is drive 1 of 4 of a pool that has data, and minio_nodes and minio_volumes now name {count} drives."
    )


def test_a_pool_that_has_data_keeps_its_order():
    [told] = refusals(wish(), {"s1": {"volumes": {"/data": {**EMPTY, **pool(2)}}}})
    assert told.startswith("s1: /data is drive 3 of 4 of a pool that has data, and would become drive 1")


def test_a_second_volume_has_its_place_as_well():
    here = {"/a": {**EMPTY, **pool(2, 8)}, "/b": {**EMPTY, **pool(3, 8)}}
    assert refusals(wish(volumes=["/a", "/b"], host="s2"), {"s2": {"volumes": here}}) == []
    assert len(refusals(wish(volumes=["/b", "/a"], host="s2"), {"s2": {"volumes": here}})) == 2


def test_a_new_disk_in_the_place_of_one_that_is_gone_is_left_to_minio():
    found = {**seen(), "s2": {"volumes": {"/data": {**EMPTY, **pool(1)}}}, "s3": {}}
    assert refusals(wish(), found) == []


def test_disks_of_two_pools_are_refused_with_whose_they_are():
    found = {**seen(), "s2": {"volumes": {"/data": {**EMPTY, **pool(1)}}}}
    found["s3"] = {"volumes": {"/data": {**EMPTY, **pool(2, deployment="two")}}}
    [told] = refusals(wish(), found)
    assert told.startswith("the disks are of different pools: s2:/data of one; s3:/data of two.")


def test_what_was_not_looked_at_is_never_taken_for_an_empty_disk():
    [told] = refusals(wish(), {"s1": {"volumes": {}}})
    assert "nothing is known of /data" in told


def made(folder, said):
    (folder / ".minio.sys").mkdir(parents=True, exist_ok=True)
    (folder / _minio.FORMAT).write_text(said)


def test_a_disk_says_which_drive_of_which_pool_it_is(tmp_path):
    (tmp_path / "uploads").mkdir()
    made(tmp_path, json.dumps({"id": "one", "xl": {"this": "c", "sets": [["a", "b", "c", "d"]]}}))
    assert _minio.observed(str(tmp_path)) | {"own_file_system": None} == {
        "own_file_system": None,
        "foreign": [],
        "deployment": "one",
        "drives": 4,
        "position": 2,
        "problem": "",
    }


@pytest.mark.parametrize(
    "said", ["", "{}", '{"id": "one", "xl": {"this": "z", "sets": [["a"]]}}', '{"id": 1, "xl": []}']
)
def test_a_broken_format_is_a_problem_and_no_empty_disk(tmp_path, said):
    made(tmp_path, said)
    found = _minio.observed(str(tmp_path))
    assert (found["deployment"], bool(found["problem"])) == ("", True)


def test_what_a_new_file_system_has_is_nobody_s(tmp_path):
    (tmp_path / "lost+found").mkdir()
    # A first start that was interrupted leaves this.
    (tmp_path / ".minio.sys").mkdir()
    assert _minio.observed(str(tmp_path))["foreign"] == []
    for number in range(7):
        (tmp_path / f"file{number}").touch()
    assert _minio.observed(str(tmp_path))["foreign"] == [f"file{number}" for number in range(5)]


def test_whose_file_system_a_folder_is_on_is_known_before_there_is_one(tmp_path):
    later = str(tmp_path / "not" / "yet")
    assert _minio.observed(later, root=str(tmp_path))["own_file_system"] is False
    assert _minio.observed(later, root="/proc")["own_file_system"] is True
    assert _minio.observed("relative", root="/")["own_file_system"] is False
