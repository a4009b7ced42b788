from __future__ import annotations

import http.server
import json
import ssl
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.escala.ha.plugins.module_utils import _backend_health as health
from ansible_collections.escala.ha.plugins.module_utils._backend_health import (
    Backend,
    Checker,
    Question,
    Rotation,
    Service,
    Settings,
    Standing,
    Thresholds,
    Tls,
    in_rotation_of,
    judged,
    live,
    questions,
    rotation,
    settings_from,
    state_of,
    upstream_text,
)
from tests.unit.plugins.module_utils.test_tls import Authority

TWICE = Thresholds(rise=2, fall=2)
NAMES = ["a-1", "b-1", "a-2", "b-2"]
BACKENDS = [Backend(name, f"192.0.2.{number}", 3000 + number) for number, name in enumerate(NAMES, start=1)]


def after(*faults, thresholds=TWICE):
    standing = None
    for second, fault in enumerate(faults):
        standing = judged(standing, fault, float(second), thresholds)
    return standing


def test_the_first_answer_counts_at_once():
    assert after("") == Standing(True, "ready", 0.0)
    assert after("refused") == Standing(False, "refused", 0.0)


@pytest.mark.parametrize(
    ("faults", "ready", "since"),
    [
        (["", "x"], True, 0),
        (["", "x", "x"], False, 2),
        (["", "x", "", "x"], True, 0),
        (["x", ""], False, 0),
        (["x", "", ""], True, 2),
        (["x", "", "y", ""], False, 0),
    ],
)
def test_so_many_answers_in_a_row_change_what_is_held(faults, ready, since):
    standing = after(*faults)
    assert (standing.ready, standing.since) == (ready, since)


def test_one_that_stays_down_says_its_latest_reason_and_its_first_moment():
    assert after("refused", "answered 503") == Standing(False, "answered 503", 0.0)


names = st.lists(st.sampled_from(NAMES), unique=True)


@given(names, names, names)
def test_the_rotation_is_never_empty_and_only_of_what_there_is(ready, drained, last):
    found = rotation(NAMES, ready, drained, last).names
    assert found
    assert found <= set(NAMES)


@given(names, names, names)
def test_where_one_is_ready_and_not_drained_nothing_else_gets_requests(ready, drained, last):
    good = set(ready) - set(drained)
    found = rotation(NAMES, ready, drained, last)
    if good:
        assert found == Rotation(frozenset(good))
    else:
        assert found.note


@given(names, names)
def test_with_none_ready_the_last_set_stays(drained, last):
    kept = set(last) - set(drained)
    if kept:
        assert rotation(NAMES, [], drained, last).names == kept


def test_with_everything_drained_the_ready_ones_serve():
    found = rotation(NAMES, ["a-1"], NAMES, NAMES)
    assert found == Rotation(frozenset({"a-1"}), "every instance is drained, so none is left out")


@given(names)
def test_what_a_list_says_is_read_back(in_rotation):
    assert in_rotation_of(upstream_text(BACKENDS, in_rotation, "max_fails=3 fail_timeout=5s")) == set(in_rotation)


def test_one_that_is_left_out_is_marked_and_stays_in_its_place():
    lines = upstream_text(BACKENDS[:2], ["b-1"], "max_fails=3").splitlines()[1:]
    assert lines == ["server 192.0.2.1:3001 max_fails=3 down; # a-1", "server 192.0.2.2:3002 max_fails=3; # b-1"]


def test_nothing_is_read_from_a_file_of_another_kind():
    assert in_rotation_of("") == frozenset()
    assert in_rotation_of("server 192.0.2.1:3001;\n") == frozenset()


def test_the_state_says_who_is_drained_and_how_it_is():
    standings = {"a-1": Standing(True, "ready", 5.0), "b-1": Standing(False, "answered 503", 7.0)}
    state = state_of(BACKENDS[:3], standings, {"b-1": 9.0}, Rotation(frozenset({"a-1"}), "a note"), 10.0)
    assert (state["engine"], state["checked_at"], state["note"]) == ("nginx", 10.0, "a note")
    assert [(one["name"], one["state"], one["since"], one["in_rotation"]) for one in state["backends"]] == [
        ("a-1", "up", 5.0, True),
        ("b-1", "drained", 9.0, False),
        ("a-2", "down", 0.0, False),
    ]
    assert state["backends"][1]["reason"] == "drained; it is answered 503"


