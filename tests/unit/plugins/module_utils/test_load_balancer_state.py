"""What real balancers said is read as it was meant."""

import json
from pathlib import Path

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _load_balancer_state as state
from ansible_collections.escala.ha.plugins.module_utils._http import Response

RECORDINGS = Path(__file__).parent / "recordings"
NOW = 1_000_000.0
# Drained by hand, answering 503, well, and with nobody listening: what the recordings were made of.
NAMES = ["app1-3001", "app1-3002", "app2-3001", "app2-3002"]
NGINX = {
    "engine": "nginx",
    "checked_at": NOW - 1.5,
    "note": "",
    "backends": [
        {
            "name": "app1-3001",
            "address": "10.77.0.21",
            "port": 3001,
            "in_rotation": False,
            "state": "drained",
            "reason": "drained; it is ready",
            "since": NOW - 60,
        },
        {
            "name": "app2-3001",
            "address": "10.77.0.22",
            "port": 3001,
            "in_rotation": True,
            "state": "up",
            "reason": "ready",
            "since": NOW - 7300,
        },
    ],
}


def recorded(name):
    return (RECORDINGS / name).read_text()


def nginx(**changes):
    return json.dumps({**NGINX, **changes})


def observation(text=None, engine="nginx"):
    return state.as_observation(state.PARSERS[engine](text or nginx(), NOW), NOW)


@pytest.mark.parametrize("version", ["2.6", "3.0"])
def test_what_haproxy_said_is_read(version):
    seen = state.parse_haproxy(recorded(f"haproxy_{version}.csv"), NOW)
    assert seen.engine == "haproxy"
    assert [(one.name, one.state, one.in_rotation) for one in seen.backends] == [
        ("app1-3001", "drained", False),
        ("app1-3002", "down", False),
        ("app2-3001", "up", True),
        ("app2-3002", "down", False),
    ]
    assert [one.reason for one in seen.backends] == [
        "drained by hand",
        "Layer7 wrong status: 503 Service Unavailable",
        "Layer7 check passed: 200",
        "Layer4 connection problem: Connection refused",
    ]
    assert all(NOW - 5 <= one.since <= NOW for one in seen.backends)


@pytest.mark.parametrize(
    ("status", "meant", "reason"),
    [
        ("UP 1/2", "up", "Layer7 wrong status: 503, 1/2 checks"),
        ("DOWN 1/2", "down", "Layer7 wrong status: 503, 1/2 checks"),
        ("no check", "up", "Layer7 wrong status: 503"),
        ("MAINT (via app/x)", "drained", "HAProxy says MAINT (via app/x)"),
        ("NOLB", "drained", "HAProxy says NOLB"),
        ("DRAIN (agent)", "drained", "drained by hand"),
    ],
)
def test_every_status_of_haproxy_has_a_meaning(status, meant, reason):
    text = (
        "# pxname,svname,status,lastchg,check_code,check_desc,addr\n"
        f"app,app1-3001,{status},7,503,Layer7 wrong status,10.77.0.21:3001\n"
    )
    (backend,) = state.parse_haproxy(text, NOW).backends
    assert (backend.state, backend.reason, backend.since) == (meant, reason, NOW - 7)
    assert (backend.address, backend.port) == ("10.77.0.21", 3001)


def test_what_a_real_checker_said_is_read():
    seen = state.parse_nginx(recorded("nginx.json"), NOW)
    assert [one.name for one in seen.backends] == ["app1-3001", "app2-3001", "app1-3002", "app2-3002"]
    assert {(one.state, one.in_rotation, one.reason) for one in seen.backends} == {("up", True, "ready")}
    assert all(0 < seen.checked_at - one.since < 86400 for one in seen.backends)


def test_what_the_checker_beside_nginx_said_is_read():
    seen = observation()
    assert seen["backends"][0] == {
        "name": "app1-3001",
        "address": "10.77.0.21",
        "port": 3001,
        "state": "drained",
        "in_rotation": False,
        "reason": "drained; it is ready",
        "since": "1970-01-12T13:45:40+00:00",
        "since_seconds_ago": 60.0,
    }
    assert (seen["engine"], seen["checked_seconds_ago"], seen["problem"]) == ("nginx", 1.5, None)


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        ("nginx", "<html>"),
        ("nginx", "[]"),
        ("nginx", '{"backends": [{"name": "x"}]}'),
        ("haproxy", "<html>"),
        ("haproxy", ""),
        ("haproxy", "# pxname,svname,status,lastchg\nother,app1-3001,UP,1\n"),
    ],
)
def test_an_answer_of_another_kind_is_a_problem_and_no_crash(engine, text):
    with pytest.raises(ValueError, match=r"Expecting value|not as expected|HAProxy's statistics"):
        state.PARSERS[engine](text, NOW)


