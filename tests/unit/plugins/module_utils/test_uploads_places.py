import pytest

from ansible_collections.escala.ha.plugins.module_utils import _uploads_places as places
from ansible_collections.escala.ha.plugins.module_utils._uploads_places import PlaceError

OLD = {
    "type": "old_server",
    "host": "legacy1",
    "address": "192.0.2.71",
    "user": "tenant-app",
    "path": "/var/lib/uploads/",
}
SHARE = {"type": "share", "path": "/srv/uploads"}
MINIO = {
    "type": "s3", "bucket": "uploads", "endpoint": "https://192.0.2.41:9000/", "access_key": "a-key", "secret_key": "a-secret",
}  # fmt: skip
AWS = {"type": "s3", "bucket": "uploads", "endpoint": "", "region": "eu-west-1"}
AZURE = {"type": "azure_blob", "container": "uploads", "connection_string": "AccountName=me;AccountKey=QUJD=="}
ALL = {"old_server": OLD, "share": SHARE, "s3": MINIO, "aws": AWS, "azure_blob": AZURE}


def conf(source, target):
    sections = places.rclone_conf(source, target, ALL, "/run/x").split("\n\n")
    found = {}
    for section in sections:
        head, *lines = section.strip().splitlines()
        found[head.strip("[]")] = dict(line.split(" = ", 1) for line in lines)
    return found


def test_files_come_to_their_place_by_a_rename_and_objects_by_one_request():
    ends = places.pair("old_server", "s3", ALL)
    assert (ends["to"]["staging"], ends["to"]["renamed"]) == ("", "")
    ends = places.pair("s3", "share", ALL)
    assert ends["to"]["remote"] == "to:/srv/uploads"
    assert ends["to"]["staging"] == "to-staging:/srv/uploads/.escala-migration"
    assert ends["to"]["renamed"] == "to-final:/srv/uploads"


@pytest.mark.parametrize(
    ("name", "setting", "location"),
    [
        ("old_server", {"driver": "local", "path": "/var/lib/uploads"}, "/var/lib/uploads"),
        ("share", {"driver": "local", "path": "/srv/uploads"}, "/srv/uploads"),
        ("s3", {"driver": "s3"}, "https://192.0.2.41:9000/uploads"),
        ("aws", {"driver": "s3"}, "s3://uploads"),
        ("azure_blob", {"driver": "azure_blob"}, "uploads"),
    ],
)
def test_the_application_is_told_of_a_place_and_says_that_it_uses_it(name, setting, location):
    other = "share" if name != "share" else "s3"
    end = places.pair(name, other, ALL)["from"]
    assert (end["setting"], end["location"]) == (setting, location)
    shown = f"https://me.blob.core.windows.net/{location}" if name == "azure_blob" else location
    assert places.is_at(setting["driver"], shown, setting, location)
    assert not places.is_at(setting["driver"], "/somewhere/else", setting, location)
    assert not places.is_at("other", shown, setting, location)


def test_no_end_has_a_key_in_it():
    assert "secret" not in str(places.pair("s3", "azure_blob", ALL))
    assert "QUJD" not in str(places.pair("s3", "azure_blob", ALL))


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("share", "share", "are both 'share'"),
        (
            "nowhere",
            "s3",
            "migrate_uploads_from is 'nowhere'; it must be one of aws, azure_blob, old_server, s3, share",
        ),
        ("s3", "", "migrate_uploads_to is ''"),
    ],
)
def test_two_places_must_be_named(source, target, said):
    with pytest.raises(PlaceError, match=said):
        places.pair(source, target, ALL)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"type": "ftp"}, "type is 'ftp'; it must be one of old_server, share, s3, azure_blob"),
        ({"type": "s3"}, "lacks bucket"),
        ({"type": "azure_blob", "container": "uploads", "connection_string": ""}, "lacks connection_string"),
        ({**OLD, "address": ""}, "lacks address"),
        ({"type": "share", "path": "srv"}, "must be an absolute path below /"),
        ({"type": "share", "path": "/"}, "must be an absolute path below /"),
    ],
)
def test_a_place_that_is_none_is_named_with_what_it_lacks(place, said):
    with pytest.raises(PlaceError, match=said):
        places.pair("x", "s3", {**ALL, "x": place})


def test_two_old_servers_are_no_migration():
    with pytest.raises(PlaceError, match="both old servers"):
        places.pair("old_server", "older", {**ALL, "older": OLD})


def test_rclone_is_told_of_an_old_server_by_sftp_and_nothing_else():
    found = conf("old_server", "share")
    assert set(found) == {"from", "from-staging", "from-final", "to", "to-staging", "to-final"}
    assert found["from"] == found["from-final"]
    assert found["from"]["type"] == "sftp"
    assert found["from"]["key_file"] == "/run/x/key"
    assert found["from"]["shell_type"] == "none"
    assert found["to"] == {"type": "local", "skip_links": "true"}


