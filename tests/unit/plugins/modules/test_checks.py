"""The checks' shells: what they ask for, and what a failed verdict does to the task."""

import socket

import pytest


@pytest.fixture
def nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture(params=["application_check", "load_balancer_check"])
def down(request, nobody_there):
    """A check and the options with which it finds nobody."""
    limits = {"timeout_seconds": 0, "request_timeout_seconds": 1}
    if request.param == "application_check":
        instance = {"name": "app1-3001", "address": "127.0.0.1", "port": nobody_there}
        return request.param, {"instances": [instance], **limits}
    place = {"address": "127.0.0.1", "port": nobody_there, "http_port": nobody_there}
    return request.param, {"server_name": "app.example.com", "instances": ["app1-3001"], **place, **limits}


def test_a_failed_verdict_fails_the_task_with_the_reasons(run_module, down):
    name, options = down
    result = run_module(name, options)
    assert result["failed"] is True
    assert "connection refused" in result["msg"]
    assert not any(verdict["passed"] for verdict in result["verdicts"])


def test_verdicts_can_be_gathered_without_failing_the_task(run_module, down):
    name, options = down
    result = run_module(name, {**options, "fail": False})
    assert (result.get("failed", False), result["passed"], result["changed"]) == (False, False, False)


def test_each_balancer_is_asked_when_they_are_given(run_module, nobody_there):
    options = {
        "server_name": "app.example.com",
        "instances": ["app1-3001"],
        "address": "127.0.0.1",
        "port": nobody_there,
        "http_port": nobody_there,
        "balancers": {"lb1": "127.0.0.1"},
        "timeout_seconds": 0,
        "fail": False,
    }
    names = [verdict["name"] for verdict in run_module("load_balancer_check", options)["verdicts"]]
    assert names == [
        "every_instance_answers",
        "certificate_valid",
        "tls_versions",
        "https_redirect",
        "security_headers",
        "unknown_names_refused",
        "every_balancer_serves",
    ]


def test_a_missing_option_is_named(run_module):
    result = run_module("load_balancer_check", {"address": "127.0.0.1", "instances": []})
    assert "server_name" in result["msg"]
