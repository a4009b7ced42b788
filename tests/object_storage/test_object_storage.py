"""A bucket and a container from nothing, and again; then everything that may be wrong with them, in one run with a host for each fault."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.escala.ha.plugins.module_utils._http import Response
from ansible_collections.escala.ha.plugins.module_utils._object_storage import Asker, Azure, Question
from tests.lab.certificates import Authority
from tests.object_storage.runs import Run, play
from tests.object_storage.servers import Aws, Azurite

USER = "escala-app"
_LISTING = Question("GET", "/uploads/uploads", {"restype": "container", "comp": "list"})
_OPEN = {"x-ms-blob-public-access": "container", "content-type": "application/xml"}
_STORED_POLICY = (
    b'<?xml version="1.0" encoding="utf-8"?><SignedIdentifiers><SignedIdentifier><Id>of-somebody-else</Id><AccessPolicy>'
    b"<Start>2026-01-01T00:00:00Z</Start><Expiry>2036-01-01T00:00:00Z</Expiry><Permission>r</Permission>"
    b"</AccessPolicy></SignedIdentifier></SignedIdentifiers>"
)


def of_aws(aws: Aws, **other: Any) -> dict[str, Any]:
    return {
        "object_storage_provider": "s3",
        "object_storage_bucket": "uploads",
        "object_storage_endpoint": aws.endpoint,
        "object_storage_ca_file": str(aws.ca_file),
        "object_storage_admin_access_key": aws.access_key,
        "object_storage_admin_secret_key": aws.secret_key,
        "object_storage_expected_owner": aws.account,
        "object_storage_timeout_seconds": 0,
        **other,
    }


def of_azure(azurite: Azurite, authority: Authority, **other: Any) -> dict[str, Any]:
    return {
        "object_storage_provider": "azure_blob",
        "object_storage_bucket": "uploads",
        "object_storage_ca_file": str(authority.ca_file),
        "object_storage_azure_connection_string": azurite.connection_string(),
        "object_storage_timeout_seconds": 0,
        **other,
    }


@pytest.fixture(scope="module")
def before(folder: Path, aws: Aws, azurite: Azurite, authority: Authority) -> Run:
    """Check mode where there is nothing."""
    hosts = {"aws": of_aws(aws, object_storage_iam_user=USER), "azure": of_azure(azurite, authority)}
    return play(folder, hosts, "--check", "--diff", iam=aws.endpoint)


@pytest.fixture(scope="module")
def buckets_after_check(before: Run, aws: Aws) -> list[str]:
    return [bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]]


@pytest.fixture(scope="module")
def first(buckets_after_check: list[str], folder: Path, aws: Aws, azurite: Azurite, authority: Authority) -> Run:
    """The first run, which makes the application's user; that one has no key yet."""
    hosts = {"aws": of_aws(aws, object_storage_iam_user=USER), "azure": of_azure(azurite, authority)}
    return play(folder, hosts, iam=aws.endpoint)


@pytest.fixture(scope="module")
def key(first: Run, aws: Aws) -> dict[str, str]:
    """The key that an operator makes as the first run told."""
    made = aws.client("iam").create_access_key(UserName=USER)["AccessKey"]
    return {"object_storage_access_key": made["AccessKeyId"], "object_storage_secret_key": made["SecretAccessKey"]}


@pytest.fixture(scope="module")
def again(first: Run, key: dict[str, str], folder: Path, aws: Aws, azurite: Azurite, authority: Authority) -> Run:
    """A second run, with that key and by Ansible's own strategy, which tells all that it can."""
    hosts = {"aws": of_aws(aws, object_storage_iam_user=USER, **key), "azure": of_azure(azurite, authority)}
    return play(folder, hosts, "-vvv", "--diff", iam=aws.endpoint, strategy="ansible.builtin.linear")


def test_check_mode_before_the_first_run_says_what_would_be_made_and_makes_nothing(
    before: Run, buckets_after_check: list[str]
) -> None:
    assert before.failed == {"aws": 0, "azure": 0}
    assert before.changed == {"aws": 2, "azure": 1}
    assert "The bucket uploads would be made" in before.text
    assert buckets_after_check == []


def test_the_first_run_makes_a_private_container_and_a_bucket_whose_user_lacks_a_key(first: Run) -> None:
    assert first.failed == {"aws": 1, "azure": 0}
    assert first.changed == {"aws": 4, "azure": 1}
    assert f"run aws iam create-access-key --user-name {USER}" in first.said("aws")


def test_the_second_run_changes_nothing_and_uses_the_bucket_by_the_application_s_own_rights(again: Run) -> None:
    assert again.failed == {"aws": 0, "azure": 0}, again.text
    assert again.changed == {"aws": 0, "azure": 0}


def test_no_run_shows_a_secret(again: Run, key: dict[str, str], aws: Aws, azurite: Azurite) -> None:
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in again.text
    for secret in (key["object_storage_secret_key"], aws.secret_key, azurite.key):
        assert secret not in again.text


