from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ansible_collections.escala.ha.plugins.module_utils._rolling import (
    Pace,
    Plan,
    RollError,
    Source,
    Unit,
    parse_units,
    plan,
    ready_problem,
    roll,
    source_at,
    unit_name,
    units_of,
    wait_until_ready,
)

A, B, C = (unit_name("app", port) for port in ("3001", "3002", "3003"))
OLD_FILE = Source("/etc/app/environment", 100.0)
NEW_FILE = Source("/opt/app/current", 300.0)


def running(name, started_at=200.0):
    return Unit(name, active=True, enabled=True, started_at=started_at)


class Time:
    def __init__(self):
        self.now = 0.0

    def sleep(self, seconds):
        self.now += seconds

    def pace(self, ready_timeout=10, pause=6):
        return Pace(ready_timeout, pause, lambda: self.now, self.sleep)


class Systemctl:
    def __init__(self):
        self.calls = []
        self.state = "active"

    def __call__(self, *arguments):
        if arguments[0] == "show":
            return f"{self.state}\n"
        self.calls.append(" ".join(arguments))
        return ""


def ready(_name):
    return None


def test_units_are_read_with_their_start_on_the_clock_of_files():
    shown = (
        f"Id={A}\nActiveState=active\nUnitFileState=enabled\nExecMainStartTimestampMonotonic=40000000\n\n"
        f"Id={B}\nActiveState=activating\nUnitFileState=\nExecMainStartTimestampMonotonic=0\n"
    )
    units = parse_units(shown, now=1000.0, monotonic_now=50.0)
    assert units[A] == Unit(A, active=True, enabled=True, started_at=990.0)
    assert not units[B].active
    assert not units[B].enabled


def test_nothing_is_shown_for_nothing():
    assert parse_units("\n", now=1.0, monotonic_now=1.0) == {}


def test_what_is_younger_than_its_sources_is_left_alone():
    assert plan([A], {A: running(A)}, [OLD_FILE]).empty


def test_what_is_older_than_a_source_is_restarted_and_the_source_named():
    todo = plan([A, B], {A: running(A), B: running(B, started_at=400.0)}, [OLD_FILE, NEW_FILE])
    assert todo == Plan(enable=[], restart={A: "it is older than /opt/app/current"}, stop=[])


@pytest.mark.parametrize("units", [{}, {A: Unit(A, active=False, enabled=False, started_at=400.0)}])
def test_what_does_not_run_is_started_and_enabled(units):
    assert plan([A], units, [NEW_FILE]) == Plan(enable=[A], restart={A: "it does not run"}, stop=[])


def test_what_is_no_longer_wanted_is_stopped():
    gone = Unit(C, active=False, enabled=False, started_at=0.0)
    assert plan([A], {A: running(A), B: running(B), C: gone}, [OLD_FILE]).stop == [B]


def test_instances_are_restarted_in_order_with_a_pause_before_a_running_one_is_stopped():
    time, systemctl = Time(), Systemctl()
    units = {A: running(A), B: running(B)}
    seen = []

    def probe(name):
        seen.append((name, time.now))

    roll([A, B], units, plan([A, B], units, [NEW_FILE]), systemctl, probe, time.pace())
    assert systemctl.calls == ["daemon-reload", f"restart {A}", f"restart {B}"]
    assert seen == [(A, 0.0), (B, 6.0)]


def test_a_first_start_needs_no_pause():
    time, systemctl = Time(), Systemctl()
    roll([A, B], {}, plan([A, B], {}, [NEW_FILE]), systemctl, ready, time.pace())
    assert systemctl.calls == ["daemon-reload", f"enable {A} {B}", f"restart {A}", f"restart {B}"]
    assert time.now == 0.0


def test_what_is_no_longer_wanted_goes_last():
    systemctl = Systemctl()
    units = {A: running(A), B: running(B)}
    roll([A, C], units, plan([A, C], units, [OLD_FILE]), systemctl, ready, Time().pace())
    assert f"restart {C}" in systemctl.calls
    assert systemctl.calls[-1] == f"disable --now {B}"


def test_all_instances_at_once_are_not_replaced_by_new_ones_that_no_balancer_knows():
    with pytest.raises(
        RollError, match=rf"{A}, {B} run, and .* {C}, none was there before: .* add the new ones in one run"
    ):
        plan([C], {A: running(A), B: running(B)}, [OLD_FILE])