def test_rclone_is_told_of_a_server_of_one_s_own_and_of_aws():
    found = conf("s3", "aws")
    assert (found["from"]["provider"], found["from"]["force_path_style"]) == ("Other", "true")
    assert (found["from"]["access_key_id"], found["from"]["secret_access_key"]) == ("a-key", "a-secret")
    assert (found["to"]["provider"], found["to"]["region"], found["to"]["env_auth"]) == ("AWS", "eu-west-1", "true")
    assert "endpoint" not in found["to"]


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("AccountName=me;AccountKey=QUJD==", {"account": "me", "key": "QUJD=="}),
        (
            "BlobEndpoint=http://192.0.2.1:10000/me;AccountName=me;AccountKey=QUJD==",
            {"account": "me", "key": "QUJD==", "endpoint": "http://192.0.2.1:10000/me"},
        ),
        (
            "BlobEndpoint=https://me.blob.core.windows.net/;SharedAccessSignature=?sv=1&sig=x%3D",
            {"sas_url": "https://me.blob.core.windows.net/?sv=1&sig=x%3D"},
        ),
        ("AccountName=me;SharedAccessSignature=sv=1", {"sas_url": "https://me.blob.core.windows.net/?sv=1"}),
    ],
)
def test_rclone_is_told_what_a_connection_string_says(string, expected):
    known = {**ALL, "azure_blob": {**AZURE, "connection_string": string}}
    text = places.rclone_conf("share", "azure_blob", known, "/run/x")
    told = dict(line.split(" = ", 1) for line in text.split("[to]\n")[1].splitlines())
    assert told == {"type": "azureblob", **expected}


def test_a_connection_string_without_a_key_is_refused_without_showing_it():
    with pytest.raises(PlaceError, match="neither AccountName with AccountKey") as refused:
        places.rclone_conf("share", "x", {**ALL, "x": {**AZURE, "connection_string": "AccountKey=QUJD"}}, "/run/x")
    assert "QUJD" not in str(refused.value)


def test_no_value_brings_lines_of_its_own_into_the_configuration():
    with pytest.raises(PlaceError, match=r"a value of migrate_uploads_places\.s3 has a line break"):
        places.rclone_conf("share", "s3", {**ALL, "s3": {**MINIO, "secret_key": "a\n[to]"}}, "/run/x")


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"failed": False, "changed": True}, []),
        ({"changed": True}, []),
        (None, ["lb1 did not get to it"]),
        ({"skipped": True}, ["lb1 did not get to it"]),
        ({"unreachable": True, "msg": "no route"}, ["lb1 could not be reached"]),
        ({"failed": True, "msg": "the balancer cannot be asked"}, ["lb1: the balancer cannot be asked"]),
    ],
)
def test_what_went_wrong_on_a_host_is_said(result, said):
    assert places.faults({"lb1": result}) == said


ENDS = places.pair("old_server", "share", ALL)
FINE = {"old": {"elsewhere": []}, "new": {"elsewhere": [], "unable": []}, "upload_servers": ["legacy1"]}


def test_nothing_is_in_the_way_of_a_platform_that_is_ready():
    assert places.in_the_way(ENDS, ["upload_servers"], FINE, False) == []


@pytest.mark.parametrize(
    ("ends", "routes", "seen", "said"),
    [
        (ENDS, ["application"], {**FINE, "upload_servers": []}, "no load_balancer_upload_servers"),
        (ENDS, ["upload_servers"], {**FINE, "new": {"unable": ["a has no configuration"]}}, "a has no configuration"),
        (
            ENDS,
            ["upload_servers"],
            {**FINE, "old": {"elsewhere": ["legacy1 uses local /x"]}},
            "legacy1 uses local /x, not old_server",
        ),
        (places.pair("share", "s3", ALL), ["upload_servers"], FINE, "still send uploads to the old server"),
    ],
)
def test_what_is_in_the_way_is_said(ends, routes, seen, said):
    (fault,) = places.in_the_way(ends, routes, seen, False)
    assert said in fault


def test_who_has_been_told_of_the_new_place_by_a_run_that_was_broken_off_is_on_its_way():
    seen = {**FINE, "old": {"elsewhere": ["app1-3001 uses s3 https://192.0.2.41:9000/uploads"]}}
    assert places.in_the_way(places.pair("share", "s3", ALL), ["application"], seen, False) == []


def test_after_the_switch_nobody_uses_the_old_place_any_more():
    seen = {**FINE, "old": {"elsewhere": ["app1-3001 uses local /somewhere"]}}
    assert places.in_the_way(ENDS, ["application"], seen, True) == []