def test_a_balancer_with_every_instance_passes_and_says_since_when():
    verdict = state.judge_rotation("lb1", observation(nginx(backends=NGINX["backends"][1:])), ["app2-3001"])
    assert verdict["passed"]
    assert verdict["name"] == "backends_in_rotation_from_lb1"
    assert verdict["reason"] == "1 of 1 instances in rotation at lb1 (nginx), since 2 h ago"
    assert verdict["evidence"]["backends"] == {"app2-3001": "in rotation since 1970-01-12 11:45:00 UTC (2 h ago)"}


def test_a_drained_instance_is_named_with_since_when_and_what_brings_it_back():
    verdict = state.judge_rotation("lb1", observation(), ["app1-3001", "app2-3001"])
    assert not verdict["passed"]
    assert "app1-3001 drained since 1970-01-12 13:45:40 UTC (60 s ago): it is ready." in verdict["reason"]
    assert "deploy_app.yml" in verdict["reason"]


def test_haproxy_s_faults_are_all_named():
    seen = observation(recorded("haproxy_3.0.csv"), "haproxy")
    reason = state.judge_rotation("lb2", seen, NAMES)["reason"]
    for said in (
        "app1-3001 drained",
        "app1-3002 down",
        "503 Service Unavailable",
        "app2-3002 down",
        "Connection refused",
    ):
        assert said in reason
    assert "app2-3001" not in reason


def test_a_missing_and_an_unknown_instance_are_named():
    reason = state.judge_rotation("lb1", observation(), ["app2-3001", "app3-3001"])["reason"]
    assert "app3-3001 is not in the configuration" in reason
    assert "app1-3001 is not in the inventory" in reason


def test_an_instance_that_is_down_and_still_in_rotation_does_not_pass():
    last = [{**NGINX["backends"][1], "state": "down", "reason": "/health/ready answered 503"}]
    verdict = state.judge_rotation("lb1", observation(nginx(backends=last, note="no instance is ready")), ["app2-3001"])
    assert not verdict["passed"]
    assert "app2-3001 down, yet in rotation, since" in verdict["reason"]
    assert verdict["evidence"]["note"] == "no instance is ready"


def test_checks_that_have_stopped_are_found():
    assert state.judge_freshness("lb1", observation(), 5)["passed"]
    stale = state.judge_freshness("lb1", observation(nginx(checked_at=NOW - 90)), 5)
    assert stale["reason"].startswith("lb1 last checked 90 s ago, limit is 5 s; read `journalctl")
    noted = state.judge_freshness("lb1", observation(nginx(note="nginx refused the list")), 5)
    assert "nginx refused the list" in noted["reason"]
    assert state.judge_freshness("lb1", observation(recorded("haproxy_2.6.csv"), "haproxy"), 5)["passed"]


def test_a_balancer_that_cannot_be_asked_is_an_observation_and_fails_both_verdicts():
    options = {"engine": "haproxy", "address": "127.0.0.1", "port": 1, "timeout_seconds": 1}
    seen = state.observe(options, lambda: NOW)
    assert seen["problem"] == "http://127.0.0.1:1/haproxy;csv: connection refused"
    assert (seen["backends"], seen["checked_seconds_ago"]) == ([], None)
    for verdict in (state.judge_rotation("lb1", seen, NAMES), state.judge_freshness("lb1", seen, 5)):
        assert not verdict["passed"]
        assert "connection refused" in verdict["reason"]


S3 = {"name": "s3", "note": "", "backends": [{**NGINX["backends"][1], "name": "storage1"}]}
DOWN = {
    **NGINX["backends"][1],
    "name": "storage2",
    "state": "down",
    "in_rotation": False,
    "reason": "/live answered 503",
}
CSV = (
    "# pxname,svname,status,lastchg,check_desc,check_code,addr\n"
    "app,app1-3001,UP,60,,,192.0.2.21:3001\n"
    "tcp_s3,FRONTEND,OPEN,,,,\n"
    "tcp_s3,storage1,UP,60,Layer7 check passed,200,192.0.2.41:9000\n"
    "tcp_s3,storage2,DOWN,5,Layer7 wrong status,503,192.0.2.42:9000\n"
    "tcp_s3,BACKEND,UP,60,,,\n"
    "upload,legacy1-8080,no check,60,,,192.0.2.71:8080\n"
)