@pytest.mark.parametrize(
    "units",
    [
        pytest.param(
            {A: running(A), C: Unit(C, active=False, enabled=True, started_at=0.0)},
            id="the new one was there, and is down",
        ),
        pytest.param({A: Unit(A, active=False, enabled=True, started_at=0.0)}, id="the old one does not run"),
    ],
)
def test_the_last_one_goes_where_balancers_know_another_or_nothing_is_lost(units):
    assert plan([C], units, [OLD_FILE]).stop == [A]


def test_an_instance_that_never_becomes_ready_stops_the_roll():
    time, systemctl = Time(), Systemctl()
    units = {A: running(A), B: running(B)}
    with pytest.raises(RollError, match=rf"{A} is not ready after 10 s: said 503"):
        roll([A, B], units, plan([A, B], units, [NEW_FILE]), systemctl, lambda _name: "said 503", time.pace())
    assert f"restart {B}" not in systemctl.calls


def test_an_instance_that_needed_nothing_is_still_seen_ready():
    units = {A: running(A)}
    with pytest.raises(RollError):
        roll([A], units, plan([A], units, [OLD_FILE]), Systemctl(), lambda _name: "refused", Time().pace())


def test_readiness_may_come_late():
    time = Time()
    wait_until_ready(A, lambda _name: None if time.now >= 3 else "starting", Systemctl(), time.pace())
    assert 3 <= time.now < 3.5


def test_an_instance_that_systemd_has_given_up_is_not_waited_for():
    time, systemctl = Time(), Systemctl()
    systemctl.state = "failed"
    with pytest.raises(RollError, match="has failed and systemd does not start it again: refused"):
        wait_until_ready(A, lambda _name: "refused", systemctl, time.pace())
    assert time.now == 0.0


def test_units_that_are_no_longer_wanted_are_asked_for_too():
    answers = {"list-units": f"{B} loaded active running The app\n", "show": f"Id={B}\nActiveState=active\n"}
    asked = []

    def systemctl(*arguments):
        asked.append(arguments)
        return answers[arguments[0]]

    assert list(units_of("app", [A], systemctl, 1.0, 1.0)) == [B]
    assert asked[1][2:] == (A, B)


def test_a_link_counts_by_its_own_time(tmp_path):
    link = tmp_path / "current"
    link.symlink_to("nowhere")
    assert source_at(str(link), may_be_missing=False).changed_at == link.lstat().st_mtime


def test_a_folder_counts_by_the_newest_thing_in_it(tmp_path):
    inner = tmp_path / "credentials"
    inner.mkdir()
    for file, changed_at in ((tmp_path / "environment", 30), (inner / "JWT_SECRET", 40), (inner, 20), (tmp_path, 10)):
        file.touch()
        os.utime(file, (changed_at, changed_at))
    # Making the inner file has touched its folder again, so its time is set last.
    os.utime(inner, (20, 20))
    os.utime(tmp_path, (10, 10))
    assert source_at(str(tmp_path), may_be_missing=False) == (str(inner / "JWT_SECRET"), 40)
    (inner / "JWT_SECRET").unlink()
    assert source_at(str(tmp_path), may_be_missing=False).path == str(inner)


def test_a_missing_source_is_an_error_but_newest_of_all_where_it_may_be_missing(tmp_path):
    path = str(tmp_path / "nothing")
    assert source_at(path, may_be_missing=True).changed_at == float("inf")
    with pytest.raises(RollError, match="nothing does not exist"):
        source_at(path, may_be_missing=False)


@pytest.fixture
def health():
    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            good = self.path == "/ready"
            self.send_response(200 if good else 503)
            self.end_headers()
            self.wfile.write(b"ok" if good else b'{"database":\n "unreachable"}')

        def log_message(self, *_arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_the_application_said_is_part_of_the_problem(health):
    assert ready_problem(f"{health}/ready") is None
    assert ready_problem(f"{health}/not") == f'{health}/not said 503 {{"database": "unreachable"}}'


def test_an_address_where_nothing_listens_is_a_problem():
    assert ready_problem("http://127.0.0.1:1/ready") == "http://127.0.0.1:1/ready: connection refused"