@given(names)
def test_of_a_service_only_the_live_servers_get_connections_and_none_when_none_is(ready):
    found = live(NAMES, ready)
    assert found.names == set(ready)
    assert bool(found.note) == (not ready)


class Nginx:
    """Takes lists, refuses them when told to, and counts."""

    def __init__(self):
        self.commands = []
        self.complaint = ""
        self.trouble_reloading = ""
        self.running = True
        self.cannot_end = ""

    def __call__(self, command):
        self.commands.append(" ".join(command))
        if command[0] == "ss":
            return self.cannot_end
        if command[0] == "nginx":
            return self.complaint
        if "is-active" in command:
            return "" if self.running else "inactive"
        return self.trouble_reloading

    @property
    def ended(self):
        return [command for command in self.commands if command.startswith("ss ")]

    @property
    def reloads(self):
        return self.commands.count("systemctl reload nginx.service")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def nginx():
    return Nginx()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def settings(tmp_path):
    return Settings(
        backends=BACKENDS,
        path="/health/ready",
        interval_seconds=0.5,
        timeout_seconds=1,
        thresholds=TWICE,
        server_parameters="max_fails=3",
        upstream_file=str(tmp_path / "upstream.conf"),
        drained_file=str(tmp_path / "drained.json"),
        state_file=str(tmp_path / "state.json"),
    )


@pytest.fixture
def checker(settings, nginx, clock):
    loaded(settings, BACKENDS, NAMES)
    return Checker(settings, nginx, clock)


def loaded(settings, backends, names):
    """As a checker leaves it that has seen nginx load its list."""
    for file in (settings.upstream_file, f"{settings.upstream_file}.loaded"):
        health.write(file, upstream_text(backends, names, "max_fails=3"))


def hear(checker, clock, **faults):
    """One answer of each instance, a-1's as a_1 and so on; what is not named is ready."""
    clock.now += 2
    for name in NAMES:
        checker.hear(name, faults.get(name.replace("-", "_"), ""))
    checker.act()


def written(settings):
    return in_rotation_of(health.read(settings.upstream_file))


def shown(settings):
    return {one["name"]: one["state"] for one in json.loads(health.read(settings.state_file))["backends"]}


def test_nothing_is_done_as_long_as_all_is_well(checker, nginx, clock, settings):
    hear(checker, clock)
    hear(checker, clock)
    assert nginx.commands == []
    assert shown(settings) == dict.fromkeys(NAMES, "up")


def test_nothing_is_done_before_every_instance_was_heard(checker, nginx, settings):
    checker.hear("a-1", "refused")
    checker.act()
    assert nginx.commands == []
    assert health.read(settings.state_file) == ""


def test_one_that_fails_is_left_out_after_a_test_and_one_reload(checker, nginx, clock, settings):
    hear(checker, clock)
    hear(checker, clock, a_1="answered 503")
    assert nginx.reloads == 0
    hear(checker, clock, a_1="answered 503")
    assert written(settings) == set(NAMES) - {"a-1"}
    assert nginx.commands == [
        "nginx -t -q",
        "systemctl is-active --quiet nginx.service",
        "systemctl reload nginx.service",
    ]
    assert shown(settings)["a-1"] == "down"


def test_with_none_ready_nothing_is_reloaded_and_the_note_says_so(checker, nginx, clock, settings):
    hear(checker, clock)
    for _ in range(3):
        hear(checker, clock, a_1="x", a_2="x", b_1="x", b_2="x")
    assert nginx.reloads == 0
    assert written(settings) == set(NAMES)
    assert "no instance is ready" in json.loads(health.read(settings.state_file))["note"]


def test_a_list_that_nginx_refuses_is_taken_back_and_tried_again(checker, nginx, clock, settings, capsys):
    hear(checker, clock)
    nginx.complaint = "a snippet is broken"
    hear(checker, clock, a_1="x")
    hear(checker, clock, a_1="x")
    hear(checker, clock, a_1="x")
    assert written(settings) == set(NAMES)
    assert nginx.reloads == 0
    assert capsys.readouterr().out.count("a snippet is broken") == 1
    nginx.complaint = ""
    hear(checker, clock, a_1="x")
    assert written(settings) == set(NAMES) - {"a-1"}
    assert nginx.reloads == 1


