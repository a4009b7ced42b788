import base64
import ssl
from datetime import UTC, datetime

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest

from ansible_collections.escala.ha.plugins.module_utils._http import Response
from ansible_collections.escala.ha.plugins.module_utils._object_storage import (
    S3,
    Asker,
    Azure,
    Question,
    connection_string,
)

MOMENT = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)
KEY = base64.b64encode(b"a key").decode()
STRING = f"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={KEY};EndpointSuffix=core.windows.net"


def bucket(**other):
    given = {
        "endpoint": "https://s3.example.com:9000",
        "region": "eu-west-1",
        "bucket": "uploads",
        "access_key": "AKIAEXAMPLE",
        "access_key_secret": "very secret",
        "session_token": "",
        "key_of": "application",
        "expected_owner": "",
    }
    return S3({**given, **other})


def container(string=STRING, name="uploads"):
    return Azure({"connection_string": string, "bucket": name})


def refusal(status, code="", message="", headers=None):
    return Response(
        status,
        headers or {},
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode() if code else b"<html>",
    )


@pytest.mark.parametrize("session", ["", "a session"])
@pytest.mark.parametrize(
    "question",
    [
        Question("GET", "/uploads", {"list-type": "2", "max-keys": "1"}),
        Question("PUT", "/uploads/.probe/a%20b~c", {}, {"x-amz-expected-bucket-owner": "123456789012"}, b"body"),
        Question("DELETE", "/uploads/x", {"versionId": "a+b/c="}),
    ],
)
def test_a_request_is_signed_as_by_aws_s_own_library(question, session, monkeypatch):
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: MOMENT.replace(tzinfo=None))
    signed = bucket(session_token=session).signed(question, "s3.example.com:9000", MOMENT)
    theirs = botocore.awsrequest.AWSRequest(
        question.method, f"https://s3.example.com:9000{question.target}", dict(question.headers), question.body
    )
    credentials = botocore.credentials.Credentials("AKIAEXAMPLE", "very secret", session or None)
    botocore.auth.S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(theirs)
    assert signed.headers["authorization"] == theirs.headers["Authorization"]


def test_without_an_endpoint_it_is_aws_in_the_region():
    assert bucket(endpoint="").where == "https://s3.eu-west-1.amazonaws.com"


def test_what_writes_or_looks_says_who_must_own_the_bucket():
    ours = bucket(expected_owner="123456789012")
    for question in (ours.look(), ours.write("x", b"")):
        assert question.headers == {"x-amz-expected-bucket-owner": "123456789012"}
    assert ours.look(by_owner=False).headers == {}


def test_where_versions_are_kept_the_written_one_is_removed():
    assert bucket().remove("x", Response(200, {"x-amz-version-id": "v1"}, b"")).query == {"versionId": "v1"}
    assert bucket().remove("x", Response(200, {}, b"")).query == {}


@pytest.mark.parametrize(
    ("doing", "answer", "words"),
    [
        ("look into", refusal(404, "NoSuchBucket"), "has no bucket uploads (object_storage_bucket); make it"),
        ("look into", refusal(403, "InvalidAccessKeyId"), "does not know the key AKIA... (object_storage_access_key)"),
        ("look into", refusal(403, "SignatureDoesNotMatch"), "object_storage_secret_key is not its secret"),
        ("look into", refusal(400, "ExpiredToken"), "object_storage_admin_session_token"),
        ("look into", refusal(403, "AccessDenied"), "belongs to somebody else"),
        ("write", refusal(403, "AccessDenied"), "may not write an object in uploads"),
        (
            "look into",
            refusal(301, "PermanentRedirect", headers={"x-amz-bucket-region": "sa-east-1"}),
            "is in sa-east-1; correct",
        ),
        (
            "look into",
            Response(400, {}, b"<Code>AuthorizationHeaderMalformed</Code><Region>us-east-1</Region>"),
            "is in us-east-1; correct",
        ),
        ("look into", refusal(301, "PermanentRedirect"), "is in another one; correct"),
        ("look into", refusal(403, "RequestTimeTooSkewed"), "more than 15 minutes off"),
        ("write", refusal(507, "XMinioStorageFull"), "is full (XMinioStorageFull)"),
        ("write", refusal(503, "SlowDown"), "overloaded or not all there (503 SlowDown)"),
        ("look into", refusal(404), "answered 404 in words that are not an object storage's"),
        ("look into", refusal(400, "Strange", "so it is"), "answered 400 Strange: so it is"),
    ],
)
def test_what_s3_refuses_is_said_in_plain_words_without_a_secret(doing, answer, words):
    said = bucket().fault(doing, answer)
    assert words in said
    assert "very secret" not in said


