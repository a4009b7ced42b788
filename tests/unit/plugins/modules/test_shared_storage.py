"""The modules of the shared storage, with a real directory and with a bucket that nobody serves."""

import socket

import pytest


@pytest.fixture
def options(tmp_path):
    return {"backend": "directory", "path": str(tmp_path), "host": "app1", "run": "run-1", "timeout_seconds": 2}


@pytest.fixture
def nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    keys = {"access_key": "app", "secret_key": "a-secret-that-is-not-shown"}
    return {"backend": "s3", "endpoint": f"https://127.0.0.1:{port}", "bucket": "uploads", **keys}


def verdicts(result):
    return {one["name"].removeprefix("shared_storage_"): one["passed"] for one in result["verdicts"]}


def test_a_directory_of_one_host_is_checked_and_left_as_it_was(run_module, options, tmp_path):
    result = run_module("shared_storage_check", {**options, "fail": False, "minimum_free_percent": 0})
    # Where it is mounted is this machine's own matter.
    assert {**verdicts(result), "mounted": True} == dict.fromkeys(
        ("mounted", "space", "writes", "shared", "locks", "latency"), True
    )
    assert result["changed"] is False
    assert list(tmp_path.iterdir()) == []


def test_a_peer_that_does_not_come_fails_the_task_with_the_reason(run_module, options, tmp_path):
    result = run_module("shared_storage_check", {**options, "peers": ["app1", "app2"], "timeout_seconds": 0.2})
    assert result["failed"] is True
    assert "app2: nothing of it is seen here within 0.2 s" in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_in_check_mode_nothing_is_written(run_module, options, tmp_path):
    before = tmp_path.stat().st_mtime_ns
    result = run_module("shared_storage_check", {**options, "fail": False}, check_mode=True)
    assert list(verdicts(result)) == ["mounted", "space", "writes"]
    assert tmp_path.stat().st_mtime_ns == before


def test_a_user_that_is_not_there_is_told(run_module, options):
    result = run_module("shared_storage_check", {**options, "user": "nobody-of-this-name"})
    assert "this host has no user nobody-of-this-name" in result["msg"]


@pytest.mark.parametrize("change", [{"host": "../x"}, {"run": ""}, {"peers": ["a/b"]}, {"run": ".."}])
def test_a_name_that_cannot_be_a_file_s_is_refused(run_module, options, change):
    assert "cannot be part of a file's name" in run_module("shared_storage_check", {**options, **change})["msg"]


@pytest.mark.parametrize("absent", ["bucket", "access_key", "secret_key"])
def test_a_bucket_takes_its_name_and_keys(run_module, nobody_there, absent):
    del nobody_there[absent]
    assert absent in run_module("shared_storage_info", nobody_there)["msg"]


def test_a_bucket_that_is_away_is_judged_and_observed_without_its_secret(run_module, nobody_there):
    judged = run_module("shared_storage_check", {**nobody_there, "host": "app1", "run": "run-1", "fail": False})
    assert set(verdicts(judged).values()) == {False}
    seen = run_module("shared_storage_info", nobody_there)
    assert (seen["answers"], seen["kind"], seen["changed"]) == (False, "away", False)
    assert "connection refused" in seen["problem"]
    assert nobody_there["secret_key"] not in str(judged) + str(seen)


def test_a_bucket_that_cannot_be_named_is_a_problem_and_no_failure(run_module, nobody_there):
    seen = run_module("shared_storage_info", {**nobody_there, "bucket": "X"})
    assert (seen["answers"], seen["kind"], seen.get("failed", False)) == (False, "options", False)


def test_a_directory_is_observed(run_module, tmp_path):
    (tmp_path / "a.jpg").touch()
    seen = run_module("shared_storage_info", {"backend": "directory", "path": str(tmp_path)})
    assert (seen["answers"], seen["problem"], seen["directory"]["first_names"]) == (True, None, ["a.jpg"])
    seen = run_module("shared_storage_info", {"backend": "directory", "path": str(tmp_path / "nowhere")})
    assert (seen["answers"], seen["kind"]) == (False, "missing")
