"""The balancers after etapa 1, each asked at its own address, whoever holds the virtual one."""

import json
import os

import pytest
import testinfra

from tests.lab.eventually import eventually

testinfra_hosts = ["ansible://load_balancers"]

ENGINE = os.environ["ESCALA_LOAD_BALANCER_ENGINE"]
SERVICES = {
    "nginx": ["nginx", "escala-backend-health", "keepalived"],
    # HAProxy serves no files.
    "haproxy": ["haproxy", "nginx", "keepalived"],
}
ABSENT = {"nginx": "haproxy", "haproxy": "escala-backend-health"}
HEADERS = {
    "referrer-policy": "strict-origin-when-cross-origin",
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
}


class Edge:
    """A client on the balancer that speaks to it from outside its loopback address."""

    def __init__(self, host):
        self.host = host
        self.variables = host.ansible.get_variables()
        self.name = self.variables["lab_server_name"]

    def ask(self, path, *options, scheme="https", name=None):
        name = name or self.name
        resolve = [f"--resolve {name}:{port}:{self.variables['ansible_host']}" for port in (80, 443)]
        arguments = ["--silent", "--include", "--max-time 10", "--cacert /etc/ssl/escala/ca.pem", *resolve, *options]
        return self.host.run(f"curl {' '.join(arguments)} {scheme}://{name}{path}")

    def headers(self, path, *options, scheme="https"):
        head = self.ask(path, *options, scheme=scheme).stdout.replace("\r", "").partition("\n\n")[0]
        status, *lines = head.splitlines()
        return {"status": status.split()[1], "version": status.split()[0]} | {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }


@pytest.fixture
def edge(host):
    return Edge(host)


@pytest.mark.parametrize("name", SERVICES[ENGINE])
def test_a_service_runs_and_comes_back_whatever_ends_it(host, name):
    service = host.service(name)
    assert service.is_running
    assert service.is_enabled
    assert service.systemd_properties["Restart"] == "always"


def test_the_other_engine_s_service_is_neither_running_nor_started_at_boot(host):
    assert host.run("systemctl is-active %s", ABSENT[ENGINE]).stdout.strip() != "active"
    assert host.run("systemctl is-enabled %s", ABSENT[ENGINE]).stdout.strip() != "enabled"


@pytest.mark.parametrize("name", SERVICES[ENGINE])
def test_a_service_is_in_a_sandbox(host, name):
    judged = host.run("systemd-analyze security --threshold=40 %s", name)
    assert judged.rc == 0, judged.stdout[-200:]


def test_the_health_endpoint_answers_on_the_loopback_address_only(host, edge):
    assert host.check_output("curl --silent --fail http://127.0.0.1:8404/") == "ok"
    assert not host.socket(f"tcp://{edge.variables['ansible_host']}:8404").is_listening
    assert not host.socket("tcp://0.0.0.0:8404").is_listening


def test_an_authority_finds_its_challenge_without_tls(host, edge):
    """By HAProxy the way leads through the nginx that has the files."""
    file = "/var/lib/escala/acme/a-token"
    host.check_output(f"echo an answer > {file}")
    try:
        answer = edge.ask("/.well-known/acme-challenge/a-token", scheme="http").stdout
    finally:
        host.check_output(f"rm {file}")
    assert answer.split()[1] == "200", answer
    assert answer.rstrip().endswith("an answer"), answer
    assert edge.headers("/.well-known/acme-challenge/a-token", scheme="http")["status"] == "404"


def test_the_key_is_readable_by_root_only(host):
    key = host.file("/etc/ssl/escala/edge.key")
    assert (key.user, key.group, key.mode) == ("root", "root", 0o600)


def test_the_certificate_is_signed_by_the_platform_s_authority_for_the_name(host, edge):
    assert (
        host.run(
            "openssl verify -CAfile /etc/ssl/escala/ca.pem -verify_hostname %s /etc/ssl/escala/edge.crt", edge.name
        ).rc
        == 0
    )


def test_http_2_is_spoken(edge):
    assert edge.headers("/health/live", "--http2")["version"] == "HTTP/2"


