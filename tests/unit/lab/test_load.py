"""The load counts what fails, and finds what was lost, against a small server of the application's shape."""

import asyncio
import datetime
import json
import ssl
import threading

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.lab import load as load_module
from tests.lab.load import Failure, Load, Result, running_load
from tests.lab.target import Target

NAME = "app.escala.test"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("pki") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return str(file)


class Platform:
    """Answers like the application; a story breaks it by its attributes."""

    def __init__(self):
        self.served = 0
        self.notes = {}
        self.status_of_settings = 200
        self.silent_path = None
        self.forgets = False

    def application(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app

    async def answer(self, request):
        self.served += 1
        if request.path == self.silent_path:
            await asyncio.sleep(1)
        if request.path == "/":
            return web.Response(text='<script src="/assets/index-1.js"></script>', content_type="text/html")
        if request.path == "/api/auth/login":
            return web.json_response({"accessToken": "token"})
        if request.path.startswith("/api/") and request.headers["Authorization"] != "Bearer token":
            return web.json_response({}, status=401)
        if request.method == "POST":
            note = f"note-{len(self.notes)}"
            self.notes[note] = await request.json()
            return web.json_response({"id": note}, status=201)
        if request.path.startswith("/api/notes/"):
            return web.json_response({}, status=404 if self.forgets else 200)
        status = self.status_of_settings if request.path == "/api/settings" else 200
        return web.json_response({}, status=status, headers={"X-Served-By": f"app{self.served % 2 + 1}-3001"})


@pytest.fixture
def platform():
    return Platform()


@pytest.fixture
def target(platform, certificate):
    loop = asyncio.new_event_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    runner = web.AppRunner(platform.application(), shutdown_timeout=0.1)

    async def begin():
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        return runner.addresses[0][1]

    port = loop.run_until_complete(begin())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield Target(f"https://{NAME}:{port}", "127.0.0.1", NAME, certificate, "acme", "owner@acme.example", "secret")
    asyncio.run_coroutine_threadsafe(runner.shutdown(), loop).result(10)
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def run(target, requests=100):
    load = Load(target, rate=500, writes_per_second=50)
    load.finish(at_least=requests)
    asyncio.run(load.run())
    return load.result


def test_a_good_platform_fails_nothing_and_keeps_what_it_acknowledged(target, platform):
    result = run(target)
    assert result.failures == []
    assert result.requests == 100
    assert set(result.by_instance) == {"app1-3001", "app2-3001"}
    assert result.acknowledged
    assert set(result.acknowledged) <= set(platform.notes)
    assert result.lost == []


def test_every_answer_that_is_no_2xx_is_a_failure_and_says_who_gave_it(target, platform):
    platform.status_of_settings = 502
    result = run(target)
    assert len(result.failures) == 20
    assert {failure.request for failure in result.failures} == {"GET /api/settings"}
    assert all(failure.how.startswith("status 502 from app") for failure in result.failures)


def test_a_request_that_failed_is_told_with_what_the_balancers_logged_of_it(monkeypatch):
    class Balancers:
        def group(self, name):
            assert name == "load_balancers"
            return ["lb1", "lb2"]

        def on(self, host, command, *, check):
            assert "--regexp=id-1 --regexp=id-2 " in command
            return '{"request_id":"id-1","upstream_status":"sC--"}\n' if host == "lb2" else ""

    monkeypatch.setattr(load_module, "Lab", Balancers)
    result = Result(requests=9)
    result.failures += [Failure(0.5, "GET /api/me", "status 503", "id-1"), Failure(0.6, "GET /", "status 503", "id-2")]
    with pytest.raises(AssertionError, match=r"2 of 9 requests failed: .*; the balancers logged: .*sC--"):
        result.assert_unharmed()


def test_no_answer_in_the_clients_time_is_a_failure(target, platform, monkeypatch):
    # Above what a busy machine takes for the others.
    monkeypatch.setattr(load_module, "PATIENCE_SECONDS", 0.7)
    platform.silent_path = "/health/ready"
    result = run(target, requests=20)
    assert len(result.failures) == 2
    assert all("no answer within" in failure.how for failure in result.failures)


def test_an_acknowledged_write_that_is_gone_is_found(target, platform):
    platform.forgets = True
    result = run(target)
    assert result.lost == result.acknowledged != []


def test_a_story_that_fails_ends_the_load(target, platform):
    with pytest.raises(ValueError, match="the story"), running_load(target, requests=10**9, rate=100):
        raise ValueError("the story")


def test_a_platform_that_does_not_answer_at_all_fails_the_story(target):
    nowhere = Target("https://app.escala.test:1", "127.0.0.1", NAME, target.ca_file, "", "", "")
    with pytest.raises(OSError, match="Cannot connect"), running_load(nowhere, requests=1):
        pass


def test_quantiles_and_the_summary_of_a_result(tmp_path):
    result = Result(requests=4, seconds=2.0, latencies=[0.4, 0.1, 0.2, 0.3])
    result.by_instance["app1-3001"] += 4
    result.failures.append(Failure(0.5, "GET /api/me", "status 502"))
    assert (result.quantile(0.5), result.quantile(0.99), result.quantile(1)) == (0.3, 0.4, 0.4)
    assert "4 requests in 2 s (2/s), 1 failed" in str(result)
    result.save(tmp_path / "load.json")
    saved = json.loads((tmp_path / "load.json").read_text())
    assert (saved["latencies"]["p99"], saved["by_instance"], saved["failures"][0]["how"]) == (
        0.4,
        {"app1-3001": 4},
        "status 502",
    )
    assert Result().quantile(0.5) == 0.0