def test_a_list_that_nginx_did_not_load_is_given_to_it_again(checker, nginx, clock, settings, capsys):
    hear(checker, clock)
    nginx.trouble_reloading = "took longer than 30 s"
    hear(checker, clock, a_1="x")
    hear(checker, clock, a_1="x")
    # The page must not say that nothing goes to it any more.
    assert shown(settings)["a-1"] == "up"
    assert "took longer than 30 s" in capsys.readouterr().out
    nginx.trouble_reloading = ""
    hear(checker, clock, a_1="x")
    assert nginx.reloads == 2
    assert shown(settings)["a-1"] == "down"


@pytest.mark.parametrize("before", [NAMES, None])
def test_a_checker_that_was_killed_before_nginx_loaded_its_list_has_it_loaded(settings, nginx, clock, before):
    if before:
        loaded(settings, BACKENDS, before)
    health.write(settings.upstream_file, upstream_text(BACKENDS, ["a-2", "b-1", "b-2"], "max_fails=3"))
    checker = Checker(settings, nginx, clock)
    hear(checker, clock, a_1="x")
    assert nginx.reloads == 1
    hear(checker, clock, a_1="x")
    assert nginx.reloads == 1


def test_changes_within_a_second_wait_for_one_reload(checker, nginx, clock, settings):
    hear(checker, clock)
    hear(checker, clock, a_1="x", b_1="x")
    hear(checker, clock, a_1="x")
    assert nginx.reloads == 1
    clock.now += 0.2
    checker.hear("b-1", "x")
    checker.hear("b-1", "x")
    checker.act()
    assert nginx.reloads == 1
    clock.now += 1
    checker.act()
    assert nginx.reloads == 2
    assert written(settings) == {"a-2", "b-2"}


def test_an_nginx_that_does_not_run_reads_the_list_when_it_starts(checker, nginx, clock, settings):
    nginx.running = False
    hear(checker, clock)
    hear(checker, clock, a_1="x")
    hear(checker, clock, a_1="x")
    assert nginx.reloads == 0
    assert written(settings) == set(NAMES) - {"a-1"}


def test_who_is_drained_is_left_out_until_it_is_not(checker, nginx, clock, settings):
    hear(checker, clock)
    health.write(settings.drained_file, '["a-1", "stranger"]')
    hear(checker, clock)
    assert written(settings) == set(NAMES) - {"a-1"}
    assert shown(settings)["a-1"] == "drained"
    health.write(settings.drained_file, "[half a fi")
    hear(checker, clock)
    assert shown(settings)["a-1"] == "drained"
    health.write(settings.drained_file, "[]")
    hear(checker, clock)
    assert written(settings) == set(NAMES)
    assert nginx.reloads == 2


def test_a_checker_that_starts_anew_keeps_the_set_that_is_written(settings, nginx, clock):
    loaded(settings, BACKENDS, ["b-1"])
    checker = Checker(settings, nginx, clock)
    hear(checker, clock, a_1="x", a_2="x", b_1="x", b_2="x")
    assert written(settings) == {"b-1"}
    assert nginx.reloads == 0


def test_a_changed_set_of_instances_is_written_at_once(settings, nginx, clock):
    loaded(settings, BACKENDS[:2], NAMES)
    hear(Checker(settings, nginx, clock), clock)
    assert written(settings) == set(NAMES)
    assert nginx.reloads == 1


SERVERS = [Backend("s-1", "192.0.2.41", 9000), Backend("s-2", "192.0.2.42", 9000)]


@pytest.fixture
def with_service(settings, tmp_path):
    service = Service("s3", SERVERS, "/live", "/ca.pem", "", str(tmp_path / "tcp_s3.conf"))
    for file in (service.upstream_file, f"{service.upstream_file}.loaded"):
        health.write(file, upstream_text(SERVERS, ["s-1", "s-2"], "max_fails=3"))
    loaded(settings, BACKENDS, NAMES)
    return settings._replace(services=[service])


@pytest.fixture
def guarding(with_service, nginx, clock):
    return Checker(with_service, nginx, clock)


def hear_all(checker, clock, **faults):
    for one in SERVERS:
        checker.hear(one.name, faults.get(one.name.replace("-", "_"), ""), "s3")
    hear(checker, clock, **faults)


def service_list(settings):
    return in_rotation_of(health.read(settings.services[0].upstream_file))