@pytest.mark.parametrize(("version", "accepted"), [("1.1", False), ("1.2", True), ("1.3", True)])
def test_tls_1_2_is_the_oldest_version(edge, version, accepted):
    # At the default security level OpenSSL 3 itself has no TLS 1.1 to offer.
    answer = edge.ask("/health/live", f"--tlsv{version}", f"--tls-max {version}", "--ciphers DEFAULT@SECLEVEL=0")
    assert (answer.rc == 0) is accepted


def test_http_is_redirected_with_method_and_path(edge):
    answer = edge.headers("/api/notes?page=2", scheme="http")
    assert (answer["status"], answer["location"]) == ("308", f"https://{edge.name}/api/notes?page=2")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_unknown_hosts_are_refused(edge, scheme):
    answer = edge.ask("/", "--insecure", scheme=scheme, name="other.example")
    # No handshake, or a connection that ends without a word.
    assert answer.rc in (35, 52, 56)
    assert answer.stdout == ""


def test_a_known_certificate_does_not_open_another_host(edge):
    for version in ("--http1.1", "--http2"):
        assert edge.headers("/health/live", version, "--header 'Host: other.example'")["status"] == "421"


def test_every_instance_takes_its_turn(edge):
    served = {edge.headers("/health/live")["x-served-by"] for _ in range(12)}
    assert served == {"app1-3001", "app1-3002", "app2-3001", "app2-3002"}


def test_metrics_are_not_public(edge):
    assert edge.headers("/metrics")["status"] == "404"


def test_the_frontend_s_page_is_asked_for_anew_each_time(edge):
    answer = edge.headers("/")
    assert (answer["status"], answer["content-type"], answer["cache-control"]) == ("200", "text/html", "no-cache")


def test_the_frontend_s_own_routes_get_its_page(edge):
    assert edge.headers("/settings/storage")["content-type"] == "text/html"


def test_files_with_a_hash_in_their_name_are_kept_for_good(host, edge):
    script = host.check_output("ls /srv/frontend/current/frontend/assets | grep '[.]js$' | head -n 1")
    assert edge.headers(f"/assets/{script}")["cache-control"] == "public, max-age=31536000, immutable"
    assert edge.headers("/assets/not-there.js")["status"] == "404"


def test_a_page_s_validator_changes_with_every_release(edge):
    # The archive's files are all of the year 1970, and two pages of one length would pass for the same.
    assert "1970" not in edge.headers("/")["last-modified"]


def test_a_client_s_request_id_is_passed_on_and_a_bad_one_replaced(edge):
    assert edge.headers("/health/live", "--header 'X-Request-Id: my-request-1'")["x-request-id"] == "my-request-1"
    assert edge.headers("/health/live", "--header 'X-Request-Id: <bad>'")["x-request-id"] != "<bad>"


@pytest.mark.parametrize("path", ["/", "/health/live", "/api/me", "/assets/not-there.js"])
def test_every_answer_has_the_security_headers_once(edge, path):
    head = edge.ask(path, "--http1.1").stdout.replace("\r", "").partition("\n\n")[0].lower().splitlines()
    for name, value in HEADERS.items():
        assert head.count(f"{name}: {value.lower()}") == 1
        assert len([line for line in head if line.startswith(f"{name}:")]) == 1


STATUS_PAGES = {"nginx": ["/backends", "/nginx_status"], "haproxy": ["/haproxy;csv", "/metrics"]}


@pytest.mark.parametrize("path", STATUS_PAGES[ENGINE])
def test_the_status_is_to_be_had_by_the_balancer_itself_and_by_nobody_unnamed(host, edge, path):
    url = f"http://{edge.variables['ansible_host']}:8405{path}"
    assert host.run(f"curl --silent --fail '{url}'").rc == 0
    stranger = testinfra.get_host("local://")
    assert (
        stranger.run(f"curl --silent --max-time 5 --output /dev/null --write-out '%{{http_code}}' '{url}'").stdout
        == "403"
    )


def test_a_stranger_s_word_for_its_address_is_not_believed(host, edge):
    edge.headers("/health/live", "--header 'X-Forwarded-For: 203.0.113.9'", "--header 'X-Request-Id: liar-liar-1'")
    assert logged(host, "liar-liar-1")["client"] == edge.variables["ansible_host"]


