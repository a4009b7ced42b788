from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from ansible_collections.escala.ha.plugins.module_utils._http import Response
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_objects import Objects, storage_from
from ansible_collections.escala.ha.plugins.module_utils._shared_storage_round import StorageError
from tests.unit.plugins.module_utils.shared_storage import meet

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
S3 = {
    "backend": "s3",
    "endpoint": "https://192.0.2.41:9000",
    "region": "us-east-1",
    "bucket": "uploads",
    "access_key": "app",
    "secret_key": "secret",
    "connection_string": None,
    "expected_owner": "",
}
AZURE = {
    **S3,
    "backend": "azure_blob",
    "connection_string": "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net",
}


class Cloud:
    """A bucket in memory that keeps versions, in place of what sends requests."""

    def __init__(self, ahead_seconds=0, refuse=None):
        self.objects = {}
        self.versions = {}
        self.count = 0
        self.date = format_datetime(NOW - timedelta(seconds=ahead_seconds), usegmt=True)
        self.refuse = refuse or (lambda _question: None)
        self.cluster = 200
        self.public = False
        self.questions = []

    def answer(self, status=200, body=b"", **headers):
        return Response(status, {"date": self.date, **headers}, body)

    def error(self, status, code):
        return self.answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def __call__(self, question):
        self.questions.append(question)
        refused = self.refuse(question)
        if refused:
            return self.error(*refused)
        name = question.path.removeprefix("/uploads").lstrip("/")
        return getattr(self, question.method.lower())(name, question)

    def get(self, name, question):
        if not name and question.query == {"versioning": ""}:
            return self.answer(body=b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
        if not name:
            tag = "Name" if question.query.get("comp") == "list" else "Key"
            found = [key for key in self.objects if key.startswith(question.query.get("prefix", ""))]
            return self.answer(body="".join(f"<{tag}>{key}</{tag}>" for key in found).encode())
        return self.answer(body=self.objects[name]) if name in self.objects else self.error(404, "NoSuchKey")

    def put(self, name, question):
        self.count += 1
        self.objects[name] = question.body
        self.versions[str(self.count)] = name
        return self.answer(**{"x-amz-version-id": str(self.count)})

    def delete(self, name, question):
        version = question.query.get("versionId")
        if version:
            self.versions.pop(version)
        return self.answer(204) if self.objects.pop(name, None) is not None else self.error(404, "NoSuchKey")

    def unsigned(self, question):
        if question.path == "/minio/health/cluster":
            return self.answer(self.cluster)
        return self(question) if self.public else self.error(403, "AccessDenied")

    def away(self, error):
        return f"it is away: {error}"


def objects(cloud, options=S3, run="run-1", **changes):
    return Objects(storage_from({**options, **changes}), cloud, run, lambda: NOW)


@pytest.mark.parametrize("options", [S3, AZURE])
def test_hosts_of_one_bucket_go_through_all_of_it_and_leave_no_object_and_no_version(options):
    cloud = Cloud()
    clients = [objects(cloud, options) for _host in range(2)]
    for number, client in enumerate(clients):
        client.host, client.pause_seconds = f"app{number}", 0.001
    seen = meet(clients, 20)
    assert [one["done"] for one in seen.values()] == [["write", "meet", "appear", "delete"]] * 2
    assert cloud.objects == {}
    if options is S3:
        assert cloud.versions == {}


def test_everything_is_below_the_folder_that_a_rule_of_the_bucket_clears():
    cloud = Cloud()
    objects(cloud).put("app1.token", b"x")
    assert list(cloud.objects) == [".probe/escala-check/run-1/app1.token"]


def test_another_run_s_objects_are_not_seen():
    cloud = Cloud()
    objects(cloud, run="run-2").put("app1.token", b"x")
    assert objects(cloud).names() == set()


def test_an_empty_object_says_that_it_has_no_length():
    cloud = Cloud()
    objects(cloud).put("app1.saw", b"")
    assert cloud.questions[-1].headers["content-length"] == "0"


def test_the_bucket_is_looked_at_with_what_a_minio_says_of_itself():
    cloud = Cloud()
    assert objects(cloud).look() == {"where": S3["endpoint"], "healthy": True, "versioning": "Enabled"}
    for status, healthy in ((503, False), (404, None)):
        cloud.cluster = status
        assert objects(cloud).look()["healthy"] is healthy


def test_aws_and_azure_are_not_asked_for_a_minio_s_health():
    for options in ({**S3, "endpoint": ""}, AZURE):
        cloud = Cloud()
        cloud.cluster = 503
        assert objects(cloud, options).look()["healthy"] is None


def test_versioning_that_the_key_may_not_see_is_unknown():
    cloud = Cloud(refuse=lambda question: (403, "AccessDenied") if "versioning" in question.query else None)
    assert objects(cloud).look()["versioning"] is None


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (404, "NoSuchBucket", "bucket", "has no bucket uploads"),
        (403, "InvalidAccessKeyId", "refused", "does not know the key"),
        (403, "SignatureDoesNotMatch", "refused", "is not its secret"),
        (403, "AccessDenied", "refused", "somebody else"),
        (403, "RequestTimeTooSkewed", "clock", "this host's clock is"),
        (507, "XMinioStorageFull", "refused", "is full"),
    ],
)
def test_a_bucket_that_does_not_open_says_why(status, code, kind, words):
    with pytest.raises(StorageError) as raised:
        objects(Cloud(refuse=lambda _question: (status, code))).look()
    assert raised.value.kind == kind
    assert words in str(raised.value)


