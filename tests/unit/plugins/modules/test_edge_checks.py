"""The shells of served_by_check and token_check."""

import socket

import pytest

LIMITS = {"timeout_seconds": 0, "request_timeout_seconds": 1}


@pytest.fixture
def nowhere():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.fixture(params=["served_by_check", "token_check"])
def down(request, nowhere):
    """A check and the options with which it finds nobody."""
    if request.param == "served_by_check":
        return request.param, {"url": nowhere, "instances": ["app1-3001"], **LIMITS}
    return request.param, {"login_url": nowhere, "login_body": {"password": "hidden"}, "check_url": nowhere, **LIMITS}


def test_a_failed_verdict_fails_the_task_with_the_reason(run_module, down):
    result = run_module(*down)
    assert result["failed"] is True
    assert "connection refused" in result["msg"]


def test_a_verdict_can_be_gathered_without_failing_the_task(run_module, down):
    name, options = down
    result = run_module(name, {**options, "fail": False})
    assert (result.get("failed", False), result["passed"], result["changed"]) == (False, False, False)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("served_by_check", {"url": "app.example.com", "instances": []}),
        ("token_check", {"login_url": "app.example.com", "login_body": {}, "check_url": "http://app.example.com/"}),
    ],
)
def test_what_is_no_url_is_refused(run_module, name, options):
    assert run_module(name, options)["msg"].startswith("app.example.com is no URL of HTTP")