def test_the_bucket_keeps_versions_encrypts_and_is_closed_to_the_public(again: Run, aws: Aws) -> None:
    s3 = aws.client("s3")
    assert s3.get_bucket_versioning(Bucket="uploads")["Status"] == "Enabled"
    encryption = s3.get_bucket_encryption(Bucket="uploads")["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert encryption["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    closed = s3.get_public_access_block(Bucket="uploads")["PublicAccessBlockConfiguration"]
    assert len(closed) == 4
    assert all(closed.values())
    policy = json.loads(s3.get_bucket_policy(Bucket="uploads")["Policy"])["Statement"]
    assert [(rule["Effect"], rule["Condition"]) for rule in policy] == [
        ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    ]


def test_the_life_cycle_clears_unfinished_uploads_old_versions_and_what_checks_left(again: Run, aws: Aws) -> None:
    rules = {
        rule["ID"]: rule for rule in aws.client("s3").get_bucket_lifecycle_configuration(Bucket="uploads")["Rules"]
    }
    assert set(rules) == {"escala-uploads", "escala-probe"}
    assert rules["escala-uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert rules["escala-uploads"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert rules["escala-probe"]["Expiration"]["Days"] == 1
    assert rules["escala-probe"]["Filter"]["Prefix"] == ".probe/"


def test_a_check_leaves_no_version_behind(again: Run, aws: Aws) -> None:
    left = aws.client("s3").list_object_versions(Bucket="uploads")
    assert not left.get("Versions", [])
    assert not left.get("DeleteMarkers", [])


def test_the_application_s_user_may_not_change_the_bucket(key: dict[str, str], aws: Aws) -> None:
    own = Aws(
        aws.endpoint, key["object_storage_access_key"], key["object_storage_secret_key"], aws.account, aws.ca_file
    )
    client = own.client("s3")
    for refused in ("delete_bucket", "delete_bucket_policy", "put_bucket_versioning"):
        parameters = {"VersioningConfiguration": {"Status": "Suspended"}} if refused == "put_bucket_versioning" else {}
        with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
            getattr(client, refused)(Bucket="uploads", **parameters)


@pytest.fixture(scope="module")
def nowhere() -> Iterator[str]:
    """An address where nobody listens, as long as this lasts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"https://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def faults(
    again: Run, folder: Path, key: dict[str, str], aws: Aws, azurite: Azurite, authority: Authority, nowhere: str
) -> Run:
    """Every fault in one run."""
    given = {"object_storage_manage": False}
    wrong = Authority(folder / "another", "Another authority").ca_file
    other_key = "b3RoZXIga2V5"
    hosts = {
        "missing_bucket": of_aws(aws, **given, object_storage_bucket="nowhere-to-be-found"),
        "no_right": of_aws(aws, **given, **key, object_storage_bucket="nowhere-to-be-found"),
        "unknown_key": of_aws(
            aws, **given, object_storage_access_key="AKIAUNKNOWN000000000", object_storage_secret_key="x"
        ),
        "wrong_secret": of_aws(aws, **given, **key | {"object_storage_secret_key": "wrong"}),
        "wrong_administrator": of_aws(aws, object_storage_admin_secret_key="wrong"),
        "foreign_bucket": of_aws(aws, object_storage_expected_owner="999999999999"),
        "no_owner": of_aws(aws, object_storage_expected_owner=""),
        "nobody_listens": of_aws(aws, **given, **key, object_storage_endpoint=nowhere),
        "plain": of_aws(aws, **given, **key, object_storage_endpoint=aws.endpoint.replace("https", "http")),
        "untrusted": of_aws(aws, **given, **key, object_storage_ca_file=str(wrong)),
        "no_ca_file": of_aws(aws, **given, **key, object_storage_ca_file=str(folder / "absent.pem")),
        "no_key": of_aws(aws, **given, object_storage_admin_access_key=""),
        "bad_name": of_aws(aws, object_storage_bucket="Uploads/x"),
        "minio_nowhere": of_aws(aws, object_storage_provider="minio", object_storage_endpoint=""),
        "azure_missing": of_azure(azurite, authority, **given, object_storage_bucket="nowhere-to-be-found"),
        "azure_key": of_azure(
            azurite, authority, object_storage_azure_connection_string=azurite.connection_string(AccountKey=other_key)
        ),
        "azure_string": of_azure(azurite, authority, object_storage_azure_connection_string="AccountName=uploads"),
        "azure_untrusted": of_azure(azurite, authority, object_storage_ca_file=str(wrong)),
    }
    return play(folder, hosts)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("missing_bucket", ["has no bucket nowhere-to-be-found (object_storage_bucket)", "object_storage_manage"]),
        (
            "no_right",
            [
                "may not look into the bucket nowhere-to-be-found (object_storage_bucket)",
                "no such bucket",
                "somebody else",
                "s3:ListBucket",
            ],
        ),
        ("unknown_key", ["does not know the key AKIA... (object_storage_access_key)", "object_storage_secret_key"]),
        ("wrong_secret", ["object_storage_secret_key is not its secret; correct it"]),
        ("wrong_administrator", ["object_storage_admin_secret_key is not its secret; correct it"]),
        (
            "foreign_bucket",
            [
                "uploads (object_storage_bucket) belongs to another account than 999999999999 (object_storage_expected_owner)"
            ],
        ),
        ("no_owner", ["Nothing was changed: object_storage_expected_owner is ''", "12 digits"]),
        (
            "nobody_listens",
            [
                "(object_storage_endpoint) cannot be reached from this host (connection refused)",
                "start what should listen",
            ],
        ),
        ("plain", ["object_storage_endpoint leads to http://127.0.0.1", "correct it"]),
        (
            "untrusted",
            ["shows a certificate that is not trusted", "object_storage_ca_file is", "give the file of the authority"],
        ),
        (
            "no_ca_file",
            ["object_storage_ca_file is", "absent.pem, which this host cannot take (No such file or directory)"],
        ),
        ("no_key", ["object_storage_access_key is empty; give the key"]),
        ("bad_name", ["object_storage_bucket is 'Uploads/x'", "3 to 63"]),
        ("minio_nowhere", ["object_storage_provider is minio, and object_storage_endpoint is empty"]),
        ("azure_missing", ["has no container nowhere-to-be-found (object_storage_bucket)"]),
        ("azure_key", ["does not let the key in object_storage_azure_connection_string", "copy the string again"]),
        ("azure_string", ["object_storage_azure_connection_string has the parts AccountName: it takes"]),
        ("azure_untrusted", ["shows a certificate that is not trusted", "object_storage_ca_file is"]),
    ],
)
def test_a_fault_is_refused_in_plain_words(faults: Run, host: str, words: list[str]) -> None:
    said = faults.said(host)
    assert [word for word in words if word not in said] == [], said
    assert faults.changed[host] == 0


def test_no_fault_shows_a_secret(faults: Run, key: dict[str, str], aws: Aws, azurite: Azurite) -> None:
    for secret in (key["object_storage_secret_key"], aws.secret_key, azurite.key, "b3RoZXIga2V5"):
        assert secret not in faults.text


def test_clocks_too_far_apart_are_refused_with_how_far(again: Run, folder: Path, aws: Aws, key: dict[str, str]) -> None:
    hosts = {
        "given": of_aws(aws, **key, object_storage_manage=False),
        "made": of_aws(aws, **key),
    }
    with aws.clock_off(3600):
        run = play(folder, hosts)
    for host in hosts:
        assert "the clock of this host is 3" in run.said(host)
        assert "s behind that of" in run.said(host)
    assert run.changed == {"given": 0, "made": 0}


def test_a_container_that_is_open_to_everybody_is_refused_when_given_and_closed_when_managed(
    again: Run, folder: Path, azurite: Azurite, authority: Authority
) -> None:
    variables = of_azure(azurite, authority)
    container = Azure({"connection_string": azurite.connection_string(), "bucket": "uploads"})
    ask = Asker(container, str(authority.ca_file), 5, lambda: datetime.now(UTC))
    opened = ask(container.close(Response(200, {}, _STORED_POLICY))._replace(headers=_OPEN))
    assert opened.good, opened
    assert ask.unsigned(_LISTING).good
    given = play(folder, {"given": variables | {"object_storage_manage": False}})
    assert "gives an object to whoever asks without a key" in given.said("given")
    managed = play(folder, {"managed": variables})
    assert (managed.changed, managed.failed) == ({"managed": 1}, {"managed": 0})
    assert not ask.unsigned(_LISTING).good
    assert b"<Id>of-somebody-else</Id>" in ask(container.rules()).body


def test_check_mode_says_what_would_be_changed_at_a_bucket_that_is_there(again: Run, folder: Path, aws: Aws) -> None:
    s3 = aws.client("s3")
    rules = s3.get_bucket_lifecycle_configuration(Bucket="uploads")["Rules"]
    s3.delete_bucket_lifecycle(Bucket="uploads")
    s3.put_bucket_versioning(Bucket="uploads", VersioningConfiguration={"Status": "Suspended"})
    changed = play(folder, {"changed": of_aws(aws)}, "--check")
    s3.put_bucket_lifecycle_configuration(Bucket="uploads", LifecycleConfiguration={"Rules": rules})
    s3.put_bucket_versioning(Bucket="uploads", VersioningConfiguration={"Status": "Enabled"})
    assert (changed.changed, changed.failed) == ({"changed": 1}, {"changed": 0})
    for words in ("versions are not kept, and would be", "escala-uploads of the life cycle is missing", "escala-probe"):
        assert words in changed.text
    restored = play(folder, {"restored": of_aws(aws)}, "--check")
    assert (restored.changed, restored.failed) == ({"restored": 0}, {"restored": 0})