def service_shown(settings):
    (service,) = json.loads(health.read(settings.state_file))["services"]
    return service["name"], service["note"], {one["name"]: one["state"] for one in service["backends"]}


def test_a_server_that_is_not_live_gets_nothing_new_and_what_is_open_to_it_is_ended(
    guarding, nginx, clock, with_service
):
    hear_all(guarding, clock)
    assert service_shown(with_service) == ("s3", "", {"s-1": "up", "s-2": "up"})
    hear_all(guarding, clock, s_1="no answer")
    assert (nginx.reloads, nginx.ended) == (0, [])
    hear_all(guarding, clock, s_1="no answer")
    assert (service_list(with_service), nginx.reloads) == ({"s-2"}, 1)
    assert nginx.ended == ["ss --kill --tcp dst 192.0.2.41 dport = 9000"]
    # The reload came first: otherwise new ones would be made there meanwhile.
    assert nginx.commands.index("systemctl reload nginx.service") < nginx.commands.index(nginx.ended[0])
    assert service_shown(with_service)[2] == {"s-1": "down", "s-2": "up"}
    assert written(with_service) == set(NAMES)


def test_connections_that_a_process_of_before_made_after_the_reload_are_ended_too(guarding, nginx, clock):
    for _ in range(7):
        hear_all(guarding, clock, s_1="x")
    # Heard every 2 s, so at once and twice within 3 s and the one after it, and then no more.
    assert len(nginx.ended) == 3


def test_a_server_that_is_back_is_left_alone(guarding, nginx, clock, with_service):
    hear_all(guarding, clock)
    hear_all(guarding, clock, s_1="x")
    hear_all(guarding, clock, s_1="x")
    count = len(nginx.ended)
    for _ in range(2):
        guarding.hear("s-1", "", "s3")
    clock.now += 1.1
    guarding.act()
    assert service_list(with_service) == {"s-1", "s-2"}
    assert len(nginx.ended) == count


def test_a_server_that_must_settle_gets_nothing_until_it_has_been_live_for_so_long(with_service, nginx, clock):
    settling = with_service.services[0]._replace(rise=5)
    checker = Checker(with_service._replace(services=[settling]), nginx, clock)
    hear_all(checker, clock)
    hear_all(checker, clock, s_1="x")
    hear_all(checker, clock, s_1="x")
    for _ in range(4):
        hear_all(checker, clock)
        assert service_list(with_service) == {"s-2"}
    hear_all(checker, clock)
    assert service_list(with_service) == {"s-1", "s-2"}


def test_with_no_server_live_connections_are_closed_at_once(guarding, nginx, clock, with_service, capsys):
    for _ in range(3):
        hear_all(guarding, clock, s_1="x", s_2="x")
    assert service_list(with_service) == set()
    assert "s3: no server is live" in capsys.readouterr().out
    assert "no server is live" in service_shown(with_service)[1]


def test_a_kernel_that_cannot_end_connections_is_said_once(guarding, nginx, clock, capsys):
    nginx.cannot_end = "Operation not supported"
    for _ in range(5):
        hear_all(guarding, clock, s_1="x")
    assert (
        capsys.readouterr().out.count("what is open to s-1 goes on until it has been silent too long: Operation") == 1
    )


def test_instances_are_not_cut_off_with_what_they_are_at(guarding, nginx, clock):
    for _ in range(3):
        hear_all(guarding, clock, a_1="x")
    assert nginx.reloads == 1
    assert nginx.ended == []


def test_a_service_that_was_not_heard_yet_holds_up_nothing(guarding, nginx, clock, with_service):
    for _ in range(3):
        hear(guarding, clock, a_1="x")
    assert written(with_service) == set(NAMES) - {"a-1"}
    assert service_list(with_service) == {"s-1", "s-2"}
    assert service_shown(with_service)[2] == {"s-1": "down", "s-2": "down"}


def test_lists_that_change_together_cost_one_reload_and_are_taken_back_together(guarding, nginx, clock, with_service):
    hear_all(guarding, clock)
    nginx.complaint = "no"
    for _ in range(2):
        hear_all(guarding, clock, a_1="x", s_1="x")
    assert (written(with_service), service_list(with_service)) == (set(NAMES), {"s-1", "s-2"})
    assert nginx.ended == []
    nginx.complaint = ""
    hear_all(guarding, clock, a_1="x", s_1="x")
    assert (written(with_service), service_list(with_service)) == (set(NAMES) - {"a-1"}, {"s-2"})
    assert nginx.reloads == 1