def test_services_beside_the_application_are_listed_by_both_engines():
    seen = state.parse_haproxy(CSV, NOW)
    assert [one.name for one in seen.backends] == ["app1-3001"]
    (service,) = seen.services
    assert (service.name, [(one.name, one.state, one.port) for one in service.backends]) == (
        "s3",
        [("storage1", "up", 9000), ("storage2", "down", 9000)],
    )
    (service,) = state.parse_nginx(nginx(services=[S3]), NOW).services
    assert (service.name, [one.name for one in service.backends]) == ("s3", ["storage1"])
    assert observation()["services"] == []


def test_services_are_judged_by_each_of_their_servers():
    verdict = state.judge_services("lb1", observation(nginx(services=[S3])))
    assert (verdict["name"], verdict["passed"]) == ("services_live_from_lb1", True)
    assert verdict["reason"] == "every server is live at lb1: s3 (1)"
    both = {**S3, "backends": [*S3["backends"], DOWN]}
    verdict = state.judge_services("lb1", observation(nginx(services=[both])))
    assert verdict["passed"] is False
    assert "s3: storage2 down since" in verdict["reason"]
    assert "/live answered 503" in verdict["reason"]
    assert "storage1" not in verdict["reason"]
    gone = state.judge_services("lb1", {"services": [], "problem": "connection refused"})
    assert (gone["passed"], "connection refused" in gone["reason"]) == (False, True)


@pytest.mark.parametrize(
    ("uploads", "route", "passed", "reason"),
    [
        (("upload_servers", False, ["old"]), None, True, "lb1 sends uploads to old"),
        (("application", False, []), None, True, "lb1 sends uploads to the application"),
        (
            ("application", False, ["old"]),
            "application",
            True,
            "lb1 sends uploads to the application; load_balancer_upload_servers (old) get none",
        ),
        (("application", True, ["old"]), "application", False, "they are held, on their way to the application"),
        (("upload_servers", True, ["old"]), None, False, "they are held, on their way to old"),
        (("upload_servers", False, ["old"]), "application", False, "sends uploads to old, expected is application"),
        (("application", False, ["old"]), "upload_servers", False, "expected is upload_servers"),
    ],
)
def test_uploads_flow_where_they_are_not_held_and_go_to_where_they_should(uploads, route, passed, reason):
    seen = state.as_observation(state.parse_nginx(nginx(), NOW), NOW, state.Uploads(*uploads))
    verdict = state.judge_uploads("lb1", seen, route)
    assert (verdict["name"], verdict["passed"]) == ("uploads_flow_from_lb1", passed)
    assert reason in verdict["reason"]


def test_a_balancer_that_cannot_be_switched_or_asked_does_not_say_where_uploads_go():
    assert "its configuration cannot switch them" in state.judge_uploads("lb1", observation(), "application")["reason"]
    away = {"uploads": None, "problem": "connection refused"}
    assert "connection refused" in state.judge_uploads("lb1", away, "application")["reason"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"route": "elsewhere", "held": false, "upload_servers": []}',
        '{"route": "application", "held": 1}',
    ],
)
def test_a_word_on_uploads_of_another_kind_is_refused(text):
    with pytest.raises(ValueError, match="not as expected|Expecting value"):
        state.parse_uploads(text)


PAGES = {"/backends": nginx(services=[S3]), "/uploads": '{"route": "application", "held": false, "upload_servers": []}'}


@pytest.mark.parametrize(
    ("pages", "route", "expected"),
    [
        (PAGES, None, ["backends_in_rotation", "backend_checks_fresh", "uploads_flow", "services_live"]),
        ({"/backends": nginx()}, None, ["backends_in_rotation", "backend_checks_fresh"]),
        ({"/backends": nginx()}, "application", ["backends_in_rotation", "backend_checks_fresh", "uploads_flow"]),
    ],
)
def test_only_what_the_balancer_has_is_judged_unless_a_route_is_expected(monkeypatch, pages, route, expected):
    def get(_endpoint, path):
        body = pages.get(path)
        return Response(200 if body else 403, {}, (body or "").encode())

    monkeypatch.setattr(state, "get", get)
    options = {
        "engine": "nginx",
        "address": "192.0.2.11",
        "port": 8405,
        "request_timeout_seconds": 1,
        "instances": ["app1-3001", "app2-3001"],
        "seen_from": "lb1",
        "age_limit_seconds": 5,
        "uploads_route": route,
    }
    verdicts = [check() for check in state.rotation_checks(options, lambda: NOW)]
    assert [verdict["name"] for verdict in verdicts] == [f"{name}_from_lb1" for name in expected]
