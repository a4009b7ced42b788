import pytest

from ansible_collections.escala.ha.plugins.filter import (
    uploads_faults,
    uploads_in_the_way,
    uploads_pair,
    uploads_rclone_conf,
    uploads_servers,
)

PLACES = {"share": {"type": "share", "path": "/srv/uploads"}, "s3": {"type": "s3", "bucket": "uploads"}}


def filter_of(plugin):
    ((name, function),) = plugin.FilterModule().filters().items()
    assert plugin.__name__.endswith(f".{name}")
    return function


def test_both_ends_are_found_by_their_names():
    ends = filter_of(uploads_pair)("share", "s3", PLACES)
    assert (ends["from"]["location"], ends["to"]["location"]) == ("/srv/uploads", "s3://uploads")


def test_a_place_that_is_none_is_refused():
    with pytest.raises(ValueError, match="migrate_uploads_to is 'nowhere'"):
        filter_of(uploads_pair)("share", "nowhere", PLACES)


def test_rclone_is_told_of_both():
    text = filter_of(uploads_rclone_conf)("share", "s3", PLACES, "/run/x")
    assert "[from]\n" in text
    assert "[to]\n" in text


def test_instances_are_asked_at_their_own_addresses():
    found = filter_of(uploads_servers)([{"name": "app1-3001", "address": "192.0.2.21", "port": 3001}])
    assert found == {"app1-3001": "http://192.0.2.21:3001"}


def test_only_the_hosts_that_failed_are_named():
    hostvars = {"lb1": {"done": {"failed": True, "msg": "no"}}, "lb2": {"done": {"changed": True}}, "lb3": {}}
    assert filter_of(uploads_faults)(["lb1", "lb2", "lb3"], hostvars, "done") == ["lb1: no", "lb3 did not get to it"]


def test_what_is_in_the_way_is_a_list_of_sentences():
    ends = filter_of(uploads_pair)("share", "s3", PLACES)
    seen = {"old": {"elsewhere": []}, "new": {"elsewhere": [], "unable": ["x has none"]}, "upload_servers": []}
    assert filter_of(uploads_in_the_way)(ends, ["application"], seen, False) == ["x has none"]