def test_who_is_drained_is_an_instance_and_no_server_of_a_service(guarding, nginx, clock, with_service):
    health.write(with_service.drained_file, '["s-1"]')
    hear_all(guarding, clock)
    assert service_shown(with_service)[2] == {"s-1": "up", "s-2": "up"}


def test_every_server_is_asked_its_own_question(with_service):
    asked = questions(with_service)
    assert asked[0] == Question("", BACKENDS[0], "/health/ready", None)
    assert asked[len(BACKENDS)] == Question("s3", SERVERS[0], "/live", Tls("/ca.pem", "s-1"))
    named = with_service.services[0]._replace(server_name="s3.example.com", ca_file="")
    last = questions(with_service._replace(services=[named]))[-1]
    assert last.tls == Tls("", "s3.example.com")


def test_the_settings_of_a_service_are_what_the_role_writes():
    base = {"rise": 2, "fall": 3, "path": "/h", "interval_seconds": 1, "timeout_seconds": 1, "server_parameters": ""}
    files = {"upstream_file": "/u", "drained_file": "/d", "state_file": "/s"}
    service = {
        "name": "s3",
        "servers": [{"name": "s-1", "address": "192.0.2.41", "port": "9000"}],
        "path": "/live",
        "upstream_file": "/t",
    }
    found = settings_from(json.dumps({**base, **files, "backends": [], "services": [service]}))
    assert found.services == [Service("s3", SERVERS[:1], "/live", "", "", "/t")]


def test_the_settings_are_what_the_role_writes():
    text = json.dumps(
        {
            "backends": [{"name": "a-1", "address": "192.0.2.1", "port": "3001"}],
            "path": "/health/ready",
            "interval_seconds": 0.5,
            "timeout_seconds": 1,
            "rise": 2,
            "fall": 3,
            "server_parameters": "max_fails=3",
            "upstream_file": "/u",
            "drained_file": "/d",
            "state_file": "/s",
        }
    )
    found = settings_from(text)
    assert found.backends == [Backend("a-1", "192.0.2.1", 3001)]
    assert found.thresholds == Thresholds(2, 3)
    with pytest.raises(KeyError):
        settings_from("{}")


@pytest.fixture
def instance():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Backend("a-1", "127.0.0.1", server.server_port)
    server.shutdown()
    server.server_close()


def test_a_probe_says_what_is_wrong(instance):
    assert health.fault_of(instance, "/204", 2) == ""
    assert health.fault_of(instance, "/503", 2) == "/503 answered 503"
    assert "refused" in health.fault_of(instance._replace(port=1), "/200", 2)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority):
    """An HTTPS server whose certificate is for s-1."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("s-1"))
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # The handshake is the thread's, not the listener's, so that one that fails ends nothing.
    served.socket = context.wrap_socket(served.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield Backend("s-1", "127.0.0.1", served.server_port)
    served.shutdown()
    served.server_close()


def test_a_server_is_live_only_with_a_certificate_of_the_authority_and_for_its_name(server, authority, tmp_path):
    def asked(path="/200", ca_file=authority.file, name="s-1"):
        return health.fault_of(server, path, 2, Tls(str(ca_file), name))

    assert asked() == ""
    assert asked(path="/503") == "/503 answered 503"
    assert "Hostname mismatch" in asked(name="s-2")
    (tmp_path / "other").mkdir()
    assert "CERTIFICATE_VERIFY_FAILED" in asked(ca_file=Authority(tmp_path / "other").file)
    assert "CERTIFICATE_VERIFY_FAILED" in asked(ca_file="")
    assert "No such file" in asked(ca_file=tmp_path / "none.pem")


def test_a_server_without_tls_is_not_live(instance, authority):
    assert "SSL" in health.fault_of(instance, "/200", 2, Tls(str(authority.file), "s-1"))


def test_a_command_s_complaint_is_what_it_says(tmp_path):
    assert health.run_command(["true"]) == ""
    assert health.run_command(["sh", "-c", "echo wrong >&2; exit 3"]) == "wrong"
    assert health.run_command(["false"]) == "false ended with 1"