def test_a_trusted_proxy_s_word_for_its_client_is_believed(host, edge):
    old_server = testinfra.get_host("ansible://legacy1", ansible_inventory=host.backend.ansible_inventory)
    old_server.check_output(
        f"curl --silent --insecure --output /dev/null --resolve {edge.name}:443:{edge.variables['ansible_host']}"
        f" --header 'X-Forwarded-For: 203.0.113.9' --header 'X-Request-Id: by-the-old-server' https://{edge.name}/health/live"
    )
    assert logged(host, "by-the-old-server")["client"] == "203.0.113.9"


def logged(host, request_id):
    """A request's line in the access log."""
    found = eventually(
        "the request is in the log",
        lambda: host.run(f"grep {request_id} /var/log/{ENGINE}/access.log | tail -n 1").stdout,
        within=5,
    )
    return json.loads(found)


def test_the_access_log_is_json_and_names_the_instance(host, edge):
    edge.headers("/health/live", "--header 'X-Request-Id: looked-for-in-the-log'")
    line = logged(host, "looked-for-in-the-log")
    assert (line["status"], line["uri"], line["host"]) == (200, "/health/live", edge.name)
    assert line["upstream"].endswith(("3001", "3002"))
    assert line["milliseconds"] >= 0


def test_large_bodies_are_for_uploads_only(host, edge):
    host.check_output("head -c 3000000 /dev/zero >/tmp/large")
    # Asked first whether it may send (Expect), curl sees the answer before it sends what nobody takes.
    assert edge.headers("/api/notes", "--http1.1", "--data-binary @/tmp/large")["status"] == "413"
    assert edge.headers("/api/uploads", "--data-binary @/tmp/large")["status"] == "401"


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_body_that_does_not_say_how_long_it_is_is_held_to_the_limit_too(host, edge, version):
    host.check_output("head -c 3000000 /dev/zero >/tmp/large")
    mark = f"no-length{version}"
    # Older curls take an answer that comes before all is sent for a fault, so the log says what was answered.
    edge.ask("/api/notes", version, f"--header 'X-Request-Id: {mark}'", "--request POST --upload-file - </tmp/large")
    assert logged(host, mark)["status"] == {"nginx": 413, "haproxy": 411}[ENGINE]


def test_a_request_that_no_instance_can_take_gets_an_answer_with_its_id(host, edge):
    ports = "{ 3001, 3002 }"
    host.check_output("nft 'add table inet away; add chain inet away out { type filter hook output priority 0; }'")
    try:
        host.check_output(f"nft 'add rule inet away out tcp dport {ports} reject with tcp reset'")
        answer = edge.ask("/api/me", "--header 'X-Request-Id: nobody-there'").stdout
    finally:
        host.check_output("nft delete table inet away")
    assert " 503" in answer.splitlines()[0]
    assert '"requestId":"nobody-there"' in answer


def test_a_killed_engine_comes_back(host):
    before = host.service(ENGINE).systemd_properties["MainPID"]
    host.check_output("kill -KILL %s", before)
    host.check_output(
        "curl --silent --fail --retry 20 --retry-delay 1 --retry-all-errors --output /dev/null http://127.0.0.1:8404/"
    )
    assert host.service(ENGINE).systemd_properties["MainPID"] != before


def test_what_the_frontend_had_before_is_still_to_be_had(host, edge):
    """A page that was loaded before a deployment asks for files of its own release."""
    host.check_output(
        "mkdir -p /srv/frontend/before/frontend/assets && echo old > /srv/frontend/before/frontend/assets/old.js"
    )
    kept = host.run("readlink /srv/frontend/previous").stdout.strip()
    host.check_output("ln -sfn /srv/frontend/before /srv/frontend/previous")
    try:
        assert edge.headers("/assets/old.js")["status"] == "200"
    finally:
        host.check_output(f"ln -sfn {kept} /srv/frontend/previous" if kept else "rm /srv/frontend/previous")
        host.check_output("rm -r /srv/frontend/before")