@pytest.mark.parametrize(("ahead", "way"), [(1200, "1200 s ahead of"), (-1200, "1200 s behind")])
def test_a_refusal_by_a_clock_that_is_far_off_is_the_clock_s(ahead, way):
    cloud = Cloud(ahead, refuse=lambda _question: (403, "AuthenticationFailed"))
    store = objects(cloud, AZURE)
    with pytest.raises(StorageError, match=way) as raised:
        store.look()
    assert (raised.value.kind, store.clock_ahead_seconds) == ("clock", ahead)


def test_a_bucket_of_another_account_than_expected_is_foreign():
    def refuse(question):
        return (403, "AccessDenied") if "x-amz-expected-bucket-owner" in question.headers else None

    with pytest.raises(StorageError, match="belongs to another account than 111122223333"):
        objects(Cloud(refuse=refuse), expected_owner="111122223333").look()


@pytest.mark.parametrize("options", [S3, AZURE])
def test_a_bucket_that_is_open_to_everybody_is_found_by_reading_without_a_key(options):
    cloud = Cloud()
    store = objects(cloud, options)
    store.put("app1.token", b"x")
    assert store.get("app1.token") == b"x"
    cloud.public = True
    with pytest.raises(StorageError, match="to whoever asks without a key"):
        store.get("app1.token")


def test_a_storage_that_is_away_is_told():
    def fail(_question):
        raise ssl.SSLError(1, "no")

    with pytest.raises(StorageError, match="it is away"):
        objects(Cloud(refuse=fail)).names()


def test_a_key_that_may_not_delete_a_version_deletes_the_object():
    cloud = Cloud(refuse=lambda question: (403, "AccessDenied") if "versionId" in question.query else None)
    store = objects(cloud)
    store.put("app1.token", b"x")
    store.remove("app1.token")
    assert cloud.objects == {}
    assert list(cloud.versions) == ["1"]


def test_an_object_that_has_gone_by_itself_is_deleted_well_and_one_never_stored_is_not_asked_for():
    cloud = Cloud()
    store = objects(cloud)
    store.put("app1.token", b"x")
    cloud.objects.clear()
    store.remove("app1.token")
    asked = len(cloud.questions)
    store.remove("app1.token")
    assert len(cloud.questions) == asked


def test_a_delete_that_is_refused_is_told():
    store = objects(Cloud(refuse=lambda question: (403, "AccessDenied") if question.method == "DELETE" else None))
    store.put("app1.token", b"x")
    with pytest.raises(StorageError, match="may not delete|delete"):
        store.remove("app1.token")


@pytest.mark.parametrize("change", [{"bucket": "X"}, {"secret_key": None}, {"access_key": ""}])
def test_options_that_name_no_storage_are_refused(change):
    with pytest.raises(ValueError, match=re.escape("object_storage_")):
        storage_from({**S3, **change})
