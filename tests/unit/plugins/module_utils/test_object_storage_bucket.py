import copy
import json

import pytest

from ansible_collections.escala.ha.plugins.module_utils._object_storage_bucket import bucket_changes

POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny"}]}
WANTED = {
    "versioning": True,
    "on_aws": True,
    "policy": POLICY,
    "rules": [
        {"rule_id": "uploads", "prefix": "", "abort_days": 1, "expire_days": 0, "noncurrent_days": 30},
        {"rule_id": "probe", "prefix": ".probe/", "abort_days": 0, "expire_days": 1, "noncurrent_days": 1},
    ],
}
NEW = {
    name: {}
    for name in (
        "bucket_versioning",
        "bucket_lifecycle_configuration",
        "bucket_encryption",
        "bucket_ownership_controls",
        "bucket_policy",
        "public_access_block",
    )
}
READY = {
    "bucket_versioning": {"Status": "Enabled"},
    "bucket_lifecycle_configuration": {
        "Rules": [
            {
                "ID": "uploads",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
                "Expiration": {"ExpiredObjectDeleteMarker": True},
                "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
            },
            {
                "ID": "probe",
                "Status": "Enabled",
                "Filter": {"Prefix": ".probe/"},
                "Expiration": {"Days": 1},
                "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            },
            {"ID": "somebody else's", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 9}},
        ]
    },
    "bucket_encryption": {
        "ServerSideEncryptionConfiguration": {
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        }
    },
    "bucket_ownership_controls": {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}},
    "bucket_policy": {"Policy": json.dumps(POLICY)},
    "public_access_block": {
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        }
    },
}


def test_a_bucket_that_is_as_it_should_be_changes_in_nothing():
    assert bucket_changes(READY, WANTED) == []


def test_a_bucket_with_nothing_set_changes_in_everything():
    assert len(bucket_changes(NEW, WANTED)) == 7


def test_what_is_not_aws_is_held_to_versions_and_the_life_cycle_alone():
    assert len(bucket_changes(NEW, {**WANTED, "on_aws": False})) == 3
    own = {
        name: READY[name] if name in ("bucket_versioning", "bucket_lifecycle_configuration") else {} for name in READY
    }
    assert bucket_changes(own, {**WANTED, "on_aws": False}) == []


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("bucket_versioning", {"Status": "Suspended"}, "versions are not kept, and would be"),
        ("bucket_policy", {"Policy": '{"Version": "2012-10-17", "Statement": []}'}, "its policy is another"),
        ("bucket_encryption", {"ServerSideEncryptionConfiguration": {"Rules": [{}]}}, "it is not encrypted"),
        (
            "bucket_ownership_controls",
            {"OwnershipControls": {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}},
            "objects may belong",
        ),
        (
            "public_access_block",
            {"PublicAccessBlockConfiguration": {"BlockPublicAcls": True}},
            "public access is not blocked",
        ),
    ],
)
def test_each_setting_is_seen_by_itself(name, value, sentence):
    [said] = bucket_changes({**READY, name: value}, WANTED)
    assert said.startswith(sentence)


def test_versions_that_are_no_longer_wanted_are_a_change():
    assert bucket_changes(READY, {**WANTED, "versioning": False}) == ["versions are kept, and would not be"]
    assert bucket_changes({**READY, "bucket_versioning": {}}, {**WANTED, "versioning": False}) == []


@pytest.mark.parametrize(
    "change",
    [
        {"Status": "Disabled"},
        {"Filter": {"Prefix": "x"}},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 31}},
        {"Expiration": {"Days": 1}},
    ],
)
def test_a_rule_that_is_another_is_told_from_one_that_is_missing(change):
    other = copy.deepcopy(READY)
    other["bucket_lifecycle_configuration"]["Rules"][0].update(change)
    assert bucket_changes(other, WANTED) == ["the rule uploads of the life cycle is another"]
    del other["bucket_lifecycle_configuration"]["Rules"][0]
    assert bucket_changes(other, WANTED) == ["the rule uploads of the life cycle is missing"]