def test_an_administrator_s_key_is_named_as_that():
    said = bucket(key_of="administrator").fault("look into", refusal(403, "SignatureDoesNotMatch"))
    assert "object_storage_admin_secret_key is not its secret" in said


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [(403, "AccessDenied", True), (403, "", True), (403, "InvalidAccessKeyId", False), (404, "NoSuchBucket", False)],
)
def test_only_a_plain_refusal_may_be_for_the_owner(status, answer, expected):
    assert bucket(expected_owner="123456789012").owned_by_others(refusal(status, answer)) is expected
    assert bucket().owned_by_others(refusal(status, answer)) is False


@pytest.mark.parametrize("name", ["", "ab", "Uploads", "a/b", "-ab", "a" * 64, "up_loads"])
def test_a_name_that_no_bucket_may_have_is_refused(name):
    for make in (lambda: bucket(bucket=name), lambda: container(name=name)):
        with pytest.raises(ValueError, match="object_storage_bucket is "):
            make()


@pytest.mark.parametrize(
    ("part", "named"), [("access_key", "object_storage_access_key"), ("access_key_secret", "object_storage_secret_key")]
)
def test_a_key_that_is_not_given_is_named(part, named):
    with pytest.raises(ValueError, match=f"{named} is empty; give the key"):
        bucket(**{part: ""})


def test_a_connection_string_leads_to_the_account_s_address_or_to_the_one_it_has():
    assert container().where == "https://acme.blob.core.windows.net"
    assert container(f"{STRING};BlobEndpoint=https://127.0.0.1:10000/acme/").where == "https://127.0.0.1:10000/acme"


def test_a_request_to_azure_is_signed_with_the_account_s_key():
    # The text to sign as Azure's documentation has it for 2021-08-06, and its signature by openssl dgst -sha256 -mac hmac.
    signed = container().signed(container().write("a b", b"body"), "acme.blob.core.windows.net", MOMENT)
    assert signed.path == "/uploads/a%20b"
    assert signed.headers["authorization"] == "SharedKey acme:VAT1CTb2l1iMiA4+Hr/990ya2AfENUFndhahH9WH5xc="


def test_a_shared_access_signature_goes_with_the_request_instead():
    string = "BlobEndpoint=https://acme.blob.core.windows.net;SharedAccessSignature=sv=2021-08-06&sig=a%2Bb%3D"
    signed = container(string).signed(container(string).look(), "acme.blob.core.windows.net", MOMENT)
    assert signed.target == "/uploads?comp=list&maxresults=1&restype=container&sig=a%2Bb%3D&sv=2021-08-06"
    assert "authorization" not in signed.headers


@pytest.mark.parametrize(
    ("string", "words"),
    [
        ("", "is empty"),
        ("nonsense", "has the parts"),
        ("AccountName=acme", "has the parts AccountName"),
        (f"AccountKey={KEY}", "AccountKey"),
    ],
)
def test_a_connection_string_that_leads_nowhere_is_refused_without_being_shown(string, words):
    with pytest.raises(ValueError, match=words) as refused:
        connection_string(string)
    assert KEY not in str(refused.value)


def test_a_key_that_is_not_in_base_64_is_refused_without_being_shown():
    with pytest.raises(ValueError, match="not in base 64") as refused:
        container("AccountName=acme;AccountKey=no*key")
    assert "no*key" not in str(refused.value)


@pytest.mark.parametrize(
    ("doing", "status", "code", "words"),
    [
        ("look into", 404, "ContainerNotFound", "has no container uploads (object_storage_bucket); make it"),
        ("look into", 403, "AuthenticationFailed", "does not accept the key in object_storage_azure_connection_string"),
        ("write", 403, "AuthorizationPermissionMismatch", "write an object in the container uploads"),
        ("look into", 403, "AuthorizationFailure", "firewall"),
        (
            "look into",
            403,
            "AccountIsDisabled",
            "refuses the container uploads (object_storage_bucket): AccountIsDisabled",
        ),
        ("write", 503, "ServerBusy", "overloaded or not all there"),
        ("look into", 400, "Strange", "answered 400 Strange"),
    ],
)
def test_what_azure_refuses_is_said_in_plain_words_without_a_secret(doing, status, code, words):
    said = container().fault(doing, Response(status, {"x-ms-error-code": code}, b""))
    assert words in said
    assert KEY not in said


def test_only_an_encrypted_way_is_taken():
    with pytest.raises(
        ValueError, match="object_storage_endpoint leads to http://s3.example.com, which is no address of https"
    ):
        Asker(bucket(endpoint="http://s3.example.com"), "", 1, lambda: MOMENT)


def test_a_certificate_s_fault_names_the_file_to_give():
    error = ssl.SSLCertVerificationError()
    error.verify_message = "self-signed certificate"
    said = Asker(bucket(), "", 1, lambda: MOMENT).away(error)
    assert "not trusted: self-signed certificate; object_storage_ca_file is not set" in said
    assert "certify the name s3.example.com" in said


def test_another_fault_of_tls_is_told_apart_from_it():
    assert "does not speak TLS as it should" in Asker(bucket(), "", 1, lambda: MOMENT).away(ssl.SSLError(1, "x"))
