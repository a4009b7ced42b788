"""The shells of object_storage_check and azure_blob_container."""

import base64
import socket

import pytest

KEY = base64.b64encode(b"very secret").decode()


@pytest.fixture
def nowhere():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"https://127.0.0.1:{port}"


@pytest.fixture
def check(nowhere):
    return {
        "provider": "minio",
        "endpoint": nowhere,
        "bucket": "uploads",
        "access_key": "acme",
        "access_key_secret": "very secret",
        "timeout_seconds": 0,
        "request_timeout_seconds": 1,
    }


def test_a_storage_that_is_away_fails_the_task_with_the_reason(run_module, check):
    result = run_module("object_storage_check", check)
    assert result["failed"] is True
    assert "(object_storage_endpoint) cannot be reached from this host (connection refused)" in result["msg"]


def test_a_verdict_can_be_gathered_without_failing_the_task(run_module, check):
    result = run_module("object_storage_check", {**check, "fail": False})
    assert (result.get("failed", False), result["passed"], result["changed"]) == (False, False, False)


def test_options_that_name_no_storage_are_a_verdict_as_well(run_module, check):
    result = run_module("object_storage_check", {**check, "bucket": "X", "fail": False})
    assert (result.get("failed", False), result["passed"]) == (False, False)
    assert result["verdicts"][0]["reason"].startswith("object_storage_bucket is 'X'")


def test_neither_module_repeats_a_secret(run_module, check, nowhere):
    container = {
        "connection_string": f"AccountName=acme;AccountKey={KEY};BlobEndpoint={nowhere}/acme",
        "container": "uploads",
    }
    for name, options in (("object_storage_check", check), ("azure_blob_container", container)):
        shown = str(run_module(name, options))
        assert "very secret" not in shown
        assert KEY not in shown


@pytest.mark.parametrize(
    ("string", "words"),
    [
        ("AccountName=acme", "has the parts AccountName: it takes"),
        (f"AccountName=acme;AccountKey={KEY};BlobEndpoint=http://127.0.0.1/acme", "is no address of https"),
        (
            f"AccountName=acme;AccountKey={KEY};BlobEndpoint=https://127.0.0.1:9/acme",
            "cannot be reached from this host",
        ),
    ],
)
def test_a_container_that_cannot_be_reached_fails_the_task_with_the_reason(run_module, string, words):
    result = run_module("azure_blob_container", {"connection_string": string, "container": "uploads"})
    assert result["failed"] is True
    assert words in result["msg"]
