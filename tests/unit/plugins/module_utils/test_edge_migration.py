import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ansible_collections.escala.ha.plugins.module_utils import _edge_migration
from ansible_collections.escala.ha.plugins.module_utils._edge_migration import place
from ansible_collections.escala.ha.plugins.module_utils._http import Response

INSTANCES = ["app1-3001", "app2-3001"]
LOGIN = {"email": "a@example.com", "password": "very secret"}


@pytest.fixture
def serve():
    """Starts servers that answer as the given function says, and keep what they were asked."""
    running = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, said = answer(self.path, self.headers, body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(said))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_arguments):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        running.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def at(port, path="/health/ready"):
    return place(f"http://app.example.com:{port}{path}", "127.0.0.1", "", True, 2)


def named(*names):
    """A server that says these names in turn."""
    turns = iter(names)
    return lambda _path, _headers, _body: (200, {"X-Served-By": next(turns)}, b"")


def test_a_url_leads_to_its_name_or_to_the_given_address():
    plain = place("http://app.example.com", "", "", True, 3)
    assert plain.endpoint == ("app.example.com", 80, "app.example.com", 3)
    assert (plain.path, plain.tls) == ("/", None)
    secure = place("https://app.example.com/a?b=c", "192.0.2.1", "", True, 3)
    assert secure.endpoint == ("192.0.2.1", 443, "app.example.com", 3)
    assert secure.path == "/a?b=c"
    assert secure.tls.verify_mode == ssl.CERT_REQUIRED


def test_a_certificate_may_go_unverified():
    assert place("https://app.example.com/", "", "", False, 3).tls.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize("url", ["app.example.com/health", "ftp://app.example.com/", "http://"])
def test_what_is_no_url_of_http_is_refused(url):
    with pytest.raises(ValueError, match="is no URL of HTTP"):
        place(url, "", "", True, 3)


def test_answers_of_the_instances_pass_and_are_counted(serve):
    port = serve(named("app1-3001", "app2-3001", "app1-3001"))
    verdict = _edge_migration.check_served_by(at(port), INSTANCES, True, 3)
    assert verdict["passed"]
    assert verdict["evidence"]["answered_by"] == {"app1-3001": 2, "app2-3001": 1}


def test_one_answer_of_another_server_is_enough_to_fail(serve):
    port = serve(named("app1-3001", "old1"))
    verdict = _edge_migration.check_served_by(at(port), INSTANCES, True, 4)
    assert not verdict["passed"]
    assert (
        f"http://app.example.com:{port}/health/ready at 127.0.0.1 was answered by old1; expected a 2xx from an instance"
        in (verdict["reason"])
    )


def test_on_the_way_back_an_instance_must_not_answer(serve):
    assert _edge_migration.check_served_by(at(serve(named("old1"))), INSTANCES, False, 1)["passed"]
    assert not _edge_migration.check_served_by(at(serve(named("app1-3001"))), INSTANCES, False, 1)["passed"]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Response(503, {"x-served-by": "app1-3001"}, b""), "answered 503"),
        (Response(200, {}, b""), "answered by a server that says no name"),
        (Response(200, {"x-served-by": "app1-3001"}, b""), ""),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(answer, fault):
    assert _edge_migration.fault_of(answer, INSTANCES, True) == fault


def test_nobody_there_fails_with_the_address():
    verdict = _edge_migration.check_served_by(at(1), INSTANCES, True, 1)
    assert "at 127.0.0.1 failed (connection refused)" in verdict["reason"]


def issuing(answer):
    return lambda _path, _headers, _body: (200, {}, answer)


def test_a_token_that_the_platform_accepts_passes_and_is_nowhere_in_the_verdict(serve):
    asked = []

    def platform(path, headers, _body):
        asked.append((path, headers["Authorization"]))
        return 200, {}, b"{}"

    def old(_path, headers, body):
        assert headers["Content-Type"] == "application/json"
        assert json.loads(body) == LOGIN
        return 201, {}, b'{"accessToken": "t0ken"}'

    login, me = at(serve(old), "/login"), at(serve(platform), "/me")
    verdict = _edge_migration.check_token(login, LOGIN, "accessToken", me)
    assert verdict["passed"]
    assert asked == [("/me", "Bearer t0ken")]
    assert not [secret for secret in ("t0ken", "very secret") if secret in json.dumps(verdict)]


@pytest.mark.parametrize(
    ("status", "said"), [(401, "the same key for tokens"), (403, "the same key"), (404, "name a path")]
)
def test_a_token_that_the_platform_refuses_fails_with_what_to_do(serve, status, said):
    login = at(serve(issuing(b'{"accessToken": "t0ken"}')), "/login")
    me = at(serve(lambda _path, _headers, _body: (status, {}, b"")), "/me")
    reason = _edge_migration.check_token(login, LOGIN, "accessToken", me)["reason"]
    assert f"the platform answered {status} to a token of the old server" in reason
    assert said in reason


@pytest.mark.parametrize("answer", [b"no json", b"[]", b"{}", b'{"accessToken": 5}'])
def test_a_login_without_a_token_fails(serve, answer):
    verdict = _edge_migration.check_token(at(serve(issuing(answer)), "/login"), LOGIN, "accessToken", at(1))
    assert "answered 200 without accessToken" in verdict["reason"]


def test_a_login_that_is_refused_fails(serve):
    login = at(serve(lambda _path, _headers, _body: (401, {}, b'{"accessToken": "t"}')), "/login")
    assert "answered 401 without" in _edge_migration.check_token(login, LOGIN, "accessToken", at(1))["reason"]


def test_it_is_told_apart_who_does_not_answer(serve):
    assert "nobody could log in at the old server" in _edge_migration.check_token(at(1), LOGIN, "t", at(1))["reason"]
    login = at(serve(issuing(b'{"t": "x"}')), "/login")
    assert "the platform did not answer" in _edge_migration.check_token(login, LOGIN, "t", at(1))["reason"]
